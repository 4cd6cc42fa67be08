"""CAR: blocks in a row, each behind its CID.

    version 1   varint, DAG-CBOR {"roots": [CID...], "version": 1}, then for each block
                varint, CID, block       (the number counts CID and block)
    version 2   11 bytes that begin a version 2, 40 bytes of header (16 of characteristics, then
                offset and size of the data, offset of the index, little-endian), and somewhere
                behind it a whole version 1; an index may follow, which is not read

Written is version 1. Whatever is read, each block is checked against its CID before it is given.
The roots need not be in the file, blocks may repeat and stand in any order.
Specification: https://ipld.io/specs/transport/car/
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from narbor.errors import Rejected
from narbor.formats import dagcbor, dagpb
from narbor.formats.dagcbor import Link
from narbor.names import cid, cidtext
from narbor.names.cid import Cid, MalformedCid

LONGEST_HEADER: Final = 1 << 20
LARGEST_BLOCK: Final = dagpb.LARGEST_BLOCK
_LONGEST_CID: Final = 160
_PRAGMA: Final = bytes.fromhex("0aa16776657273696f6e02")
_HEADER_2: Final = 40


class MalformedCar(Rejected):
    """Bytes are no CAR, or a block in it is not what its CID says."""


class Block(NamedTuple):
    """A block of a CAR. `written` is its CID as it stands there, of version 0 or 1."""

    cid: Cid
    data: bytes
    written: bytes


class Car(NamedTuple):
    """A CAR that is being read: its roots as they stand, and its blocks, still to come."""

    roots: tuple[bytes, ...]
    blocks: Iterator[Block]


def header(roots: Iterable[bytes]) -> bytes:
    """Write the header of a version 1."""
    block = dagcbor.encode({"roots": [Link(root) for root in roots], "version": 1})
    return cid.varint(len(block)) + block


def write(roots: Iterable[bytes], blocks: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Write a CAR of version 1 with these (CID, block) pairs; pieces are not joined.

    Identity CIDs are left out: who has the link has the content.
    """
    yield header(roots)
    for name, block in blocks:
        if name[2] == cid.IDENTITY and name[0] == 1:
            continue
        yield cid.varint(len(name) + len(block)) + name
        yield block


def size(roots: Sequence[bytes], blocks: Iterable[tuple[bytes, int]]) -> int:
    """Return how many bytes `write` would give for these CIDs and sizes of blocks."""
    total = len(header(roots))
    for name, length in blocks:
        if name[2] != cid.IDENTITY or name[0] != 1:
            section = len(name) + length
            total += len(cid.varint(section)) + section
    return total


def read(
    chunks: Iterable[bytes],
    largest: int = LARGEST_BLOCK,
    refuse: Callable[[MalformedCar], None] | None = None,
) -> Car:
    """Read a CAR of either version; blocks over `largest` bytes are refused.

    The header is read at once; MalformedCar may be raised now, and with any block. With `refuse`, a
    block that is not what its CID says is told to it and passed over, and reading goes on.
    """
    source = _Source(iter(chunks))
    start = source.peek(len(_PRAGMA))
    if start == _PRAGMA:
        source.open_second()
    length = source.varint("the header")
    if length is None:
        raise MalformedCar("a CAR without a header")
    if length > LONGEST_HEADER:
        raise MalformedCar(f"a header of {length} bytes: more than {LONGEST_HEADER}")
    return Car(_roots(source.take(length, "the header")), _blocks(source, largest, refuse))


def _roots(block: bytes) -> tuple[bytes, ...]:
    try:
        said = dagcbor.decode(block, strict=False)
    except dagcbor.MalformedCbor as error:
        raise MalformedCar(f"a header that cannot be read: {error}") from error
    if not isinstance(said, dict) or said.get("version") != 1:
        raise MalformedCar("a header that does not say version 1")
    roots = said.get("roots")
    if not isinstance(roots, list):
        raise MalformedCar("a header without roots")
    found = []
    for root in roots:
        if not isinstance(root, Link):
            raise MalformedCar("a header with a root that is no CID")
        found.append(root.cid)
    return tuple(found)


def _blocks(
    source: "_Source", largest: int, refuse: Callable[[MalformedCar], None] | None
) -> Iterator[Block]:
    while (length := source.varint("a block")) is not None:
        if not 0 < length <= largest + _LONGEST_CID:
            raise MalformedCar(f"a section of {length} bytes at byte {source.at}")
        section = source.take(length, "a block")
        try:
            block = _block(section, largest, source.at)
        except MalformedCar as error:
            if refuse is None:
                raise
            refuse(error)
        else:
            yield block


def _block(section: bytes, largest: int, at: int) -> Block:
    try:
        name, end = cid.read(section[:_LONGEST_CID], 0)
    except (MalformedCid, IndexError) as error:
        raise MalformedCar(f"what begins before byte {at} is no CID: {error}") from error
    data = section[end:]
    if len(data) > largest:
        raise MalformedCar(f"{cidtext.text(section[:end])}: {len(data)} bytes, over {largest}")
    if not cid.matches(name, data):
        # So it is too for a hash function this house lacks: what cannot be checked is not had.
        raise MalformedCar(f"{cidtext.text(section[:end])} is not known to name these bytes")
    return Block(name, data, section[:end])


class _Source:
    """Bytes from chunks, taken by number. `at` counts those that were taken."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._start = 0
        self._stop: int | None = None
        self.at = 0

    def open_second(self) -> None:
        """Go to the version 1 that stands in a version 2, and to no byte behind it."""
        self.take(len(_PRAGMA), "the pragma")
        fields = self.take(_HEADER_2, "the header of version 2")
        begin = int.from_bytes(fields[16:24], "little")
        length = int.from_bytes(fields[24:32], "little")
        if begin < self.at or length == 0 or begin + length >> 63:
            raise MalformedCar(f"a version 2 with its data at byte {begin}, {length} long")
        self._skip(begin - self.at)
        self._stop = begin + length

    def peek(self, count: int) -> bytes:
        """Return up to `count` bytes that come next, and leave them there."""
        self._fill(count)
        return self._held[self._start : self._start + count]

    def take(self, count: int, what: str) -> bytes:
        """Return the next `count` bytes; raises MalformedCar where there are fewer."""
        if self._stop is not None and self.at + count > self._stop:
            raise MalformedCar(f"a CAR whose data ends in the midst of {what}")
        if self._fill(count) < count:
            raise MalformedCar(f"a CAR that ends in the midst of {what}, after byte {self.at}")
        piece = self._held[self._start : self._start + count]
        self._start += count
        self.at += count
        return piece

    def varint(self, what: str) -> int | None:
        """Read a number; None at the end of the data."""
        if self.at == self._stop:
            return None
        some = self.peek(9)
        if not some:
            if self._stop is not None:
                raise MalformedCar(f"a CAR that ends before its data does, after byte {self.at}")
            return None
        try:
            number, length = cid.read_varint(some, 0)
        except MalformedCid as error:
            raise MalformedCar(f"the length of {what} at byte {self.at}: {error}") from error
        self.take(length, what)
        return number

    def _fill(self, count: int) -> int:
        """Have `count` bytes at hand, if there are so many; return how many are."""
        here = len(self._held) - self._start
        if here < count:
            parts = [self._held[self._start :]]
            for chunk in self._chunks:
                parts.append(chunk)
                here += len(chunk)
                if here >= count:
                    break
            self._held, self._start = b"".join(parts), 0
        return here

    def _skip(self, count: int) -> None:
        while count:
            count -= len(self.take(min(count, 1 << 16), "the space before its data"))
