"""Bit for bit through the DAG: NAR -> leaves, tree, archive -> NAR, whole and by range."""

import os
from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.blocks.memory import MemoryStore
from narbor.dag import cut, profile, reach, splice, walk
from narbor.dag.build import Roots, build
from narbor.dag.cut import Cutter
from narbor.dag.profile import NARBOR, UNIXFS, Profile
from narbor.dag.splice import Leaf, Piece
from narbor.formats import nar, unixfs
from narbor.names import cid
from narbor.names.cid import Cid
from tests.trees import HASH, archives, chunked, contents

PROFILES = [NARBOR, UNIXFS]


class MemorySink:
    """A sink that keeps everything in a dictionary."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.names: list[Cid] = []

    def leaf(self, content: bytes) -> int:
        """Keep a leaf."""
        assert len(content) <= 1 << 20
        self.names.append(cid.raw(content))
        self.store.put_many([(self.names[-1], content)])
        return len(self.names) - 1

    def leaves(self) -> Sequence[Cid]:
        """Return the names so far."""
        return self.names

    def node(self, block: bytes) -> Cid:
        """Keep a node."""
        name = cid.node(block)
        self.store.put_many([(name, block)])
        return name

    def get(self, name: Cid) -> bytes:
        """Return a node, also one that stands in its CID."""
        block = cid.inlined(name)
        if block is None:
            block = self.store.get(name)
        assert block is not None, f"{cid.text(name)} was never put"
        return block


def built(archive: bytes, choice: Profile, chunk: int = 1 << 16) -> tuple[Roots, MemorySink]:
    """Build one archive in memory."""
    sink = MemorySink()
    return build(nar.parse(chunked(archive, chunk)), sink, choice), sink


def spelled(pieces: Iterable[Piece], sink: MemorySink) -> bytes:
    """Turn a splice into bytes."""
    return b"".join(sink.get(p.cid) if isinstance(p, Leaf) else p for p in pieces)


@pytest.mark.parametrize("choice", PROFILES, ids=lambda choice: choice.name)
@given(archive=archives, chunk=st.integers(1, 5000), data=st.data())
def test_bit_for_bit(choice: Profile, archive: bytes, chunk: int, data: st.DataObject) -> None:
    roots, sink = built(archive, choice, chunk)
    assert roots.size == len(archive)
    assert spelled(nar.write(walk.walk(roots.tree, sink.get)), sink) == archive
    assert spelled(splice.read(roots.archive, sink.get), sink) == archive
    start = data.draw(st.integers(0, len(archive)))
    stop = data.draw(st.integers(start, len(archive) + 5))
    cuts = splice.pieces(roots.archive, sink.get, start, stop)
    part = b"".join(spelled([c.piece], sink)[c.start : c.stop] for c in cuts)
    assert part == archive[start:stop]
    again, _ = built(archive, choice, len(archive))
    assert again == roots


@pytest.mark.parametrize("choice", PROFILES, ids=lambda choice: choice.name)
@given(archive=archives)
def test_reach_gives_every_block_once(choice: Profile, archive: bytes) -> None:
    roots, sink = built(archive, choice)
    seen: set[Cid] = set()

    def enter(name: Cid) -> bool:
        new = name not in seen
        seen.add(name)
        return new

    found = [
        *reach.reach(roots.tree, sink.get, enter),
        *reach.reach(roots.archive, sink.get, enter),
    ]
    assert sorted(found) == sorted(sink.store.blocks)


@given(archive=archives)
def test_the_archive_adds_no_leaf(archive: bytes) -> None:
    roots, sink = built(archive, NARBOR)
    leaves = {
        piece.cid for piece in splice.read(roots.archive, sink.get) if isinstance(piece, Leaf)
    }
    tree = set(reach.reach(roots.tree, sink.get, lambda name: True))
    assert leaves <= tree


def random(size: int, seed: int) -> bytes:
    return Random(seed).randbytes(size)


def test_large_files_by_range() -> None:
    content = random(5_000_000, 1) + b"/nix/store/" + HASH + random(3_000_000, 2)
    archive = b"".join(nar.write([nar.File(b"", True, len(content)), nar.Data(content)]))
    for choice in PROFILES:
        roots, sink = built(archive, choice)
        assert spelled(nar.write(walk.walk(roots.tree, sink.get)), sink) == archive
        for start in (0, 1, 999_999, 4_999_900, 5_000_104, len(archive) - 1):
            cuts = list(splice.pieces(roots.archive, sink.get, start, start + 100))
            part = b"".join(spelled([c.piece], sink)[c.start : c.stop] for c in cuts)
            assert part == archive[start : start + 100]


@given(contents, st.integers(1, 90))
def test_pieces_do_not_depend_on_chunks(content: bytes, size: int) -> None:
    whole = list(Cutter(NARBOR).pieces([content]))
    assert b"".join(whole) == content
    assert list(Cutter(NARBOR).pieces(chunked(content, size))) == whole


@settings(max_examples=25)
@given(st.data())
def test_pieces_of_large_files_do_not_depend_on_chunks(data: st.DataObject) -> None:
    """References fall on and around the borders of the cutter's window."""
    seed = data.draw(st.integers(0, 1000))
    window = 8 << 20
    content = bytearray(random(2 * window + 999_999, seed))
    for border in (window, 2 * window):
        for _ in range(data.draw(st.integers(0, 3))):
            at = border + data.draw(st.integers(-60, 60))
            content[at : at + 43] = b"/nix/store/" + HASH
    whole = list(Cutter(NARBOR)._whole(bytes(content)))
    for size in (1 << 20, (8 << 20) - 7, 64 << 10):
        assert list(Cutter(NARBOR).pieces(chunked(bytes(content), size))) == whole
    assert max(map(len, whole)) <= 1 << 20


