"""The cutting profiles against their vectors, and against a second, plain cutter.

The cutter here is written from docs/formats/profile.md: a regular expression for the references,
FastCDC one byte at a time, its table made as the Rust crate fastcdc made it.
"""

import re
from collections.abc import Iterator, Sequence
from hashlib import md5, sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.blocks.memory import MemoryStore
from narbor.dag import profile
from narbor.dag.build import build
from narbor.dag.cut import Cutter
from narbor.dag.profile import NARBOR, UNIXFS
from narbor.formats import nar
from narbor.names import cid
from narbor.names.cid import Cid
from tests.dag import plain
from tests.dag import profile_vectors as vectors
from tests.trees import HASH, chunked, contents

SMALLEST, AVERAGE, LARGEST = 64 << 10, 256 << 10, 1 << 20
BEFORE_AVERAGE, BEHIND_AVERAGE = 0x0000D91707537000, 0x0000D90703537000
GEAR = [int.from_bytes(md5(bytes([i]) * 64).digest()[:8], "big") for i in range(256)]
REFERENCE = re.compile(rb"/(?:nix|gnu)/store/([0-9a-df-np-sv-z]{32})")

FILES = vectors.load("files.json")
TREES = vectors.load("trees.json")


def first_cut(data: bytes) -> int:
    """Return the length of the first chunk of a stretch."""
    size = len(data)
    if size <= SMALLEST:
        return size
    size = min(size, LARGEST)
    gear = 0
    for at in range(SMALLEST, size // 2 * 2):
        gear = (gear << 1) + GEAR[data[at]] & 0xFFFF_FFFF_FFFF_FFFF
        if not gear & (BEFORE_AVERAGE if at < AVERAGE else BEHIND_AVERAGE):
            return at
    return size


def plain_stretch(data: bytes) -> Iterator[bytes]:
    """Cut a stretch without references."""
    while data:
        cut = first_cut(data)
        yield data[:cut]
        data = data[cut:]


def plain_pieces(data: bytes) -> Iterator[bytes]:
    """Cut one file."""
    start = 0
    for match in REFERENCE.finditer(data):
        yield from plain_stretch(data[start : match.start(1)])
        yield match[1]
        start = match.end()
    yield from plain_stretch(data[start:])


class Sink:
    """Keeps the blocks of one item in memory."""

    def __init__(self) -> None:
        self.blocks = MemoryStore()
        self.names: list[Cid] = []

    def leaf(self, content: bytes) -> int:
        """Keep a leaf."""
        self.names.append(cid.raw(content))
        self.blocks.put_many([(self.names[-1], content)])
        return len(self.names) - 1

    def leaves(self) -> Sequence[Cid]:
        """Return the names so far."""
        return self.names

    def node(self, block: bytes) -> Cid:
        """Keep a node."""
        name = cid.node(block)
        self.blocks.put_many([(name, block)])
        return name


def built(tree: dict[str, Any]) -> dict[str, Any]:
    """Return all that a vector of a tree says comes out."""
    archive = b"".join(nar.write(vectors.events(tree)))
    out: dict[str, Any] = {"nar": {"sha256": sha256(archive).hexdigest(), "size": len(archive)}}
    for choice in (NARBOR, UNIXFS):
        sink = Sink()
        roots = build(nar.parse([archive]), sink, choice)
        assert roots.size == len(archive)
        out[choice.name] = {
            "tree": cid.text(roots.tree),
            "archive": cid.text(roots.archive),
            "blocks": len(sink.blocks.blocks),
        }
    return out


@pytest.mark.parametrize("vector", FILES, ids=lambda vector: vector["name"])
def test_pieces_of_the_vectors(vector: dict[str, Any]) -> None:
    data = vectors.content(vector["content"])
    assert sha256(data).hexdigest() == vector["sha256"]
    for pieces in (list(Cutter(NARBOR).pieces([data])), list(plain_pieces(data))):
        assert b"".join(pieces) == data
        assert [len(piece) for piece in pieces] == vector["pieces"]


@pytest.mark.parametrize("vector", TREES, ids=lambda vector: vector["name"])
def test_roots_of_the_vectors(vector: dict[str, Any]) -> None:
    assert built(vector["tree"]) == vector["roots"]


@pytest.mark.parametrize("vector", TREES, ids=lambda vector: vector["name"])
def test_a_second_builder_comes_to_the_same_roots(vector: dict[str, Any]) -> None:
    builder = plain.Builder(plain_pieces)
    tree, _ = builder.tree(vector["tree"])
    archive = builder.archive(vector["tree"])
    assert {
        "tree": cid.text(cid.check(tree)),
        "archive": cid.text(cid.check(archive)),
        "blocks": len(builder.blocks),
    } == vector["roots"]["narbor-v1"]


def test_the_vectors_reach_every_rule() -> None:
    pieces = [length for vector in FILES for length in vector["pieces"]]
    assert LARGEST in pieces
    assert any(SMALLEST < length < AVERAGE for length in pieces)
    assert any(AVERAGE < length < LARGEST for length in pieces)
    assert 32 in pieces
    by_name = {vector["name"]: vector["pieces"] for vector in FILES}
    assert len(by_name) == len(FILES)
    assert by_name["a cut one byte before an even end"][1:] == [1]
    first = by_name["random, 2 MB and one"][0]
    assert by_name["no cut one byte before an odd end"] == [first + 1]
    for vector in TREES:
        if "shards" in vector["name"]:
            assert vector["roots"]["narbor-v1"]["blocks"] > 250


def test_the_profile_is_what_the_page_says() -> None:
    assert (NARBOR.smallest, NARBOR.average, NARBOR.largest) == (SMALLEST, AVERAGE, LARGEST)
    assert (NARBOR.inline, NARBOR.width, NARBOR.executable) == (128, 1024, 0o555)
    assert (NARBOR.references, NARBOR.inline_executables) == (True, False)
    assert (UNIXFS.references, UNIXFS.inline_executables) == (False, True)
    assert (UNIXFS.largest, UNIXFS.inline, UNIXFS.width) == (LARGEST, 0, 1024)
    assert set(profile.PROFILES) == {"narbor-v1", "unixfs-v1-2025"}


@given(contents, st.integers(1, 90))
def test_small_files_are_cut_as_the_plain_cutter_does(data: bytes, chunk: int) -> None:
    assert list(Cutter(NARBOR).pieces(chunked(data, chunk))) == list(plain_pieces(data))


@settings(max_examples=15)
@given(st.data())
def test_large_files_are_cut_as_the_plain_cutter_does(data: st.DataObject) -> None:
    """Lengths are odd and even, and references stand anywhere, also one upon another."""
    seed = data.draw(st.integers(0, 2**32), label="seed")
    size = data.draw(st.integers(0, 1_500_000), label="size")
    body = bytearray(Random(seed).randbytes(size))
    for at in data.draw(st.lists(st.integers(0, size), max_size=4), label="references"):
        body[at : at + 43] = (b"/nix/store/" + HASH)[: max(size - at, 0)]
    whole = bytes(body)
    assert list(Cutter(NARBOR).pieces(chunked(whole, 100_000))) == list(plain_pieces(whole))
