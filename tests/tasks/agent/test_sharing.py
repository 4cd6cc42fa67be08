"""Archives that lack the same leaves at the same time: each leaf is fetched once."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.dag import splice
from narbor.dag.splice import Leaf
from narbor.errors import Unavailable
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.storepath import StorePath
from tests.fakes.sources import FAULTS, FakeSource, Fault
from tests.fakes.upstream import FakeCache
from tests.tasks.agent import world as worlds
from tests.tasks.agent.test_agent import BIG
from tests.tasks.agent.world import World

OURS, THEIRS = b"1" * 200, b"2" * 200


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds.made(tmp_path) as made:
        yield made


@dataclass(eq=False)
class Gate(FakeSource):
    """A source that gives leaves of `shut` only when it is opened, and tells who was asked for."""

    shut: frozenset[Cid] = frozenset()
    fails: bool = False
    opened: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give blocks, the shut ones later; with `fails` they never come from who was first."""
        with self.changed:
            seen = {name for group in self.asked for name in group}
            found = list(super().fetch(names))
            self.changed.notify_all()
        if self.shut.intersection(names):
            self.opened.wait()
            if self.fails and not seen.intersection(names):
                raise Unavailable("the line broke")
        yield from found

    def until_asked(self, names: Iterable[Cid]) -> None:
        """Wait until it was asked for all of these."""
        wanted = set(names)
        with self.changed:
            self.changed.wait_for(lambda: wanted <= {n for group in self.asked for n in group})


def leaves(world: World, path: StorePath) -> set[Cid]:
    """Return the leaves of an archive, as the origin has it."""

    def node(name: Cid) -> bytes:
        block = world.origin.blocks.get(name)
        assert block is not None
        return block

    pieces = splice.read(world.root(path), node)
    return {piece.cid for piece in pieces if isinstance(piece, Leaf)}


@pytest.mark.parametrize("fails", [False, True])
def test_a_leaf_that_is_on_its_way_is_waited_for(tmp_path: Path, world: World, fails: bool) -> None:
    one = world.add("tool-1.0", BIG, seed=1, version=OURS)
    two = world.add("other-2.0", BIG, seed=1, version=THEIRS)
    shared = frozenset(leaves(world, one) & leaves(world, two))
    assert len(shared) > 2
    source = Gate("gate", world.get, shut=shared, fails=fails)
    with FakeCache() as cache, ThreadPoolExecutor(2) as threads:
        world.serve(cache, archives=fails)
        with worlds.agent(tmp_path, [cache], [source], stall=10) as agent:
            try:
                first = threads.submit(worlds.archive, agent, world, one)
                source.until_asked(shared)
                second = threads.submit(worlds.archive, agent, world, two)
                source.until_asked([cid.raw(THEIRS)])
            finally:
                source.opened.set()
            assert first.result() == world.archives[one]
            assert second.result() == world.archives[two]
    if not fails:
        assert max(Counter(name for group in source.asked for name in group).values()) == 1


# A source that hangs costs seconds each time; the test above has one.
SOON = [fault for fault in FAULTS if fault != "hangs"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    faults=st.lists(st.sampled_from(SOON), min_size=1, max_size=2),
    seeds=st.lists(st.integers(1, 2), min_size=2, max_size=4),
    nars=st.booleans(),
)
def test_all_come_to_their_end_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, faults: list[Fault], seeds: list[int], nars: bool
) -> None:
    folder = tmp_path_factory.mktemp("world")
    with worlds.made(folder) as world, FakeCache() as cache, ThreadPoolExecutor(4) as threads:
        paths = [
            world.add(f"item-{n}", BIG, seed=seed, version=bytes([n]) * 200)
            for n, seed in enumerate(seeds)
        ]
        world.serve(cache, archives=nars)
        sources = [FakeSource(f"s{n}", world.get, fault) for n, fault in enumerate(faults)]
        with worlds.agent(folder, [cache], sources, stall=10) as agent:

            def ask(path: StorePath) -> bytes | None:
                try:
                    return worlds.archive(agent, world, path)
                except Unavailable:
                    return None

            given = list(threads.map(ask, paths))
    for path, data in zip(paths, given, strict=True):
        assert data == world.archives[path] or (data is None and not nars and "none" not in faults)
