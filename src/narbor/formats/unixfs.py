"""UnixFS: what a dag-pb node says of itself, and so how leaves make files, and files directories.

    Type = 1, Data = 2, filesize = 3, blocksizes = 4 (repeated, unpacked), hashType = 5, fanout = 6,
    mode = 7, mtime = 8 {Seconds = 1, nanos = 2 as fixed32}

Written as Kubo writes it, byte for byte, fields ascending. Read in any order; fields that are not
known, or stand twice though they may not, are refused. A block that came from elsewhere is never
parsed and written again: its CID would change.

Specification: https://specs.ipfs.tech/unixfs/
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Final

from narbor.formats import dagpb
from narbor.formats.dagpb import Link, MalformedNode, link_at, read_number, split, write_number
from narbor.names import cid as cids
from narbor.names.cid import Cid

__all__ = [
    "DIRECTORY",
    "FILE",
    "HAMT_SHARD",
    "METADATA",
    "RAW",
    "SYMLINK",
    "Child",
    "Link",
    "MalformedNode",
    "Node",
    "Unixfs",
    "directory_node",
    "encode",
    "file_links",
    "file_node",
    "leaf_node",
    "parse",
    "symlink_node",
]

RAW: Final = 0
DIRECTORY: Final = 1
FILE: Final = 2
METADATA: Final = 3
SYMLINK: Final = 4
HAMT_SHARD: Final = 5

# A File node as it is written here: its message, and the first eight bytes of the links to leaves,
# by the length of their size's number, and to inline pieces, by their size. (From 118 bytes on a
# link's length takes two bytes: those are read the general way.)
_FILE_HEAD: Final = b"\x08\x02\x18"
_NUMBER: Final = rb"(?:[\x80-\xff]{1,8}[\x01-\x7f]|[\0-\x7f])"
_SMALL: Final = rb"(?:[\x80-\xff]{1,3}[\x01-\x7f]|[\0-\x7f])"
_SMALL_SIZE: Final = re.compile(b"\x20(" + _SMALL + b")")
_SMALL_SIZES: Final = re.compile(b"(?:\x20" + _SMALL + b")++")
_FILE_MESSAGE: Final = re.compile(
    _FILE_HEAD + b"(" + _NUMBER + b")((?:\x20" + _SMALL + b")*+)(?:\x38" + _SMALL + b")?"
)
_LEAF_LINKS: Final = [
    bytes([0x12, 41 + length, 0x0A, 36, 1, cids.RAW, cids.SHA256, 32]) for length in range(5)
]


def _before_inline(size: int) -> tuple[bytes, int]:
    """Return what stands before `size` bytes in the link that holds them; where its CID begins."""
    head = bytes((1, cids.RAW, cids.IDENTITY)) + cids.varint(size)
    hash = b"\x0a" + cids.varint(len(head) + size)
    length = len(hash) + len(head) + size + len(b"\x12\0\x18") + len(cids.varint(size))
    start = b"\x12" + cids.varint(length) + hash
    return start + head, len(start)


_INLINE_LINKS: Final = [_before_inline(size) for size in range(cids.LONGEST_INLINE + 1)]


@dataclass(frozen=True, slots=True)
class Unixfs:
    """The UnixFS message of a node; None is what is not written, never zero or empty.

    `mtime` is seconds since 1970 and nanoseconds. `data` is the content of a file that has no
    links, the target of a symlink, or the bitfield of a HAMT shard.
    """

    kind: int
    data: bytes | None = None
    filesize: int | None = None
    blocksizes: tuple[int, ...] = ()
    hash_type: int | None = None
    fanout: int | None = None
    mode: int | None = None
    mtime: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A dag-pb node: its links in the order they stand, and what its Data says."""

    links: tuple[Link, ...]
    data: Unixfs | None


Child = tuple[Cid, int, int]
"""A part of a file: its CID, its tsize, and how many bytes of the file it stands for."""

_link = partial(tuple.__new__, Link)
_little = partial(int.from_bytes, byteorder="little")


