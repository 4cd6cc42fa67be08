"""UnixFS nodes: the dag-pb blocks that say how leaves make files, and files directories.

    PBNode   Links = 2 (repeated PBLink), Data = 1 (bytes: a UnixFS message)
    PBLink   Hash = 1 (a binary CID), Name = 2, Tsize = 3 (bytes of all blocks below)
    UnixFS   Type = 1, Data = 2, filesize = 3, blocksizes = 4 (repeated, unpacked), hashType = 5,
             fanout = 6, mode = 7, mtime = 8 {Seconds = 1, nanos = 2 as fixed32}

What is written is what Kubo writes, byte for byte: Links before Data though its number is higher,
and a Name in every link, also the empty one of a file's chunk. What is read may have Links and Data
in either order; all else that the encoders of the field never write is refused: unknown and
repeated fields, numbers longer than need be, links whose parts are out of order.
A block that came from elsewhere is never parsed and written again: its CID would change.

Names are bytes here, whatever protobuf calls them: a store item may hold names that are no UTF-8.

Specifications: https://ipld.io/specs/codecs/dag-pb/spec/, https://specs.ipfs.tech/unixfs/
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple

from narbor.errors import Rejected
from narbor.names import cid as cids
from narbor.names.cid import Cid

RAW: Final = 0
DIRECTORY: Final = 1
FILE: Final = 2
METADATA: Final = 3
SYMLINK: Final = 4
HAMT_SHARD: Final = 5

LARGEST_BLOCK: Final = 2 << 20
"""Blocks past this length are refused: no IPFS peer would carry them (bitswap's limit)."""

_CHUNK_HEADS: Final = frozenset([bytes([1, codec, cids.SHA256, 32]) for codec in (0x55, 0x70)])
_INLINE_HEAD: Final = bytes([1, cids.RAW, cids.IDENTITY])


class MalformedNode(Rejected):
    """A block is no dag-pb node with a UnixFS message, or says something impossible."""


class Link(NamedTuple):
    """A named arrow to a child; `tsize` counts the child's block and all below it.

    A named tuple, since a file of a gigabyte has thousands: it is made three times as fast as a
    frozen dataclass.
    """

    cid: Cid
    tsize: int
    name: bytes


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


def parse(block: bytes) -> Node:
    """Read a dag-pb block; raises MalformedNode and nothing else.

    A link without Name or Tsize has the empty name and zero.
    """
    try:
        links, tsizes, names, data = _split(block)
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
        links, _, _, data = _split(block)
        if data is None:
            raise MalformedNode("a node without Data is no file")
        file = _unixfs(data)
    except IndexError:
        raise MalformedNode(f"a node that ends too early, at byte {len(block)}") from None
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


def encode(links: Iterable[Link], unixfs: Unixfs | None) -> bytes:
    """Write a node with `links` as they stand, then Data."""
    parts: list[bytes] = []
    varint = cids.varint
    for cid, tsize, name in links:
        link = b"\x0a%b%b\x12%b%b\x18%b" % (
            varint(len(cid)), cid, varint(len(name)), name, varint(tsize),
        )  # fmt: skip
        parts.append(b"\x12%b%b" % (varint(len(link)), link))
    if unixfs is not None:
        data = _message(unixfs)
        parts.append(b"\x0a" + varint(len(data)) + data)
    return b"".join(parts)


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


def link_size(link: Link) -> int:
    """Return how many bytes `link` takes in a node."""
    cid, tsize, name = link
    body = _field_size(len(cid)) + _field_size(len(name)) + 1 + _varint_size(tsize)
    return _field_size(body)


def _field_size(length: int) -> int:
    return 1 + _varint_size(length) + length


def _varint_size(number: int) -> int:
    return (number.bit_length() + 6) // 7 or 1


def _message(unixfs: Unixfs) -> bytes:
    """Write the UnixFS message, fields ascending."""
    varint = cids.varint
    out = [b"\x08" + varint(unixfs.kind)]
    if unixfs.data is not None:
        out += (b"\x12", varint(len(unixfs.data)), unixfs.data)
    if unixfs.filesize is not None:
        out.append(b"\x18" + varint(unixfs.filesize))
    out += [b"\x20" + varint(size) for size in unixfs.blocksizes]
    if unixfs.hash_type is not None:
        out.append(b"\x28" + varint(unixfs.hash_type))
    if unixfs.fanout is not None:
        out.append(b"\x30" + varint(unixfs.fanout))
    if unixfs.mode is not None:
        out.append(b"\x38" + varint(unixfs.mode))
    if unixfs.mtime is not None:
        seconds, nanos = unixfs.mtime
        time = b"\x08" + varint(seconds % (1 << 64))
        if nanos:
            time += b"\x15" + nanos.to_bytes(4, "little")
        out += (b"\x42", varint(len(time)), time)
    return b"".join(out)


def _split(block: bytes) -> tuple[list[Cid], list[int], list[bytes], bytes | None]:
    """Take a node apart: the three columns of its links, and its Data."""
    size = len(block)
    if size > LARGEST_BLOCK:
        raise MalformedNode(f"a node of {size} bytes: more than {LARGEST_BLOCK}")
    data, at = _data(block, 0)
    links, tsizes, names, at = _links(block, at)
    if data is None:
        data, at = _data(block, at)
    if at != size:
        raise MalformedNode(f"byte {at} of a node of {size} begins neither a link nor its Data")
    return links, tsizes, names, data


def _data(block: bytes, at: int) -> tuple[bytes | None, int]:
    """Read the Data field if it stands at `at`; return it and where it ends."""
    if at == len(block) or block[at] != 0x0A:
        return None, at
    length, at = _varint(block, at + 1)
    end = at + length
    if end > len(block):
        raise MalformedNode(f"Data of {length} bytes in {len(block) - at}")
    return block[at:end], end


def _links(block: bytes, at: int) -> tuple[list[Cid], list[int], list[bytes], int]:
    """Read the run of links that begins at `at`; return its three columns and where it ends.

    The loop is the hot path of serving. Reading past the block raises IndexError or moves `at`
    past `end`, so that one comparison a link guards every length.
    """
    links: list[Cid] = []
    tsizes: list[int] = []
    names: list[bytes] = []
    stop = len(block)
    while at < stop and block[at] == 0x12:
        length, at = block[at + 1], at + 2
        if length > 127:
            length, at = _varint(block, at - 1)
        end = at + length
        if block[at] != 0x0A:
            raise MalformedNode(f"a link that begins with {block[at]:#x}, not with its Hash")
        length, at = block[at + 1], at + 2
        if length > 127:
            length, at = _varint(block, at - 1)
        cid = block[at : at + length]
        if cid[:4] not in _CHUNK_HEADS or length != 36:
            cid = _cid(cid)
        at += length
        name, tsize = b"", 0
        if at < end and block[at] == 0x12:
            length, at = _varint(block, at + 1)
            name = block[at : at + length]
            at += length
        if at < end and block[at] == 0x18:
            tsize, at = _varint(block, at + 1)
        if at != end or end > stop:
            raise MalformedNode(f"a link that should end at byte {end}, but ends at {at}")
        links.append(Cid(cid))
        tsizes.append(tsize)
        names.append(name)
    return links, tsizes, names, at


def _cid(data: bytes) -> Cid:
    """Check a CID that is not one of the two common kinds."""
    if data[:3] == _INLINE_HEAD and len(data) < 132 and data[3] == len(data) - 4:
        return Cid(data)
    try:
        return cids.check(data)
    except cids.MalformedCid as error:
        raise MalformedNode(f"a link to what is no CID: {error}") from error


def _varint(block: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned number of at most 64 bits at `at`; return it and where it ends."""
    byte = block[at]
    if byte < 128:
        return byte, at + 1
    number, shift = byte & 127, 7
    for end in range(at + 1, at + 10):
        byte = block[end]
        number |= (byte & 127) << shift
        if byte < 128:
            if byte == 0 or number >> 64:
                break
            return number, end + 1
        shift += 7
    raise MalformedNode(f"byte {at} begins no number of 64 bits")


def _unixfs(data: bytes) -> Unixfs:
    """Read a UnixFS message; IndexError when it ends too early."""
    fields: dict[int, int] = {}
    sizes: list[int] = []
    content: bytes | None = None
    mtime: tuple[int, int] | None = None
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        number, at = _varint(data, at + 1)
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


def _mtime(data: bytes) -> tuple[int, int]:
    """Read a UnixTime: signed seconds, and nanoseconds that stand only when they are not zero."""
    if not data or data[0] != 0x08:
        raise MalformedNode("an mtime without seconds")
    seconds, at = _varint(data, 1)
    if seconds >> 63:
        seconds -= 1 << 64
    if at == len(data):
        return seconds, 0
    nanos = int.from_bytes(data[at + 1 :], "little")
    if data[at] != 0x15 or len(data) != at + 5 or not 0 < nanos < 1_000_000_000:
        raise MalformedNode(f"an mtime with a fraction {data[at:].hex()}")
    return seconds, nanos
