"""The agent's own store stays within its size, and keeps what is being read."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.sources import FakeSource
from tests.fakes.upstream import FakeCache
from tests.library import store
from tests.tasks.agent import world as worlds
from tests.tasks.agent.test_agent import BIG
from tests.tasks.agent.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds.made(tmp_path) as made:
        yield made


def test_the_least_recently_used_go(tmp_path: Path, world: World) -> None:
    paths = [world.add(f"item-{number}", BIG, seed=number) for number in range(6)]
    more = world.add("one-more", BIG)
    blocks = FakeSource("blocks", world.get)
    with FakeCache() as cache:
        world.serve(cache)
        with worlds.agent(tmp_path, [cache], [blocks]) as agent:
            for path in paths:
                worlds.archive(agent, world, path)
        with store.opened(tmp_path / "agent") as library:
            newest = max(pin.time for pin in library.pins())
            library.catalogue.pin_all([paths[0].base], newest + 100, True)
        with worlds.agent(tmp_path, [cache], [blocks], size=4 * BIG) as agent:
            found = agent.archive(paths[1].hash_part, world.claims[paths[1]].seal.digest)
            assert found is not None
            reading = found.read(0, found.size)
            first = next(reading)
            worlds.archive(agent, world, more)
            _until(lambda: int(str(agent.status()["atRest"])) <= 4 * BIG)
            assert agent.status()["trouble"] == ""
            assert first + b"".join(reading) == world.archives[paths[1]]
            here = {path for path in paths if agent.library.item(path.base) is not None}
            assert {paths[0], paths[1]} <= here < set(paths)
            for path in set(paths) - here:
                assert worlds.archive(agent, world, path) == world.archives[path]


def test_items_share_admissions(tmp_path: Path, world: World) -> None:
    # Each opening and each end is a commit that waits for the disk, and the next item for it.
    paths = [world.add(f"item-{number}", seed=number) for number in range(8)]
    with FakeCache() as cache:
        world.serve(cache)
        blocks = FakeSource("blocks", world.get)
        with worlds.agent(tmp_path, [cache], [blocks]) as agent:
            before = agent.library.catalogue.begin_admission(0, "test")
            agent.library.catalogue.end_admission(before)
            for path in paths:
                worlds.archive(agent, world, path)
            after = agent.library.catalogue.begin_admission(0, "test")
            agent.library.catalogue.end_admission(after)
    assert after - before - 1 <= len(paths)


def _until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(600):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come to that")
