"""Splices: a byte string given as inline bytes and leaves, which never copies what it points at.

A splice knows its size before a byte is read, and is itself a UnixFS file: `link` writes it as
one, `pieces` reads any byte range of it back.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from narbor.formats import layout, unixfs
from narbor.names import cid
from narbor.names.cid import Cid

Get = Callable[[Cid], bytes]
Put = Callable[[bytes], Cid]


class Leaf(NamedTuple):
    """A stretch of content that is kept as a block of its own, whole.

    A named tuple: one is made for each leaf that is read or written.
    """

    cid: Cid
    size: int


Piece = bytes | Leaf


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of a splice of which a range takes the bytes [start, stop)."""

    piece: Piece
    start: int
    stop: int


def merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Join neighbouring inline bytes."""
    held: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            held.append(piece)
            continue
        if held:
            yield b"".join(held)
            held.clear()
        yield piece
    if held:
        yield b"".join(held)


def links(pieces: Iterable[Piece]) -> Iterator[tuple[Cid, int, int]]:
    """Give a merged splice as links of a UnixFS file: (CID, cumulative size, file bytes) each.

    Inline bytes are split into identity CIDs of 128 bytes, the last one shorter; the split starts
    anew behind each leaf.
    """
    longest = cid.LONGEST_INLINE
    for piece in pieces:
        if isinstance(piece, Leaf):
            yield piece.cid, piece.size, piece.size
        else:
            for at in range(0, len(piece), longest):
                part = piece[at : at + longest]
                yield cid.inline(part), len(part), len(part)


def link(pieces: Iterable[Piece], put: Put, width: int) -> tuple[Cid, int, int]:
    """Write a merged splice as a UnixFS file; return root, cumulative size, bytes of the file."""
    return layout.balanced(links(pieces), put, width)


def read(root: Cid, get: Get) -> Iterator[Piece]:
    """Give the whole splice that a UnixFS file root stands for, inline bytes joined."""
    return merged(_all(root, get))


def _all(root: Cid, get: Get) -> Iterator[Piece]:
    """Give what `pieces` gives of the whole, without a thought for ranges: the hot path."""
    ahead: list[tuple[Cid, int]] = [(root, -1)]
    while ahead:
        here, size = ahead.pop()
        content = cid.inlined(here)
        if here[1] == cid.DAG_PB:
            below, data = _below(get(here) if content is None else content, here)
            if below:
                below.reverse()
                ahead += below
            elif data:
                yield data
        elif content is not None:
            yield content
        else:
            yield Leaf(here, len(get(here)) if size < 0 else size)


def pieces(root: Cid, get: Get, start: int, stop: int | None) -> Iterator[Cut]:
    """Give the pieces that hold the bytes [start, stop) of a UnixFS file, in order.

    Only the nodes on the way are read; leaves are not (but a root that is itself a leaf is, for
    its size). Raises MalformedNode for what is no file.
    """
    ahead: list[tuple[Cid, int]] = [(root, -1)]  # the next one last; the root's size is not known
    at = 0
    while ahead and (stop is None or at < stop):
        here, size = ahead.pop()
        if 0 <= size <= start - at:
            at += size
            continue
        content = cid.inlined(here)
        if here[1] == cid.DAG_PB:
            below, data = _below(get(here) if content is None else content, here)
            if below:
                below.reverse()
                ahead += below
                continue
            content = data
        piece: Piece
        if content is not None:
            piece, size = content, len(content)
        else:
            size = len(get(here)) if size < 0 else size
            piece = Leaf(here, size)
        low, high = max(start - at, 0), size if stop is None else min(stop - at, size)
        if low < high:
            yield Cut(piece, low, high)
        at += size


def _below(block: bytes, name: Cid) -> tuple[list[tuple[Cid, int]], bytes]:
    """Return the links of a file's node, or its own data."""
    try:
        return unixfs.file_links(block), b""
    except unixfs.MalformedNode as error:
        data = unixfs.parse(block).data
        if data is None or data.data is None or data.kind not in (unixfs.FILE, unixfs.RAW):
            raise unixfs.MalformedNode(f"{cid.text(name)} is no file: {error}") from error
        return [], data.data
