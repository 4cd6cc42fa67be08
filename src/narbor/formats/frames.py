"""Packs at rest: how one block lies in a pack. See docs/formats/pack.md.

A pack is a zstd stream (RFC 8878): a skippable frame that says what it is, then for each block

    skippable frame   magic 0x184D2A5B, length; level (i8), frame length (u32), block size (u32),
                      CID, CRC-32 of all these
    zstd frame        the block, with content size and checksum

so that `zstd -d` reads any pack, and the index can be made again from the packs alone.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import zstandard

from narbor.errors import Rejected
from narbor.names import cid
from narbor.names.cid import Cid

MAGIC: Final = struct.pack("<II", 0x184D2A5A, 14) + b"narbor-pack-1\n"
_HEAD_MAGIC: Final = 0x184D2A5B
_LENGTHS: Final = struct.Struct("<IIbII")
_CRC: Final = struct.Struct("<I")
LARGEST_BLOCK: Final = 4 << 20
DEFAULT_LEVEL: Final = 3
_WORST: Final = 64  # bytes more than the block and a 256th of it


@dataclass(frozen=True, slots=True)
class Found:
    """A frame met while reading a pack: `offset` is where the zstd frame begins."""

    name: Cid
    offset: int
    length: int
    size: int
    level: int


class Packed(bytes):
    """A block that came in a frame which may be kept as it is: nobody need compress it again.

    `frame` holds the block and nothing else, `level` is what it is said to be made at.
    """

    frame: bytes
    level: int


class Codec:
    """zstd for one thread: contexts are costly to make, and not to be shared."""

    def __init__(self, level: int) -> None:
        self.level = level
        self._compressor = zstandard.ZstdCompressor(
            level=level, write_checksum=True, write_content_size=True
        )
        self._decompressor = zstandard.ZstdDecompressor()

    def compress(self, block: bytes) -> bytes:
        """Return one zstd frame with content size and checksum."""
        return self._compressor.compress(block)

    def decompress(self, frame: bytes | memoryview, size: int) -> bytes | None:
        """Return the block of `size` bytes in the frame; None if the frame is damaged."""
        try:
            block = self._decompressor.decompress(frame, max_output_size=size)
        except zstandard.ZstdError:
            return None
        return block if len(block) == size else None

    def unpack(self, frame: bytes | memoryview, size: int) -> bytes | None:
        """Return the block in a frame that a stranger gave; None unless it is exactly one frame.

        What the frame says of its size is looked at first: room is made for so much.
        """
        try:
            said = zstandard.get_frame_parameters(frame)
            if said.content_size != size or said.dict_id or said.window_size > LARGEST_BLOCK:
                return None
            block = self._decompressor.decompress(
                frame, max_output_size=size, allow_extra_data=False
            )
        except zstandard.ZstdError:
            return None
        return block if len(block) == size else None

    def keepable(self, frame: bytes | memoryview, found: "Found") -> bytes | None:
        """Return the block in a stranger's frame as `unpack` does, Packed where packs may have it.

        What lies in packs has its checksum, and is no larger than zstd makes it at worst.
        """
        block = self.unpack(frame, found.size)
        if block is None or len(frame) > found.size + (found.size >> 8) + _WORST:
            return block
        if not zstandard.get_frame_parameters(frame).has_checksum:
            return block
        packed = Packed(block)
        packed.frame, packed.level = bytes(frame), found.level
        return packed


def head_size(name: Cid) -> int:
    """Return how long the head is that stands before the frame of a block."""
    return _LENGTHS.size + len(name) + _CRC.size


def head(name: Cid, length: int, size: int, level: int) -> bytes:
    """Write what stands before a frame of `length` bytes that holds `size` bytes."""
    start = _LENGTHS.pack(_HEAD_MAGIC, 9 + len(name) + 4, level, length, size) + name
    return start + _CRC.pack(zlib.crc32(start[8:]))


def scan(data: bytes, start: int) -> Iterator[Found]:
    """Give the frames that lie whole in `data`, which begins at `start` in its pack.

    Ends where the next head does not begin, does not fit, or is torn. Frames are not decoded.
    """
    at = 0
    while (found := record(data, at, start)) is not None:
        yield found
        at = found.offset - start + found.length


def record(data: bytes, at: int, start: int = 0) -> Found | None:
    """Return the frame whose head stands at `at`, if it lies whole in `data`; None otherwise."""
    if len(data) - at < _LENGTHS.size:
        return None
    magic, room, level, length, size = _LENGTHS.unpack_from(data, at)
    end = at + 8 + room
    if magic != _HEAD_MAGIC or not 64 > room > 13 or end + length > len(data):
        return None
    (crc,) = _CRC.unpack_from(data, end - 4)
    if crc != zlib.crc32(data[at + 8 : end - 4]) or size > LARGEST_BLOCK:
        return None
    try:
        name = cid.check(data[at + 17 : end - 4])
    except Rejected:
        return None
    return Found(name, start + end, length, size, level)
