"""A second builder of narbor-v1, written from docs/formats/profile.md alone: plain, slow, short.

It shares no code with narbor. A tree is the value of a vector; blocks go into a dictionary.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import mmh3

from tests.dag.profile_vectors import content

Piece = tuple[bytes, bool]
"""Bytes, and whether they are a leaf."""
Child = tuple[bytes, int, int]
"""CID, Tsize, bytes of the file."""


def number(value: int) -> bytes:
    """Write a varint."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(tag: int, data: bytes) -> bytes:
    """Write a field of bytes."""
    return bytes([tag]) + number(len(data)) + data


def pb(links: Iterable[tuple[bytes, bytes, int]], data: bytes) -> bytes:
    """Write a node; each link is CID, name, Tsize."""
    out = b""
    for cid, name, tsize in links:
        out += field(0x12, field(0x0A, cid) + field(0x12, name) + b"\x18" + number(tsize))
    return out + field(0x0A, data)


class Builder:
    """Builds one item from the pieces that a cutter gives."""

    def __init__(self, cutter: Any) -> None:
        self.cutter = cutter
        self.blocks: dict[bytes, bytes] = {}

    def keep(self, data: bytes, codec: int) -> bytes:
        """Keep a block, or put it into its CID."""
        if len(data) <= 128:
            return bytes([1, codec, 0]) + number(len(data)) + data
        cid = bytes([1, codec, 0x12, 32]) + sha256(data).digest()
        self.blocks[cid] = data
        return cid

    def children(self, pieces: Iterable[Piece]) -> Iterator[Child]:
        """Join what is inline, and split it at 128 anew behind each leaf."""
        held = b""
        for data, leaf in [*pieces, (b"", True)]:
            if not leaf:
                held += data
                continue
            for at in range(0, len(held), 128):
                part = held[at : at + 128]
                yield self.keep(part, 0x55), len(part), len(part)
            held = b""
            if data:
                yield self.keep(data, 0x55), len(data), len(data)

    def file(self, pieces: Iterable[Piece], executable: bool) -> Child:
        """Lay a file out: level by level, from the leaves up."""
        level = list(self.children(pieces))
        if len(level) == 1 and not executable:
            return level[0]
        while True:
            rows = [level[at : at + 1024] for at in range(0, len(level), 1024)] or [[]]
            mode = b"\x38\xed\x02" if executable and len(rows) == 1 else b""
            level = [self.row(row, mode) for row in rows]
            if len(level) == 1:
                return level[0]

    def row(self, row: list[Child], mode: bytes) -> Child:
        """Make one node of a file."""
        size = sum(child[2] for child in row)
        sizes = b"".join(b"\x20" + number(child[2]) for child in row)
        data = b"\x08\x02\x18" + number(size) + sizes + mode
        block = pb([(cid, b"", tsize) for cid, tsize, _ in row], data)
        return self.keep(block, 0x70), len(block) + sum(child[1] for child in row), size

    def tree(self, tree: dict[str, Any]) -> tuple[bytes, int]:
        """Build a tree; return its root and Tsize."""
        if tree["type"] == "file":
            return self.file(self.pieces(tree), tree.get("executable", False))[:2]
        if tree["type"] == "symlink":
            block = pb([], b"\x08\x04" + field(0x12, tree["target"].encode()))
            return self.keep(block, 0x70), len(block)
        links = []
        for name, below in entries(tree):
            cid, tsize = self.tree(below)
            links.append((cid, name, tsize))
        block = pb(links, b"\x08\x01")
        if len(block) > 262_144:
            return self.shard([(hashed(link[1]), link) for link in links], 56)
        return self.keep(block, 0x70), len(block) + sum(link[2] for link in links)

    def shard(
        self, found: list[tuple[int, tuple[bytes, bytes, int]]], shift: int
    ) -> tuple[bytes, int]:
        """Build a HAMT shard of these entries."""
        links, bits = [], 0
        for index in range(256):
            here = [entry for entry in found if entry[0] >> shift & 255 == index]
            if not here:
                continue
            bits |= 1 << index
            if len(here) == 1:
                cid, name, tsize = here[0][1]
                links.append((cid, b"%02X" % index + name, tsize))
            else:
                cid, tsize = self.shard(here, shift - 8)
                links.append((cid, b"%02X" % index, tsize))
        field_bits = field(0x12, bits.to_bytes(32, "big").lstrip(b"\0"))
        block = pb(links, b"\x08\x05" + field_bits + b"\x28\x22\x30\x80\x02")
        return self.keep(block, 0x70), len(block) + sum(link[2] for link in links)

    def pieces(self, tree: dict[str, Any]) -> Iterator[Piece]:
        """Cut one file."""
        for piece in self.cutter(content(tree["content"])):
            yield piece, len(piece) > 128

    def archive(self, tree: dict[str, Any]) -> bytes:
        """Build the archive; return its root."""
        return self.file([(string(b"nix-archive-1"), False), *self.nar(tree)], False)[0]

    def nar(self, tree: dict[str, Any]) -> Iterator[Piece]:
        """Give a node of the NAR as pieces."""
        if tree["type"] == "file":
            size = len(content(tree["content"]))
            mark = words("executable", "") if tree.get("executable") else b""
            head = words("(", "type", "regular") + mark + words("contents")
            yield head + size.to_bytes(8, "little"), False
            yield from self.pieces(tree)
            yield bytes(-size % 8) + words(")"), False
        elif tree["type"] == "symlink":
            yield words("(", "type", "symlink", "target", tree["target"], ")"), False
        else:
            yield words("(", "type", "directory"), False
            for name, below in entries(tree):
                yield words("entry", "(", "name") + string(name) + words("node"), False
                yield from self.nar(below)
                yield words(")"), False
            yield words(")"), False


def entries(tree: dict[str, Any]) -> list[tuple[bytes, dict[str, Any]]]:
    """Return the entries of a directory, sorted by name as bytes."""
    if tree["type"] == "many":
        return [(f"{tree['prefix']}{at:05}".encode(), tree["each"]) for at in range(tree["count"])]
    return sorted((name.encode(), below) for name, below in tree["entries"].items())


def hashed(name: bytes) -> int:
    """Return the first 64 bits of MurmurHash3 x64_128."""
    return mmh3.hash64(name, 0, signed=False)[0]


def string(data: bytes) -> bytes:
    """Write a string of a NAR."""
    return len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8)


def words(*texts: str) -> bytes:
    """Write strings of a NAR."""
    return b"".join(string(text.encode()) for text in texts)
