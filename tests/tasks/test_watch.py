"""Turns: at their interval, later after failures, none forgotten; by a clock that is handed in."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from narbor.tasks import watch
from narbor.tasks.notify import Notifier
from narbor.tasks.watch import Began, Ended, Event, Job, Reloaded, Resting, Schedule, Woken


@dataclass
class World:
    """A clock that goes on only while somebody waits or works."""

    now: float = 1000.0
    calls: list[Woken] = field(default_factory=list)
    turns: list[tuple[str, float]] = field(default_factory=list)

    def clock(self) -> float:
        """The time."""
        return self.now

    def wait(self, seconds: float) -> Woken:
        """Sleep, unless a call comes first."""
        if self.calls:
            return self.calls.pop(0)
        self.now += seconds
        return "time"

    def job(
        self, name: str, interval: float = 100, lasts: float = 0, goes: Iterator[bool] | None = None
    ) -> Job:
        """A job that takes its time; `goes` tells how each turn goes."""

        def run() -> bool:
            self.turns.append((name, self.now))
            self.now += lasts
            return True if goes is None else next(goes)

        return Job(name, interval, run)

    def events(self, *jobs: Job, reload: Callable[[], list[Job]] = list) -> Iterator[Event]:
        """Watch, with chance in the middle: no jitter."""
        return watch.watch(Schedule(jobs, lambda: 0.5, self.now), self.clock, self.wait, reload)


def turns(world: World, count: int, *jobs: Job) -> list[tuple[str, float]]:
    """Watch for so many turns; return who had them, and when."""
    ended = (event for event in world.events(*jobs) if isinstance(event, Ended))
    list(islice(ended, count))
    return world.turns


def test_each_has_its_turn_at_its_interval() -> None:
    world = World()
    seen = turns(world, 6, world.job("a", 100), world.job("b", 250))
    assert seen == [
        ("a", 1000), ("b", 1000), ("a", 1100), ("a", 1200), ("b", 1250), ("a", 1300),
    ]  # fmt: skip


def test_one_that_takes_long_does_not_starve_the_others() -> None:
    world = World()
    slow, quick = world.job("slow", 1, lasts=1000), world.job("quick", 10)
    assert [name for name, _ in turns(world, 6, slow, quick)] == ["slow", "quick"] * 3


def test_failures_are_tried_again_soon_and_then_later_and_later() -> None:
    world = World()
    goes = iter([False] * 8 + [True, False])
    seen = turns(world, 10, world.job("a", 7200, goes=goes))
    pauses = [after - before for (_, before), (_, after) in pairwise(seen)]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3840, 7200, 7200]


def test_a_short_interval_is_no_reason_to_hammer() -> None:
    world = World()
    seen = turns(world, 10, world.job("a", 10, goes=iter([False] * 10)))
    pauses = [after - before for (_, before), (_, after) in pairwise(seen)]
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560]
    assert Schedule([], lambda: 0.5, 0).pause(world.job("a", 10), 1000) == 3600


@given(st.floats(1, 1e6), st.integers(0, 100), st.floats(0, 0.999))
def test_times_vary_by_a_tenth(interval: float, failures: int, chance: float) -> None:
    job = Job("a", interval, lambda: True)
    plain = Schedule([], lambda: 0.5, 0).pause(job, failures)
    varied = Schedule([], lambda: chance, 0).pause(job, failures)
    assert 0.9 * plain <= varied <= 1.1 * plain * (1 + 1e-9)
    assert 0 < plain <= max(interval, 3600)


def test_one_failure_stops_no_other() -> None:
    world = World()
    bad = world.job("bad", 100, goes=iter([False] * 9))
    seen = turns(world, 7, bad, world.job("good", 100))
    assert [when for name, when in seen if name == "good"] == [1000, 1100, 1200, 1300]


def test_rest_is_told_once_and_stop_ends_it() -> None:
    world = World()
    events = world.events(world.job("a"))
    assert [next(events) for _ in range(3)] == [
        Began("a"), Ended("a", True, 0, 0, 100), Resting("a", 100),
    ]  # fmt: skip
    world.calls = ["stop"]
    assert list(events) == []
    assert [name for name, _ in world.turns] == ["a"]


def test_a_reload_keeps_the_places_of_those_that_stay() -> None:
    world = World()
    jobs = [world.job("new"), world.job("stays", 300), world.job("sooner", 20)]
    old = [world.job("stays", 300), world.job("sooner", 500), world.job("goes", 10)]
    events = world.events(*old, reload=lambda: jobs)
    list(islice(events, 6))
    assert [name for name, _ in world.turns] == ["stays", "sooner", "goes"]
    world.calls = ["reload"]
    world.turns.clear()
    seen = list(islice(events, 12))
    assert Reloaded(("new", "stays", "sooner")) in seen
    assert world.turns[:3] == [("new", 1000), ("sooner", 1020), ("sooner", 1040)]
    assert "goes" not in [name for name, _ in world.turns]
    list(islice(events, 80))
    assert [when for name, when in world.turns if name == "stays"] == [1300]


def test_once_is_one_turn_for_each() -> None:
    world = World()
    jobs = [world.job("a", goes=iter([False])), world.job("b", lasts=5)]
    assert list(watch.once(jobs, world.clock)) == [
        Began("a"), Ended("a", False, 0, 1, 100), Began("b"), Ended("b", True, 5, 0, 100),
    ]  # fmt: skip


def test_systemd_is_told(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as link:
        link.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"))
        notifier.ready("one\ntwo")
        notifier.stopping()
        assert link.recv(100) == b"READY=1\nSTATUS=one two"
        assert link.recv(100) == b"STOPPING=1\nSTATUS=stopping"
    notifier.status("nobody listens")
    Notifier(None).ready("nobody asked")


def test_an_abstract_socket_is_found() -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as link:
        link.bind("")  # the kernel chooses an abstract name
        address = link.getsockname()
        Notifier("@" + address[1:].decode()).reloading(5)
        assert link.recv(100) == b"RELOADING=1\nMONOTONIC_USEC=5"
