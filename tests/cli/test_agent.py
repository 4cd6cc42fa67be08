"""`narbor agent` as a program: what it says, how it is asked, how it ends."""

import argparse
import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from narbor import config
from narbor.cli import agent
from narbor.cli.main import parser, run
from narbor.formats import narinfo
from tests.fakes.faults import Mute, Stall, Status
from tests.fakes.upstream import FakeCache
from tests.library.cache import KEY
from tests.peers import servers
from tests.tasks.agent import world as worlds
from tests.tasks.agent.world import World


def words(*given: str) -> argparse.Namespace:
    """Read a command line."""
    return parser().parse_args(["agent", *given])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds.made(tmp_path) as made:
        yield made


@contextmanager
def running(tmp_path: Path, *more: str) -> Iterator[servers.Server]:
    """Run an agent; what it says is in `agent.log`."""
    port = servers.free_port()
    argv = [*servers.Narbor(tmp_path / "home").program(), "agent"]
    argv += ["--listen", f"127.0.0.1:{port}", "--seed-store", str(tmp_path / "none"), *more]
    with servers.Server(argv, port, tmp_path / "agent.log") as server:
        yield server


def ask(server: servers.Server, path: str) -> tuple[int, bytes]:
    """Ask for a path."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_flags_become_variables(tmp_path: Path) -> None:
    told = agent.variables(
        words(
            *("--home", str(tmp_path), "--upstream", "https://a", "--upstream", "https://b"),
            *("--from", "http://c", "--listen", "[::1]:1", "--size", "2GB"),
            *("--seed-store", "/gnu/store", "--access-log"),
        )
    )
    read = config.load(environment=told)
    assert read.agent == config.Agent(
        listen="[::1]:1",
        upstreams=("https://a", "https://b"),
        sources=("http://c",),
        folder=tmp_path / "agent",
        size=2_000_000_000,
        seeds=Path("/gnu/store"),
    )
    assert agent.variables(words()) == {}


def test_the_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "narbor.toml"
    file.write_text('[agent]\nsize = "20GB"\nupstreams = ["https://a"]\nseeds = ""\n')
    read = config.load(tmp_path, None, {})
    assert (read.agent.size, read.agent.upstreams) == (20_000_000_000, ("https://a",))
    assert not read.agent.seeds.is_absolute()


def test_it_serves_and_is_asked_and_ends(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.add("a", 900_000)
    with FakeCache() as cache:
        world.serve(cache)
        told = ("--upstream", cache.url, "--trust", str(KEY.public))
        with running(tmp_path, *told) as server:
            status, text = ask(server, f"/{path.hash_part}.narinfo")
            assert status == 200
            url = narinfo.parse(text).url
            assert ask(server, f"/{url}") == (200, world.archives[path])
            assert ask(server, f"/{path.hash_part[::-1]}.narinfo")[0] == 404
            where = f"127.0.0.1:{server.port}"
            assert run(["agent", "status", "--listen", where, "--json"]) == 0
            facts = json.loads(capsys.readouterr().out)
            assert facts["sums"]["items"] == 1
            assert facts["sums"]["given"] == len(world.archives[path])
            assert run(["agent", "status", "--listen", where]) == 0
            said = capsys.readouterr().out
            assert "1 items as NARs" in said and cache.url in said
            metrics = ask(server, "/metrics")[1].decode()
            assert "narbor_agent_items 1\n" in metrics
            assert f'narbor_agent_upstreams_requests{{name="{cache.url}"}} ' in metrics
        # What was fetched is there for the next.
        cache.files.clear()
        with running(tmp_path, *told) as server:
            assert ask(server, f"/{url}") == (200, world.archives[path])
    said = (tmp_path / "agent.log").read_text()
    assert "substituters = http://127.0.0.1:" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("fault", [Mute(), Status(500)])
def test_upstreams_that_fail_are_404(tmp_path: Path, world: World, fault: Mute | Status) -> None:
    path = world.add("a")
    with FakeCache() as cache:
        cache.fail("*", fault, always=True)
        told = ("--upstream", cache.url, "--upstream", "http://127.0.0.1:1")
        with running(tmp_path, *told) as server:
            assert ask(server, f"/{path.hash_part}.narinfo")[0] == 404
            digest = world.claims[path].seal.digest.nix32
            assert ask(server, f"/nar/{path.hash_part}/{digest}.nar")[0] == 404
            assert ask(server, "/nix-cache-info")[0] == 200
            cache.stopping.set()


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    where = f"127.0.0.1:{servers.free_port()}"
    assert run(["agent", "status", "--listen", where]) == 3
    assert where in capsys.readouterr().err


def test_somebody_else_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeCache() as cache:
        cache.files["/agent/status"] = b"<html>hello</html>"
        assert run(["agent", "status", "--listen", cache.url.removeprefix("http://")]) == 3
    assert "is no agent" in capsys.readouterr().err


def test_an_upstream_that_is_none_is_told(tmp_path: Path) -> None:
    done = servers.Narbor(tmp_path / "home").attempt("agent", "--upstream", "gopher://x")
    assert done.returncode == 2
    assert "gopher" in done.stderr


def test_it_ends_when_it_is_told(tmp_path: Path) -> None:
    with running(tmp_path, "--upstream", "http://127.0.0.1:1") as server:
        assert ask(server, "/nix-cache-info")[0] == 200
        process = server._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_it_ends_though_an_upstream_hangs(tmp_path: Path, world: World) -> None:
    path = world.add("a", 900_000)
    with FakeCache() as cache:
        world.serve(cache, roots=False)
        cache.fail(f"/{world.claims[path].url}", Stall(1000), always=True)
        told = ("--upstream", cache.url, "--trust", str(KEY.public))
        with running(tmp_path, *told) as server:
            url = narinfo.parse(ask(server, f"/{path.hash_part}.narinfo")[1]).url
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("GET", f"/{url}")
            cache.wait_for(f"/{world.claims[path].url}")
            process = server._process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            connection.close()
