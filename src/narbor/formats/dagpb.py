"""dag-pb: the blocks of IPFS that hold links, and data of which they know nothing.

    PBNode   Links = 2 (repeated PBLink), Data = 1
    PBLink   Hash = 1 (a binary CID), Name = 2, Tsize = 3 (bytes of all blocks below)

What is written is what Kubo writes, byte for byte: Links before Data though its number is higher,
and a Name in every link, also an empty one. What is read may have Links and Data in either order;
all else that the encoders of the field never write is refused: unknown and repeated fields,
numbers longer than need be, links whose parts are out of order.

Names are bytes here, whatever protobuf calls them: a store item may hold names that are no UTF-8.
Specification: https://ipld.io/specs/codecs/dag-pb/spec/
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from narbor.errors import Rejected
from narbor.names import cid as cids
from narbor.names.cid import Cid

LARGEST_BLOCK: Final = 2 << 20
"""Blocks past this length are refused: no IPFS peer would carry them (bitswap's limit)."""

_CHUNK_HEADS: Final = frozenset(
    [bytes([1, codec, cids.SHA256, 32]) for codec in (cids.RAW, cids.DAG_PB)]
)
_INLINE_HEAD: Final = bytes([1, cids.RAW, cids.IDENTITY])
_LONGEST_CID: Final = 160
_ONE_BYTE: Final = [bytes([number]) for number in range(128)]


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


def encode(links: Iterable[Link], data: bytes | None) -> bytes:
    """Write a node with `links` as they stand, then Data."""
    parts: list[bytes] = []
    for cid, tsize, name in links:
        below = write_number(tsize)
        named = b"\x12" + write_number(len(name)) + name if name else b"\x12\0"
        body = b"\x0a" + write_number(len(cid)) + cid + named + b"\x18" + below
        parts += (b"\x12", write_number(len(body)), body)
    if data is not None:
        parts += (b"\x0a", write_number(len(data)), data)
    return b"".join(parts)


def link_size(link: Link) -> int:
    """Return how many bytes `link` takes in a node."""
    cid, tsize, name = link
    body = _field_size(len(cid)) + _field_size(len(name)) + 1 + _number_size(tsize)
    return _field_size(body)


def _field_size(length: int) -> int:
    return 1 + _number_size(length) + length


def _number_size(number: int) -> int:
    return (number.bit_length() + 6) // 7 or 1


def split(block: bytes) -> tuple[list[Cid], list[int], list[bytes], bytes | None]:
    """Take a node apart: the three columns of its links (CID, Tsize, Name), and its Data.

    A link without Tsize or Name has zero, or the empty name. Raises MalformedNode, or IndexError
    when the block ends too early: callers have more to read, and one `try` around it all.
    """
    size = len(block)
    if size > LARGEST_BLOCK:
        raise MalformedNode(f"a node of {size} bytes: more than {LARGEST_BLOCK}")
    data, at = _data_at(block, 0)
    links, tsizes, names, at = _links_at(block, at)
    if data is None:
        data, at = _data_at(block, at)
    if at != size:
        raise MalformedNode(f"byte {at} of a node of {size} begins neither a link nor its Data")
    return links, tsizes, names, data


def _data_at(block: bytes, at: int) -> tuple[bytes | None, int]:
    """Read the Data field if it stands at `at`; return it and where it ends."""
    if at == len(block) or block[at] != 0x0A:
        return None, at
    length, at = read_number(block, at + 1)
    end = at + length
    if end > len(block):
        raise MalformedNode(f"Data of {length} bytes in {len(block) - at}")
    return block[at:end], end


def _links_at(block: bytes, at: int) -> tuple[list[Cid], list[int], list[bytes], int]:
    """Read the run of links that begins at `at`; return its three columns and where it ends."""
    links: list[Cid] = []
    tsizes: list[int] = []
    names: list[bytes] = []
    stop = len(block)
    while at < stop and block[at] == 0x12:
        cid, tsize, name, at = link_at(block, at)
        links.append(cid)
        tsizes.append(tsize)
        names.append(name)
    return links, tsizes, names, at


def link_at(block: bytes, at: int) -> tuple[Cid, int, bytes, int]:
    """Read the link whose tag stands at `at`; return its CID, Tsize, Name, and where it ends.

    Reading past the block raises IndexError or moves `at` past `end`, so that one comparison
    guards every length.
    """
    if block[at] != 0x12:
        raise MalformedNode(f"byte {at} is {block[at]:#x}, where a link should begin")
    length, at = block[at + 1], at + 2
    if length > 127:
        length, at = read_number(block, at - 1)
    end = at + length
    if block[at] != 0x0A:
        raise MalformedNode(f"a link that begins with {block[at]:#x}, not with its Hash")
    length, at = block[at + 1], at + 2
    if length > 127:
        length, at = read_number(block, at - 1)
    cid = block[at : at + length]
    if cid[:4] not in _CHUNK_HEADS or length != 36:
        cid = _cid(cid)
    at += length
    name, tsize = b"", 0
    if at < end and block[at] == 0x12:
        length, at = block[at + 1], at + 2
        if length > 127:
            length, at = read_number(block, at - 1)
        name = block[at : at + length]
        at += length
    if at < end and block[at] == 0x18:
        tsize, at = read_number(block, at + 1)
    if at != end or end > len(block):
        raise MalformedNode(f"a link that should end at byte {end}, but ends at {at}")
    return Cid(cid), tsize, name, at


def _cid(data: bytes) -> Cid:
    """Check a CID that is not one of the two common kinds."""
    if data[:3] == _INLINE_HEAD and len(data) < 132 and data[3] == len(data) - 4:
        return Cid(data)
    if len(data) > _LONGEST_CID:
        raise MalformedNode(f"a link to what is no CID: it has {len(data)} bytes")
    try:
        return cids.check(data)
    except cids.MalformedCid as error:
        raise MalformedNode(f"a link to what is no CID: {error}") from error


def read_number(block: bytes, at: int) -> tuple[int, int]:
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


def write_number(number: int) -> bytes:
    """Write a number; those below 2 MiB, the common ones, without a loop."""
    if number < 1 << 7:
        return _ONE_BYTE[number]
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    if number < 1 << 21:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    return cids.varint(number)
