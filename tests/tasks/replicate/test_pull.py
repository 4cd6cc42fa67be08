"""A root is pulled from others: all of it, from whoever has what, whatever they do."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.formats import ipld
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.keys import Keyring
from narbor.tasks.gather import Gatherer, Lane
from narbor.tasks.gather.standing import Standing
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.replicate import pull as pulling
from narbor.tasks.replicate.arrive import Absent, KeptRoot, Terms, Unkept
from narbor.tasks.replicate.pull import Event, Pulled, SourcesAway, UnkeptHash, pull
from tests.fakes.sources import FAULTS, FakeSource, Fault
from tests.library.store import opened
from tests.tasks.replicate.dags import Blocks, dags, join, only
from tests.tasks.replicate.test_arrive import below
from tests.tasks.test_collect import run
from tests.tasks.test_publish import KEY

TERMS = Terms(Keyring((KEY.public,)), trusted=False, now=1000, process="test")


@dataclass
class Clock:
    """Time that passes as ever, and faster while somebody waits."""

    ahead: float = 0.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return time.monotonic() + self.ahead

    def wait(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.waits.append(seconds)
        self.ahead += seconds


@contextmanager
def gatherer(
    sources: Sequence[FakeSource], clock: Clock, at_once: int = 5, stall: float = 5.0
) -> Iterator[Gatherer]:
    """A gatherer of these sources."""
    lanes = [Lane(source, Standing(source.name, clock), 2, lambda: at_once) for source in sources]
    made = Gatherer(lanes, clock, stall)
    try:
        yield made
    finally:
        for source in sources:
            source.let_go()
        made.close(wait=True)


def pulled(
    library: Library,
    root: Cid,
    *sources: FakeSource,
    terms: Terms = TERMS,
    clock: Clock | None = None,
    stall: float = 5.0,
) -> list[Event]:
    """Pull a root as `n`; return the events."""
    clock = clock or Clock()
    with gatherer(sources, clock, stall=stall) as made:
        return list(pull(library, made, root, "n", terms, clock.wait))


def fake(blocks: Blocks, name: str = "good", fault: Fault = "none") -> FakeSource:
    """A source that has these blocks."""
    return FakeSource(name, blocks.get, fault)


def tall(count: int = 40) -> tuple[Cid, Blocks]:
    """A DAG with leaves, and nodes over them."""
    blocks: Blocks = {}
    leaves = [join(blocks, [], cid.RAW, salt) for salt in range(count)]
    nodes = [join(blocks, leaves[at : at + 5], cid.DAG_PB, 1000 + at) for at in range(0, count, 5)]
    return join(blocks, nodes, cid.DAG_CBOR, 2000), blocks


@settings(max_examples=40, deadline=None)
@given(dags(), st.data())
def test_any_dag_comes_whole_from_two_that_have_parts_of_it(
    dag: tuple[Cid, Blocks], data: st.DataObject
) -> None:
    root, blocks = dag
    names = sorted(blocks)
    one = set(data.draw(st.lists(st.sampled_from(names))))
    both = set(data.draw(st.lists(st.sampled_from(names))))
    here = {name: blocks[name] for name in data.draw(st.lists(st.sampled_from(names)))}
    first = {name: block for name, block in blocks.items() if name in one | both}
    second = {name: block for name, block in blocks.items() if name not in one or name in both}
    with TemporaryDirectory() as folder, opened(Path(folder)) as library:
        library.blocks.put_many(list(here.items()))
        library.blocks.sync()
        sources = fake(first, "first"), fake(second, "second")
        events = pulled(library, root, *sources)
        assert only(KeptRoot, events) == [KeptRoot("n", root, whole=True)]
        lacked = len(blocks) - len(here)
        size = sum(len(block) for name, block in blocks.items() if name not in here)
        last = only(Pulled, events)[-1]
        assert (last.blocks, last.size) == (lacked, size)
        asked = {name for source in sources for names in source.asked for name in names}
        assert asked == set(blocks) - set(here)
        assert below(library, root) == blocks
        assert run(library)[0].room.blocks == 0
        assert library.catalogue.admissions() == ()
        assert only(KeptRoot, pulled(library, root, fake({})))


@settings(max_examples=30, deadline=None)
@given(dags(), st.data())
def test_what_nobody_has_is_named_and_comes_the_next_time(
    dag: tuple[Cid, Blocks], data: st.DataObject
) -> None:
    root, blocks = dag
    lost = data.draw(st.sampled_from(sorted(blocks)))
    some = {name: block for name, block in blocks.items() if name != lost}
    with TemporaryDirectory() as folder, opened(Path(folder)) as library:
        events = pulled(library, root, fake(some))
        assert only(Absent, events) == [Absent(root, lost)]
        assert only(Unkept, events) == [Unkept("n", root, 1)]
        assert library.catalogue.kept_roots() == ()
        here = set(library.blocks.keys())
        source = fake(blocks)
        assert only(KeptRoot, pulled(library, root, source)) == [KeptRoot("n", root, whole=True)]
        assert source.count() == len(blocks) - len(here)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "none"])
def test_what_one_spoils_another_makes_good(fault: Fault, tmp_path: Path) -> None:
    root, blocks = tall()
    with opened(tmp_path) as library:
        events = pulled(library, root, fake(blocks, "bad", fault), fake(blocks))
        assert only(KeptRoot, events) == [KeptRoot("n", root, whole=True)]
        assert below(library, root) == blocks


def test_who_breaks_off_all_the_time_gives_all_in_the_end(tmp_path: Path) -> None:
    root, blocks = tall()
    clock = Clock()
    with opened(tmp_path) as library:
        source = fake(blocks, fault="stops")
        events = pulled(library, root, source, clock=clock)
        assert only(KeptRoot, events) == [KeptRoot("n", root, whole=True)]
    assert clock.waits


@pytest.mark.parametrize("fault", ["dead", "denies", "lies", "other", "hangs"])
def test_where_nobody_answers_as_he_should_it_is_said(fault: Fault, tmp_path: Path) -> None:
    root, blocks = tall()
    clock = Clock()
    with opened(tmp_path) as library:
        with pytest.raises(SourcesAway, match="cannot be had"):
            pulled(library, root, fake(blocks, "bad", fault), clock=clock, stall=0.3)
        assert library.catalogue.admissions() == ()
        assert library.catalogue.kept_roots() == ()
    assert len(clock.waits) <= 3


def test_one_that_is_away_does_not_hide_what_lacks(tmp_path: Path) -> None:
    root, blocks = tall()
    lost = min(name for name in blocks if cid.codec(name) == cid.RAW)
    del blocks[lost]
    with opened(tmp_path) as library:
        events = pulled(library, root, fake({}, "away", "dead"), fake(blocks))
        assert only(Absent, events) == [Absent(root, lost)]


@dataclass(eq=False)
class Ends(FakeSource):
    """A source that is dead after so many names."""

    most: int = 10

    def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give blocks until it is over."""
        if self.count() >= self.most:
            self.fault = "dead"
        return super().fetch(names)