def parse(block: bytes) -> Node:
    """Read a dag-pb block; raises MalformedNode and nothing else.

    A link without Name or Tsize has the empty name and zero.
    """
    try:
        links, tsizes, names, data = split(block)
        return Node(
            tuple(map(_link, zip(links, tsizes, names, strict=True))),
            None if data is None else _unixfs(data),
        )
    except IndexError:
        raise MalformedNode(f"a node that ends too early, at byte {len(block)}") from None


def file_links(block: bytes) -> list[tuple[Cid, int]]:
    """Return the parts of a file that a File node lists: each CID with its bytes of the file.

    Raises MalformedNode, also for a node that holds content of its own, whose sizes are not as
    many as its links, or do not add up to its filesize.
    """
    try:
        links = _foreseen(block)
        return _checked_links(block) if links is None else links
    except IndexError:
        raise MalformedNode(f"a node that ends too early, at byte {len(block)}") from None


def _checked_links(block: bytes) -> list[tuple[Cid, int]]:
    """Read a File node whatever its form; IndexError when it ends too early."""
    links, _, _, data = split(block)
    if data is None:
        raise MalformedNode("a node without Data is no file")
    file = _unixfs(data)
    if file.kind != FILE:
        raise MalformedNode(f"a node of type {file.kind} is no file ({FILE})")
    if file.data:
        raise MalformedNode(f"a file node that holds {len(file.data)} bytes itself")
    sizes = file.blocksizes
    if len(sizes) != len(links):
        raise MalformedNode(f"{len(links)} links, but {len(sizes)} sizes")
    if file.filesize != sum(sizes):
        raise MalformedNode(f"a file of {file.filesize} bytes in parts of {sum(sizes)}")
    return list(zip(links, sizes, strict=True))


def _foreseen(block: bytes) -> list[tuple[Cid, int]] | None:
    """Read a File node that stands as it is written here; None for any other.

    The hot path of serving. The sizes are read first: they foretell every byte of a link to a leaf
    but the hash or the content in its CID, so that two comparisons check a link.
    """
    start = block.rfind(_FILE_HEAD)
    message = _FILE_MESSAGE.fullmatch(block, start) if start >= 0 else None
    if message is None or len(block) > dagpb.LARGEST_BLOCK:
        return None
    encoded = _SMALL_SIZE.findall(block, *message.span(2))
    sizes = _numbers(encoded)
    if sum(sizes) != read_number(block, message.start(1))[0]:
        return None
    links: list[Cid] = []
    at, starts = 0, block.startswith
    for size, number in zip(sizes, encoded, strict=True):
        if size <= cids.LONGEST_INLINE and starts((before := _INLINE_LINKS[size])[0], at):
            begin, at = at + before[1], at + len(before[0]) + size
        elif starts(_LEAF_LINKS[len(number)], at):
            begin, at = at + 4, at + 40
        elif block[at] == 0x12:
            cid, _, _, at = link_at(block, at)
            links.append(cid)
            continue
        else:
            return None
        if not starts(b"\x12\0\x18" + number, at):
            return None
        links.append(Cid(block[begin:at]))
        at += 3 + len(number)
    if block[at:start] != b"\x0a" + cids.varint(len(block) - start):
        return None
    return list(zip(links, sizes, strict=True))


def encode(links: Iterable[Link], unixfs: Unixfs | None) -> bytes:
    """Write a node with `links` as they stand, and what `unixfs` says."""
    return dagpb.encode(links, None if unixfs is None else _message(unixfs))


def file_node(children: Sequence[Child], mode: int | None = None) -> bytes:
    """Write the node of a file that is made of `children`, in order."""
    sizes = tuple(filesize for _, _, filesize in children)
    return encode(
        [Link(cid, tsize, b"") for cid, tsize, _ in children],
        Unixfs(FILE, None, sum(sizes), sizes, mode=mode),
    )


def leaf_node(data: bytes, mode: int | None = None) -> bytes:
    """Write a file node that holds its whole content; of an empty file no Data is written."""
    return encode((), Unixfs(FILE, data or None, len(data), mode=mode))