def test_references() -> None:
    one = b"/nix/store/" + HASH
    assert list(cut.references(b"x" + one + b"-a:" + one)) == [12, 12 + 32 + 3 + 11]
    assert list(cut.references(one[1:])) == []
    assert list(cut.references(one[:-1] + b"e")) == []
    assert list(cut.references(one[:-1])) == []
    assert list(cut.references(b"/gnu/store/" + HASH)) == [11]
    assert list(cut.references(b"/var/store/" + HASH)) == []
    assert list(cut.references(b"/nix/store/nix/store/" + HASH)) == [21]
    assert list(cut.references(b"nix/store/" + HASH)) == []
    assert list(cut.references(b"/nix/store/" + one)) == [22]


def test_a_rebuild_finds_all_other_leaves_again() -> None:
    body = random(400_000, 3)
    old, new = HASH, HASH[::-1]
    first = Cutter(NARBOR).pieces([body, b"/nix/store/", old, b"-glibc", body])
    second = Cutter(NARBOR).pieces([body, b"/nix/store/", new, b"-glibc", body])
    changed = set(second) - set(first)
    assert changed == {new}


def test_helia_rule_shares_the_executable() -> None:
    content = os.urandom(5000)
    archive = b"".join(nar.write([nar.File(b"", True, 5000), nar.Data(content)]))
    roots, sink = built(archive, UNIXFS)
    node = unixfs.parse(sink.get(roots.tree))
    assert node.data is not None
    assert (node.data.data, node.data.mode) == (content, 0o555)
    assert sorted(sink.store.blocks) == sorted({roots.tree, roots.archive})


@pytest.mark.parametrize("choice", PROFILES, ids=lambda choice: choice.name)
def test_a_directory_large_enough_to_be_sharded(choice: Profile) -> None:
    """Its smallest shards stand in their CIDs, like any tiny node."""
    inside: list[nar.Event[bytes]] = []
    for number in range(9000):
        inside += (nar.File(b"%05d" % number, False, 2), nar.Data(b"%02d" % (number % 90)))
    archive = b"".join(nar.write([nar.Directory(b""), *inside, nar.END]))
    roots, sink = built(archive, choice)
    assert spelled(nar.write(walk.walk(roots.tree, sink.get)), sink) == archive
    found = walk.find(roots.tree, sink.get, b"01234")
    assert found is not None and walk.size(found, sink.get) == 2
    assert walk.find(roots.tree, sink.get, b"01234x") is None
    met = {*reach.reach(roots.tree, sink.get, lambda name: True), roots.archive}
    assert met <= set(sink.store.blocks)


def test_unknown_profile() -> None:
    with pytest.raises(profile.UnknownProfile, match="narbor-v1"):
        profile.named("v9")


def test_empty_file_is_the_empty_block() -> None:
    archive = b"".join(nar.write([nar.File(b"", False, 0)]))
    roots, _ = built(archive, UNIXFS)
    assert cid.text(roots.tree) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
