"""`narbor watch`: turns of the real program, called to by signals, heard by systemd's socket."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import pytest

from narbor.formats import ipns
from tests.cli.program import Farm, Program
from tests.cli.test_release import NEWER, C, at, configure, table
from tests.fakes import farm as farms
from tests.fakes.channel import NAME, Channel
from tests.fakes.faults import Stall
from tests.fakes.kubo import FakeKubo
from tests.fakes.upstream import FakeCache

PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Watch:
    """A watch that runs, and the end of systemd's socket."""

    process: subprocess.Popen[str]
    link: socket.socket

    def heard(self, word: str) -> str:
        """Wait until systemd is told something with this word in it."""
        while word not in (said := self.link.recv(4096).decode()):
            pass
        return said

    def event(self, **facts: object) -> dict[str, object]:
        """Wait for an event with these facts."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, object] = json.loads(line)
            if facts.items() <= event.items():
                return event
        raise AssertionError(f"it ended with {self.process.wait()}")

    def end(self) -> int:
        """End it as systemd does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def watching(narbor: Program, *words: str) -> Iterator[Watch]:
    """Start to watch."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as link:
        address = narbor.home.parent / "notify"
        address.unlink(missing_ok=True)
        link.bind(str(address))
        link.settimeout(PATIENCE)
        with subprocess.Popen(
            [sys.executable, "-m", "narbor", "--json", "watch", *words],
            env=narbor.environment(NOTIFY_SOCKET=str(address)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            # Whoever waits for a line that never comes is let go.
            guard = Timer(PATIENCE, process.kill)
            guard.start()
            try:
                yield Watch(process, link)
            finally:
                guard.cancel()
                process.kill()


def follow(farm: Farm, name: str = "small", **more: object) -> str:
    """A cache in a folder that is followed."""
    values = {
        "name": name,
        "url": farm.folder.as_uri(),
        "keys": [str(farm.key.public)],
        "paths": [farm.path("tool-2.0")],
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    return "[[follow]]\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in values.items())


def items(narbor: Program) -> int:
    """Count what is here."""
    found = json.loads(narbor("--json", "status").stdout)["items"]
    assert isinstance(found, int)
    return found


@pytest.fixture
def fake() -> Iterator[Channel]:
    """A farm with a Hydra."""
    with Channel() as made:
        yield made


def test_once_is_a_turn_for_each_and_one_that_fails_stops_no_other(
    narbor: Program, farm: Farm
) -> None:
    configure(narbor, follow(farm, "bad", url="file:///nowhere"), follow(farm))
    done = narbor("watch", "--once")
    assert done.returncode == 1
    assert "bad: file:///nowhere is no folder" in done.stderr
    assert "small: done" in done.stderr
    assert items(narbor) == 2
    assert narbor("watch", "--once", "small").returncode == 0


def test_what_cannot_be_watched_is_refused(narbor: Program, farm: Farm) -> None:
    for tables in ("", follow(farm) * 2, follow(farm, paths=[]), follow(farm, interval=0)):
        configure(narbor, tables)
        assert narbor("watch").returncode == 2
    configure(narbor, follow(farm))
    done = narbor("watch", "other")
    assert done.returncode == 2
    assert "small" in done.stderr and "other" in done.stderr


def test_turns_go_on_and_a_list_is_read_anew(narbor: Program, farm: Farm, tmp_path: Path) -> None:
    listed = tmp_path / "store-paths"
    listed.write_text(farm.path("base-1.0") + "\n")
    configure(narbor, follow(farm, paths=[], store_paths=str(listed), interval=1))
    with watching(narbor) as watch:
        assert watch.heard("READY=1") == "READY=1\nSTATUS=watching small"
        watch.event(event="ended", name="small", well=True)
        assert items(narbor) == 1
        assert "small is next, in 1 s" in watch.heard("next")
        listed.write_text(farm.path("top") + "\n")
        watch.event(event="done", failed=[])
        watch.event(event="ended", name="small", well=True)
        watch.event(event="ended", name="small", well=True)
        assert items(narbor) == 3
        assert watch.end() == 0
        assert watch.heard("STOPPING=1")


def test_the_configuration_is_read_again_when_told(narbor: Program, farm: Farm) -> None:
    configure(narbor, follow(farm))
    with watching(narbor) as watch:
        watch.event(event="resting", name="small")
        configure(narbor, "nonsense = 1\n")
        watch.process.send_signal(signal.SIGHUP)
        assert watch.event(event="reloaded")["names"] == ["small"]
        watch.heard("RELOADING=1\nMONOTONIC_USEC=")
        assert watch.heard("READY=1") == "READY=1\nSTATUS=watching small"
        configure(narbor, follow(farm), follow(farm, "more", paths=[farm.path("top")]))
        watch.process.send_signal(signal.SIGHUP)
        assert watch.event(event="reloaded")["names"] == ["small", "more"]
        watch.event(event="ended", name="more", well=True)
        assert items(narbor) == 3
        assert watch.end() == 0


def test_it_ends_in_the_middle_of_a_turn_and_keeps_what_came(narbor: Program) -> None:
    maker = farms.Farm()
    low = maker.build("low", b"low" * 1000)
    top = maker.build("top", b"top" * 100_000, [low.path])
    with FakeCache() as cache:
        for built in (low, top):
            built.serve(cache)
        cache.fail(top.file_at, Stall(5), always=True)
        values = {
            "name": "slow",
            "url": cache.url,
            "keys": [str(maker.key.public)],
            "paths": [str(top.path)],
        }
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        configure(narbor, f"[[follow]]\n{text}")
        with watching(narbor) as watch:
            watch.event(event="admitted", path=str(low.path))
            assert watch.end() == 0
            assert watch.heard("STOPPING=1")
    assert items(narbor) == 1


def test_two_watches_do_not_do_the_same_at_once(narbor: Program) -> None:
    maker = farms.Farm()
    built = maker.build("one", b"one" * 100_000)
    with FakeCache() as cache:
        built.serve(cache)
        cache.fail(built.file_at, Stall(5), always=True)
        text = f'[[follow]]\nname = "slow"\nurl = "{cache.url}"\npaths = ["{built.path}"]\n'
        configure(narbor, f'{text}keys = ["{maker.key.public}"]\n')
        with watching(narbor) as watch:
            watch.event(event="began")
            cache.wait_for(built.file_at)
            done = narbor("watch", "--once")
            assert done.returncode == 1
            assert "already" in done.stderr
            assert watch.end() == 0


def test_channels_are_released_at_their_interval(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake, interval=1))
    fake.evaluate()
    with watching(narbor) as watch:
        watch.event(event="ended", name=C, well=True)
        assert at(narbor) == NAME
        fake.evaluate(NEWER, "b" * 40)
        watch.event(event="published", name=NEWER)
        watch.event(event="ended", name=C, well=True)
        assert at(narbor) == NEWER
        assert watch.end() == 0


def test_the_cache_is_published_and_its_name_renewed(narbor: Program, farm: Farm) -> None:
    terms = '[publish]\nnames = ["farm"]\ninterval = 1\nlifetime = 4\nttl = 1\n'
    configure(narbor, terms, follow(farm))
    with watching(narbor) as watch:
        watch.event(event="ended", name="small", well=True)
        first = watch.event(event="published")
        assert first["items"] == 2
        watch.event(event="ended", name="publish", well=True)
        # Nothing changes, and it goes on being good.
        again = first
        while again["until"] == first["until"]:
            again = watch.event(event="published")
        assert (again["root"], again["sequence"]) == (first["root"], 0)
        assert watch.end() == 0
    done = narbor("watch", "--once", "publish")
    assert done.returncode == 0
    assert "publish: done" in done.stderr


def test_publishing_that_fails_ends_nothing(narbor: Program, farm: Farm) -> None:
    configure(narbor, '[publish]\nnames = ["farm"]\n', follow(farm))
    (narbor.home / "keys").mkdir()
    (narbor.home / "keys" / "farm.pem").write_text("no key")
    done = narbor("watch", "--once")
    assert done.returncode == 1
    assert "small: done" in done.stderr and "publish: failed" in done.stderr


def test_what_is_published_is_told_to_kubo_and_copied_to_it(narbor: Program, farm: Farm) -> None:
    with FakeKubo() as kubo:
        copied = f'[[replicate]]\ntarget = "kubo:{kubo.url}"\ninterval = 1\n'
        said = f'[ipfs]\nkubo = "{kubo.url}"\n[publish]\nnames = ["farm"]\ninterval = 1\n'
        configure(narbor, said, follow(farm), copied)
        with watching(narbor) as watch:
            first = watch.event(event="published")
            watch.event(event="ended", name="publish", well=True)
            watch.event(event="ended", name=f"cache to kubo:{kubo.url}", well=True)
            assert kubo.pins == {first["root"]: "narbor/cache"}
            assert kubo.provided == [first["root"]]
            record = ipns.parse(kubo.records[str(first["name"])])
            assert record.value.decode() == f"/ipfs/{first['root']}"
            kubo.records.clear()
            watch.event(event="published")
            watch.event(event="ended", name="publish", well=True)
            assert kubo.records.keys() == {first["name"]}
            assert watch.end() == 0
        kubo.late["name/put"] = "nobody is there"
        done = narbor("watch", "--once", "publish")
        assert done.returncode == 1
        assert "nobody is there" in done.stderr


def test_what_is_copied_is_published_first_though_under_no_name(
    narbor: Program, farm: Farm, tmp_path: Path
) -> None:
    folder = tmp_path / "cars"
    folder.mkdir()
    configure(narbor, follow(farm), f'[[replicate]]\ntarget = "{folder}/"\n')
    done = narbor("watch", "--once")
    assert done.returncode == 0, done.stderr
    assert f"cache to {folder}/: done" in done.stderr
    assert any(folder.iterdir())
