"""Changes to a directory give what all its entries would, and cost little."""

from itertools import islice

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import hamt, unixfs
from narbor.formats.unixfs import Link, MalformedNode
from narbor.names import cid
from narbor.names.cid import Cid
from tests.formats.test_hamt import LEGAL, Blocks

Names = dict[bytes, int]


def link(name: bytes, number: int) -> Link:
    """An entry; equal numbers are equal contents."""
    content = b"%d" % number
    return Link(cid.raw(content), number % 1000, name)


def whole(names: Names, put: Blocks, largest: int) -> tuple[Cid, int]:
    """The directory made in one go."""
    return hamt.directory((link(*pair) for pair in names.items()), put.keep, largest)


def links(changes: dict[bytes, int | None]) -> dict[bytes, Link | None]:
    """Changes as `update` takes them."""
    return {name: None if n is None else link(name, n) for name, n in changes.items()}


def sharing(bits: int, count: int) -> list[bytes]:
    """So many names whose hashes begin with the same bits."""
    found: dict[int, list[bytes]] = {}
    for number in range(1 << 20):
        name = b"n%d" % number
        same = found.setdefault(mmh3.hash64(name, 0, signed=False)[0] >> 64 - bits, [])
        same.append(name)
        if len(same) == count:
            return same
    raise AssertionError(f"no {count} names share {bits} bits")


# Names of which many share the first bits of their hash, so that shards are deep and collapse.
CLOSE = sharing(8, 6) + sharing(16, 3) + sharing(24, 2)
NAMES = st.sampled_from(CLOSE) | LEGAL
LARGEST = st.sampled_from((0, 60, 200, 1000, hamt.LARGEST_NODE))


@given(
    st.dictionaries(NAMES, st.integers(0, 9), max_size=30),
    st.lists(st.dictionaries(NAMES, st.none() | st.integers(0, 5000), max_size=12), max_size=4),
    LARGEST,
)
def test_it_is_what_would_be_made_in_one_go(
    names: Names, steps: list[dict[bytes, int | None]], largest: int
) -> None:
    blocks = Blocks()
    root, tsize = whole(names, blocks, largest)
    for step in steps:
        names = {name: n for name, n in {**names, **step}.items() if n is not None}
        expected = whole(names, Blocks(), largest)
        root, tsize = hamt.update(
            blocks[root], links(step), blocks.__getitem__, blocks.keep, largest
        )
        assert (root, tsize) == expected
        assert {each.name for each in blocks.below(root)} == set(names)


@given(st.permutations(CLOSE), st.sampled_from((0, 400)))
def test_the_order_of_arrival_does_not_count(order: list[bytes], largest: int) -> None:
    blocks = Blocks()
    root, _ = whole({}, blocks, largest)
    for name in order:
        root, _ = hamt.update(
            blocks[root], links({name: 1}), blocks.__getitem__, blocks.keep, largest
        )
    assert root == whole(dict.fromkeys(order, 1), Blocks(), largest)[0]
    for name in order:
        root, _ = hamt.update(
            blocks[root], links({name: None}), blocks.__getitem__, blocks.keep, largest
        )
    assert root == whole({}, Blocks(), largest)[0]


class Counted(Blocks):
    """Nodes that count how often they are read."""

    reads = 0

    def __getitem__(self, name: Cid) -> bytes:
        self.reads += 1
        return super().__getitem__(name)


@pytest.fixture(scope="module")
def large() -> tuple[Counted, Cid]:
    """A directory of 100,000 entries."""
    blocks = Counted()
    names = {b"%032d.narinfo" % number: number for number in range(100_000)}
    root, _ = whole(names, blocks, hamt.LARGEST_NODE)
    return blocks, root


def test_one_entry_more_among_100_000_writes_a_handful(large: tuple[Counted, Cid]) -> None:
    blocks, root = large
    before, blocks.reads, fresh = blocks.keys() | set(), 0, Blocks()
    after, _ = hamt.update(
        blocks[root], links({b"new": 1}), blocks.__getitem__, fresh.keep, hamt.LARGEST_NODE
    )
    assert len(fresh.keys() - before) <= 5
    assert blocks.reads < 100
    blocks.update(fresh)
    blocks.reads, back = 0, Blocks()
    assert (
        hamt.update(blocks[after], links({b"new": None}), blocks.__getitem__, back.keep)[0] == root
    )
    assert len(back) <= 5
    assert blocks.reads < 100


def test_entries_are_met_without_reading_all(large: tuple[Counted, Cid]) -> None:
    blocks, root = large
    top, blocks.reads = blocks[root], 0
    some = list(islice(hamt.unsorted(top, blocks.__getitem__), 1000))
    assert len({each.name for each in some}) == 1000
    assert blocks.reads < 1000


def test_nothing_to_change_changes_nothing(large: tuple[Counted, Cid]) -> None:
    blocks, root = large
    there = b"%032d.narinfo" % 7
    cases: list[dict[bytes, int | None]] = [{}, {b"absent": None}, {there: 7}]
    for changes in cases:
        assert hamt.update(blocks[root], links(changes), blocks.__getitem__, cid.node)[0] == root


def test_only_a_directory_can_be_changed() -> None:
    for block in (unixfs.leaf_node(b"x"), unixfs.symlink_node(b"x"), b"\xff"):
        with pytest.raises(MalformedNode):
            hamt.update(block, {}, Blocks().__getitem__, cid.node)


def test_a_trie_of_another_width_cannot_be_changed() -> None:
    said = unixfs.Unixfs(unixfs.HAMT_SHARD, None, hash_type=hamt.MURMUR3, fanout=512)
    with pytest.raises(MalformedNode):
        hamt.update(unixfs.encode([], said), {}, Blocks().__getitem__, cid.node)
