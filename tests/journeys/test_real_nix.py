"""Real Nix, three versions of it, against a mirror of a real world.

A signed world of Debian packages is mirrored; then fresh machines, which require signatures, take
it from narbor: by `nix copy`, as the only substituter of a build, and through a server that dies.
"""

import hashlib
import json
import os
import signal
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.journeys.conftest import Mirrored, NewMachine
from tests.peers import registry, servers, suite
from tests.peers.line import Line
from tests.world.world import GENERATIONS, World

SAYS = {
    "git --version": "git version 2.",
    "htop --version": "htop 3.",
    "curl --version": "curl 7.",
    "jq --null-input 6*7": "42",
    "rsync --version": "rsync  version 3.",
    "tmux -V": "tmux 3.",
}
# Bytes after which an answer is cut. Only the largest NAR is longer, by more than the kernel takes
# from a server beforehand (4 MiB): whoever was reading it has to ask for the rest.
_BIG = 14_500_000
_RESUMED = rb"(?m)^Range: bytes=\d+-"
_NARS = rb"(?m)^GET /nar/"


def _runs(machine: suite.Machine, world_path: str) -> None:
    """Run the programs of a world from the machine's own store."""
    for command, start in SAYS.items():
        program, *words = command.split()
        said = machine.run(f"{world_path}/bin/{program}", *words)
        assert said.startswith(start), f"{command} said {said!r}"


def _is_whole(machine: suite.Machine, world: World, path: str) -> None:
    """Check a closure in the machine's store: all of it, its sizes, contents and signatures."""
    expected = world.closure(path)
    listed = machine.run("nix-store", "--query", "--requisites", path).split()
    assert set(listed) == set(expected)
    size = machine.run("nix", "path-info", "--closure-size", path).split()
    assert size == [path, str(sum(expected.values()))]
    machine.run("nix", "store", "verify", "--recursive", "--sigs-needed", "1", path)


def _valid(machine: suite.Machine) -> set[str]:
    """List all paths that are valid in the machine's store."""
    return set(machine.run("nix", "path-info", "--all").split())