def symlink_node(target: bytes) -> bytes:
    """Write a symlink."""
    return encode((), Unixfs(SYMLINK, target))


def directory_node(entries: Iterable[Link]) -> bytes:
    """Write a basic directory, with its entries sorted by name."""
    return encode(sorted(entries, key=attrgetter("name")), Unixfs(DIRECTORY))


def _message(unixfs: Unixfs) -> bytes:
    """Write the UnixFS message, fields ascending."""
    out = [b"\x08" + write_number(unixfs.kind)]
    if unixfs.data is not None:
        out += (b"\x12", write_number(len(unixfs.data)), unixfs.data)
    if unixfs.filesize is not None:
        out.append(b"\x18" + write_number(unixfs.filesize))
    out += [b"\x20" + write_number(size) for size in unixfs.blocksizes]
    if unixfs.hash_type is not None:
        out.append(b"\x28" + write_number(unixfs.hash_type))
    if unixfs.fanout is not None:
        out.append(b"\x30" + write_number(unixfs.fanout))
    if unixfs.mode is not None:
        out.append(b"\x38" + write_number(unixfs.mode))
    if unixfs.mtime is not None:
        seconds, nanos = unixfs.mtime
        time = b"\x08" + write_number(seconds % (1 << 64))
        if nanos:
            time += b"\x15" + nanos.to_bytes(4, "little")
        out += (b"\x42", write_number(len(time)), time)
    return b"".join(out)


def _unixfs(data: bytes) -> Unixfs:
    """Read a UnixFS message; IndexError when it ends too early."""
    fields: dict[int, int] = {}
    sizes: list[int] = []
    content: bytes | None = None
    mtime: tuple[int, int] | None = None
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        if tag == 0x20 and (run := _SMALL_SIZES.match(data, at)):
            sizes += _numbers(_SMALL_SIZE.findall(data, at, run.end()))
            at = run.end()
            continue
        number, at = read_number(data, at + 1)
        if tag == 0x20:
            sizes.append(number)
        elif tag in (0x08, 0x18, 0x28, 0x30, 0x38) and tag not in fields:
            fields[tag] = number
        elif tag == 0x12 and content is None:
            content, at = data[at : at + number], at + number
        elif tag == 0x42 and mtime is None:
            mtime, at = _mtime(data[at : at + number]), at + number
        else:
            raise MalformedNode(f"a UnixFS field {tag:#x} that is not known or stands twice")
    if at > end:
        raise MalformedNode(f"a UnixFS message of {at} bytes in {end}")
    kind, mode = fields.get(0x08, -1), fields.get(0x38)
    if not RAW <= kind <= HAMT_SHARD:
        raise MalformedNode("a UnixFS message without a known Type")
    if mode is not None and mode >> 32:
        raise MalformedNode(f"a mode of {mode}")
    return Unixfs(
        kind,
        content,
        fields.get(0x18),
        tuple(sizes),
        fields.get(0x28),
        fields.get(0x30),
        mode,
        mtime,
    )


def _numbers(encoded: Iterable[bytes]) -> list[int]:
    """Turn varints of at most four bytes into numbers."""
    return [
        number & 0x7F | number >> 1 & 0x3F80 | number >> 2 & 0x1FC000 | number >> 3 & 0xFE00000
        for number in map(_little, encoded)
    ]


def _mtime(data: bytes) -> tuple[int, int]:
    """Read a UnixTime: signed seconds, and nanoseconds that stand only when they are not zero."""
    if not data or data[0] != 0x08:
        raise MalformedNode("an mtime without seconds")
    seconds, at = read_number(data, 1)
    if seconds >> 63:
        seconds -= 1 << 64
    if at == len(data):
        return seconds, 0
    nanos = int.from_bytes(data[at + 1 :], "little")
    if data[at] != 0x15 or len(data) != at + 5 or not 0 < nanos < 1_000_000_000:
        raise MalformedNode(f"an mtime with a fraction {data[at:].hex()}")
    return seconds, nanos
