"""lzip, one member at a time, over liblzma's raw decoder (the lzip manual, "File format").

"LZIP" 01 <coded dictionary size>  <LZMA-1 stream with end mark>  <CRC-32, data size, member size>
"""

import lzma
import struct
import zlib
from typing import Final

from narbor.errors import Rejected

_MAGIC: Final = b"LZIP\x01"
_TRAILER: Final = struct.Struct("<IQQ")
_SMALLEST_DICTIONARY: Final = 4 << 10
LARGEST_DICTIONARY: Final = 128 << 20


class CorruptLzip(Rejected):
    """Bytes are no lzip member, or are damaged."""


def dictionary_size(coded: int) -> int:
    """Read the dictionary size, in bytes, from its one-byte code; raises CorruptLzip.

    More than 128 MiB is refused, since that much memory is taken for each stream that is read.
    """
    base = 1 << (coded & 31)
    size = base - (base >> 4) * (coded >> 5)
    if not _SMALLEST_DICTIONARY <= size <= LARGEST_DICTIONARY:
        raise CorruptLzip(f"lzip: a dictionary of {size} bytes; at most {LARGEST_DICTIONARY}")
    return size


class Member:
    """A decoder of one member, with the face of `bz2.BZ2Decompressor`."""

    def __init__(self) -> None:
        self.eof = False
        self.unused_data = b""
        self._body: lzma.LZMADecompressor | None = None
        self._held = b""
        self._crc = 0
        self._size = 0
        self._length = 0

    @property
    def needs_input(self) -> bool:
        """Whether nothing can come out before more goes in."""
        return self._body is None or self._body.eof or self._body.needs_input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data`, give at most `max_length` bytes; raises CorruptLzip, lzma.LZMAError."""
        if self._body is None:
            data = self._begin(data)
        if self._body is None:
            return b""
        if self._body.eof:
            self._end(data)
            return b""
        self._length += len(data)
        out = self._body.decompress(data, max_length)
        self._crc = zlib.crc32(out, self._crc)
        self._size += len(out)
        if self._body.eof:
            rest = self._body.unused_data
            self._length -= len(rest)
            self._end(rest)
        return out

    def _begin(self, data: bytes) -> bytes:
        """Gather the six bytes of the head; return what lies behind it."""
        self._held += data
        head = self._held[:6]
        if not _MAGIC.startswith(head[:5]):
            raise CorruptLzip(f"lzip: {head.hex()} is not how a member begins")
        if len(head) < 6:
            return b""
        size = dictionary_size(head[5])
        options = {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": 3, "lp": 0, "pb": 2}
        self._body = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])
        rest, self._held = self._held[6:], b""
        return rest

    def _end(self, data: bytes) -> None:
        """Gather the trailer and compare all it says."""
        self._held += data
        if len(self._held) < _TRAILER.size:
            return
        said = _TRAILER.unpack_from(self._held)
        seen = (self._crc, self._size, self._length + 6 + _TRAILER.size)
        if said != seen:
            raise CorruptLzip(f"lzip: CRC, size and length are {seen}, the trailer says {said}")
        self.unused_data = self._held[_TRAILER.size :]
        self._held = b""
        self.eof = True