def _has(server: servers.Server, path: str) -> bool:
    """Ask a server whether it has the item."""
    with closing(HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("GET", f"/{Path(path).name[:32]}.narinfo")
        status = connection.getresponse().status
    assert status in {200, 404}
    return status == 200


def test_copies_both_generations(
    world: World, server: servers.Server, new_machine: NewMachine
) -> None:
    machine = new_machine()
    for generation in world.generations:
        machine.run("nix", "copy", "--from", server.url, generation["world"])
        _is_whole(machine, world, generation["world"])
        _runs(machine, generation["world"])
    both = {path for generation in world.generations for path in world.closure(generation["world"])}
    assert _valid(machine) == both


def test_is_the_only_substituter_of_builds(
    world: World, server: servers.Server, new_machine: NewMachine
) -> None:
    machine = new_machine(substituters=server.url, max_jobs="0")
    old, new = world.generations
    source = ("/world/world.nix", "--argstr", "generation")
    built = machine.run("nix-build", *source, GENERATIONS[0], "--no-out-link", "-A", "git")
    assert built.strip() == old["git"]
    _is_whole(machine, world, old["git"])
    built = machine.run(
        "nix", "build", "--file", *source, GENERATIONS[1], "--json", "--no-link", "git"
    )
    assert json.loads(built)[0]["outputs"] == {"out": new["git"]}
    _is_whole(machine, world, new["git"])
    said = machine.run(f"{new['git']}/bin/git", "--version")
    assert said.startswith(SAYS["git --version"])


def test_another_key_lets_nothing_in(
    world: World, server: servers.Server, new_machine: NewMachine
) -> None:
    other = "narbor-world-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    machine = new_machine(trusted_public_keys=other)
    done = machine.attempt("nix", "copy", "--from", server.url, world.generations[0]["jq"])
    assert done.returncode != 0
    assert "lacks a" in done.stderr and "signature" in done.stderr
    assert _valid(machine) == set()


def test_looks_inside_without_copying(
    world: World, server: servers.Server, new_machine: NewMachine
) -> None:
    machine = new_machine()
    path = world.generations[0]["jq"]
    asked = ("--store", server.url)
    assert machine.run("nix", "store", "ls", *asked, f"{path}/bin").split() == ["./jq"]
    told = machine.run("nix", "path-info", *asked, "--closure-size", path).split()
    assert told == [path, str(sum(world.closure(path).values()))]
    inner = f"{path}/nix-support/propagated-build-inputs"
    seen = machine.run("nix", "store", "cat", *asked, inner).split()
    assert set(seen) <= set(world.closure(path)) and seen
    assert _valid(machine) == set()
    machine.run("nix", "copy", "--from", server.url, path)
    assert machine.run("cat", inner).split() == seen


def test_goes_on_where_it_was_when_the_server_died(
    world: World, mirrored: Mirrored, new_machine: NewMachine
) -> None:
    machine = new_machine(download_attempts="10")
    path = world.generations[0]["world"]
    with mirrored.narbor.server() as server:

        def die_and_rise() -> None:
            server.kill()
            server.start()

        with Line(server.port, _BIG, die_and_rise) as line:
            machine.run("nix", "copy", "--from", line.url, path)
            assert line.calls == 1
            assert line.asked(_RESUMED) >= 1
    _is_whole(machine, world, path)
    _runs(machine, path)


def test_copies_the_rest_when_the_server_is_back(
    world: World, mirrored: Mirrored, new_machine: NewMachine
) -> None:
    machine = new_machine(download_attempts="2")
    path = world.generations[0]["world"]
    whole = set(world.closure(path))
    with mirrored.narbor.server() as server:
        with Line(server.port, _BIG, server.kill) as line:
            done = machine.attempt("nix", "copy", "--from", line.url, path)
            assert line.calls == 1
        assert done.returncode != 0
        here = _valid(machine)
        assert here < whole
        server.start()
        with Line(server.port, sum(world.closure(path).values()), server.kill) as line:
            machine.run("nix", "copy", "--from", line.url, path)
            assert line.asked(_NARS) == len(whole - here)
    _is_whole(machine, world, path)
    _runs(machine, path)


@pytest.mark.parametrize(("compression", "name"), [("xz", "jq"), ("none", "htop")])
def test_mirrors_what_is_compressed_otherwise(
    world: World,
    upstream: servers.Server,
    new_machine: NewMachine,
    tmp_path: Path,
    compression: str,
    name: str,
) -> None:
    narbor = servers.Narbor(tmp_path / "home")
    path = world.generations[1][name]
    narbor.run("mirror", f"{upstream.url}/{compression}", path, "--trust", world.public_key)
    machine = new_machine()
    with narbor.server() as server:
        machine.run("nix", "copy", "--from", server.url, path)
    _is_whole(machine, world, path)


@pytest.mark.parametrize("new_machine", ["nix 2.34"], indirect=True)
def test_a_mirror_that_was_killed_shows_no_halves_and_goes_on(
    world: World, upstream: servers.Server, new_machine: NewMachine, tmp_path: Path
) -> None:
    narbor = servers.Narbor(tmp_path / "home")
    path = world.generations[0]["world"]
    words = (path, "--trust", world.public_key)

    def die() -> None:
        os.killpg(process.pid, signal.SIGKILL)

    with Line(upstream.port, _BIG, die) as line:
        with narbor.started("mirror", f"{line.url}/zstd", *words) as process:
            assert process.wait() == -signal.SIGKILL
        assert line.calls == 1
    whole = world.closure(path)
    with narbor.server() as server:
        shown = {each for each in whole if _has(server, each)}
    assert path not in shown
    assert all(world.closure(each).keys() <= shown for each in shown)
    narbor.run("mirror", f"{upstream.url}/zstd", *words)
    machine = new_machine()
    with narbor.server() as server:
        machine.run("nix", "copy", "--from", server.url, path)
    _is_whole(machine, world, path)


def test_refuses_a_world_of_another_key(
    world: World, upstream: servers.Server, tmp_path: Path
) -> None:
    narbor = servers.Narbor(tmp_path / "home")
    other = "narbor-world-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    path = world.generations[0]["jq"]
    done = narbor.attempt("mirror", f"{upstream.url}/zstd", path, "--trust", other)
    assert done.returncode in {1, 3}
    assert path in done.stdout + done.stderr
    with narbor.server() as server:
        assert not any(_has(server, each) for each in world.closure(path))


def test_a_rebuilt_world_costs_next_to_nothing(world: World, mirrored: Mirrored) -> None:
    old, new = (world.closure(generation["world"]) for generation in world.generations)
    rebuilt = set(new) - set(old)
    assert len(old) >= 100 and len(rebuilt) >= 80
    size = sum(new[path] for path in rebuilt)
    first, second = mirrored.at_rest
    share = (second - first) / size
    told = f"{share:.3%} of its NarSize, {second - first} of {size} bytes in {len(rebuilt)} items"
    registry.figure("a rebuilt world adds at rest", f"{told}; the first took {first} bytes")
    assert share <= 0.005


def test_curl_takes_a_nar_in_two_halves(world: World, server: servers.Server) -> None:
    base = Path(world.generations[1]["git"]).name
    text = servers.curl(f"{server.url}/{base[:32]}.narinfo").decode()
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    size, url = int(fields["FileSize"]), f"{server.url}/{fields['URL']}"
    halves = [
        servers.curl("--range", part, url) for part in (f"0-{size // 2}", f"{size // 2 + 1}-")
    ]
    assert [len(half) for half in halves] == [size // 2 + 1, size - size // 2 - 1]
    assert hashlib.sha256(b"".join(halves)).digest() == hashlib.sha256(servers.curl(url)).digest()
