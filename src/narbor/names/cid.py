"""Content identifiers (CIDs), as plain bytes.

A `Cid` is the binary form: `01 <codec varint> <multihash>`. narbor makes only CIDv1 with sha2-256,
and identity CIDs of at most 128 bytes for content that is written into the CID itself (IPIP-512).
CIDv0 texts (`Qm...`) are read and turned into their CIDv1, dag-pb.
Bytes, not a class: millions pass through, and as dictionary keys and database keys they are free.
"""

from hashlib import sha256
from typing import Final, NewType

from narbor.errors import Rejected
from narbor.names import base32

Cid = NewType("Cid", bytes)

RAW: Final = 0x55
DAG_PB: Final = 0x70
DAG_CBOR: Final = 0x71
LIBP2P_KEY: Final = 0x72
DAG_JSON: Final = 0x0129
CBOR: Final = 0x51
JSON: Final = 0x0200
SHA256: Final = 0x12
IDENTITY: Final = 0x00
LONGEST_INLINE: Final = 128

_RAW_HEAD: Final = bytes([1, RAW, SHA256, 32])
_NODE_HEAD: Final = bytes([1, DAG_PB, SHA256, 32])
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class MalformedCid(Rejected):
    """Bytes or a text are no CID that this house reads."""


def raw(data: bytes | memoryview) -> Cid:
    """Return the CID of a raw block, that is of a leaf."""
    return Cid(_RAW_HEAD + sha256(data).digest())


def node(data: bytes) -> Cid:
    """Return the CID of a dag-pb block."""
    return Cid(_NODE_HEAD + sha256(data).digest())


def inline(data: bytes, codec: int = RAW) -> Cid:
    """Return the identity CID that holds `data` itself; at most 128 bytes, `codec` below 128."""
    size = len(data)
    if size < LONGEST_INLINE:
        return Cid(bytes((1, codec, IDENTITY, size)) + data)
    if size > LONGEST_INLINE:
        raise MalformedCid(f"{size} bytes are too many to stand in a CID")
    return Cid(bytes((1, codec, IDENTITY)) + varint(size) + data)


def inlined(cid: Cid) -> bytes | None:
    """Return the content that stands in an identity CID; None for any other CID."""
    if cid[2] != IDENTITY or cid[1] > 127:
        return None
    # A Cid was checked when it was made: the rest is its length, one byte below 128, and content.
    return cid[4:] if cid[3] < 128 else cid[5:]


def codec(cid: Cid) -> int:
    """Return the multicodec number of the content."""
    return cid[1] if cid[1] < 128 else read_varint(cid, 1)[0]


def matches(cid: Cid, data: bytes | memoryview) -> bool:
    """Tell whether `data` is what `cid` names; False for hash functions this house lacks."""
    _, start = read_varint(cid, 1)
    function, start = read_varint(cid, start)
    _, start = read_varint(cid, start)
    if function == SHA256:
        return sha256(data).digest() == cid[start:]
    return function == IDENTITY and cid[start:] == data


def text(cid: Cid) -> str:
    """Spell the CID as IPFS does by default: multibase `b`, base 32."""
    return "b" + base32.rfc4648(cid)


def parse(spelling: str) -> Cid:
    """Read `b...` (base 32) or `Qm...` (CIDv0, given back as CIDv1); raises MalformedCid."""
    if len(spelling) == 46 and spelling.startswith("Qm"):
        number = 0
        for letter in spelling:
            value = _BASE58.find(letter)
            if value < 0:
                raise MalformedCid(f"{spelling!r} is no base 58")
            number = number * 58 + value
        return check(bytes([1, DAG_PB]) + number.to_bytes(34, "big"))
    if not spelling.startswith("b"):
        raise MalformedCid(f"{spelling!r} is no CID that is read here (b..., Qm...)")
    try:
        return check(base32.parse_rfc4648(spelling[1:]))
    except base32.MalformedBase32 as error:
        raise MalformedCid(str(error)) from error


def check(data: bytes) -> Cid:
    """Return `data` as a Cid if it is exactly one well-formed CIDv1; raises MalformedCid."""
    cid, end = read(data, 0)
    if end != len(data):
        raise MalformedCid(f"{data.hex()} has {len(data) - end} bytes behind the CID")
    return cid


def read(data: bytes, start: int) -> tuple[Cid, int]:
    """Read the CIDv1 or CIDv0 that begins at `start`; return it and where it ends."""
    if data[start : start + 2] == b"\x12\x20" and len(data) >= start + 34:
        return Cid(bytes([1, DAG_PB]) + data[start : start + 34]), start + 34
    version, at = read_varint(data, start)
    if version != 1:
        raise MalformedCid(f"CID version {version} is not known")
    _, at = read_varint(data, at)
    function, at = read_varint(data, at)
    size, at = read_varint(data, at)
    if function == IDENTITY and size > LONGEST_INLINE:
        raise MalformedCid(f"an identity CID of {size} bytes: more than {LONGEST_INLINE}")
    if function == SHA256 and size != 32:
        raise MalformedCid(f"a sha2-256 of {size} bytes")
    if size > 128 or at + size > len(data):
        raise MalformedCid(f"a multihash of {size} bytes in {len(data) - at}")
    return Cid(bytes(data[start : at + size])), at + size


def varint(number: int) -> bytes:
    """Write an unsigned LEB128 number (multiformats: unsigned-varint)."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, start: int) -> tuple[int, int]:
    """Read a minimal unsigned varint of at most 9 bytes at `start`; return it and its end."""
    number = shift = 0
    for at in range(start, min(start + 9, len(data))):
        byte = data[at]
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            if byte == 0 and at > start:
                raise MalformedCid("a varint that is longer than it need be")
            return number, at + 1
    raise MalformedCid("a varint that does not end")