def test_what_came_stays_and_is_not_asked_for_again(tmp_path: Path) -> None:
    root, blocks = tall()
    with opened(tmp_path) as library, pytest.raises(SourcesAway):
        pulled(library, root, Ends("short", blocks.get, most=20))
    with opened(tmp_path) as library:
        here = set(library.blocks.keys())
        assert 0 < len(here) < len(blocks)
        source = fake(blocks)
        assert only(KeptRoot, pulled(library, root, source))
        assert {name for names in source.asked for name in names} == set(blocks) - here


def test_deep_chains_and_wide_nodes_need_no_more_than_a_few_waiting(tmp_path: Path) -> None:
    blocks: Blocks = {}
    name = join(blocks, [], cid.RAW, 0)
    for salt in range(1, 300):
        name = join(blocks, [name, name, join(blocks, [], cid.RAW, -salt)], cid.DAG_PB, salt)
    with opened(tmp_path) as library:
        source = fake(blocks)
        assert only(KeptRoot, pulled(library, name, source))
        assert source.count() == len(blocks)


def test_more_than_is_wanted_at_one_time(tmp_path: Path) -> None:
    blocks: Blocks = {}
    nodes = []
    for at in range(60):
        leaves = [join(blocks, [], cid.RAW, at * 100 + n) for n in range(100)]
        nodes.append(join(blocks, leaves, cid.DAG_PB, at))
    root = join(blocks, nodes, cid.DAG_PB, 1)
    assert len(blocks) > pulling.MOST
    clock = Clock()
    with opened(tmp_path) as library, gatherer([fake(blocks)], clock, 500) as made:
        steps = pull(library, made, root, "n", TERMS, clock.wait)
        events = list(steps)
        assert only(KeptRoot, events)
        assert below(library, root) == blocks


def test_a_damaged_node_is_fetched_anew(tmp_path: Path) -> None:
    root, blocks = tall()
    node = next(name for name in blocks if cid.codec(name) == cid.DAG_PB)
    with opened(tmp_path) as library:
        library.blocks.put_many([(node, blocks[node])])
        library.blocks.sync()
        (place,) = library.blocks.places([node])
    (pack,) = (tmp_path / "packs").glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[place.offset + place.length - 1] ^= 1
    pack.write_bytes(data)
    with opened(tmp_path) as library:
        assert only(KeptRoot, pulled(library, root, fake(blocks)))
        assert below(library, root) == blocks


def test_a_full_disk_ends_it_and_keeps_what_came(tmp_path: Path) -> None:
    root, blocks = tall()
    with opened(tmp_path) as library:
        with pytest.raises(DiskFull):
            pulled(library, root, fake(blocks), terms=replace(TERMS, min_free=1 << 60))
        assert library.catalogue.admissions() == ()


def test_roots_by_other_hashes_are_refused_and_blocks_by_them_are_named(tmp_path: Path) -> None:
    other = Cid(bytes((1, cid.RAW, 0x1E, 32)) + bytes(32))
    blocks: Blocks = {}
    root = join(blocks, [other], cid.DAG_CBOR, 1)
    with opened(tmp_path) as library:
        with pytest.raises(UnkeptHash):
            pulled(library, other, fake(blocks))
        events = pulled(library, root, fake(blocks))
        assert only(Absent, events) == [Absent(root, other)]


def test_what_links_stand_in_names_is_pulled_too(tmp_path: Path) -> None:
    blocks: Blocks = {}
    leaf = join(blocks, [], cid.RAW, 1)
    inner: Blocks = {}
    join(inner, [leaf], cid.DAG_CBOR, 2)
    (block,) = inner.values()
    root = cid.inline(block, cid.DAG_CBOR)
    assert ipld.inlined(root) == block
    with opened(tmp_path) as library:
        assert only(KeptRoot, pulled(library, root, fake(blocks)))
        assert library.blocks.missing([leaf]) == set()
