"""The outer structure of a zstd stream: where its frames and blocks end (RFC 8878, 3.1).

A block of four bytes can stand for 128 KiB, so a piece of 64 KiB of a hostile stream unpacks to
2 GiB in one call of a decoder. `batches` cuts a stream at block boundaries into runs whose output
has a known bound, and it knows whether the stream ended where a frame ends.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from narbor.errors import Rejected

LARGEST_BLOCK: Final = 128 << 10
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = b"\x2a\x4d\x18"
_BATCH: Final = 16


class CorruptFrame(Rejected):
    """Bytes are no zstd frame, or the stream ends in the middle of one."""


class _Source:
    """Chunks as something to take exact lengths from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""
        self._at = 0

    def ended(self) -> bool:
        """Tell whether nothing is left."""
        while self._at >= len(self._held):
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._held, self._at = chunk, 0
        return False

    def take(self, length: int) -> bytes:
        """Give exactly `length` bytes; raises CorruptFrame when there are fewer."""
        end = self._at + length
        if end <= len(self._held):
            out = self._held[self._at : end]
            self._at = end
            return out
        parts = []
        for part in self.pieces(length):
            parts.append(part)
        return b"".join(parts)

    def pieces(self, length: int) -> Iterator[bytes]:
        """Give exactly `length` bytes as they lie, in pieces; raises CorruptFrame likewise."""
        while length:
            if self.ended():
                raise CorruptFrame("zstd: the stream ends in the middle of a frame")
            part = self._held[self._at : self._at + length]
            self._at += len(part)
            length -= len(part)
            yield part


def batches(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the stream again, less its skippable frames, in runs of whole blocks.

    What one run stands for is at most 2 MiB. Raises CorruptFrame for a stream that is empty, ends
    early, has bytes behind its last frame, or blocks larger than the format allows.
    """
    source = _Source(chunks)
    if source.ended():
        raise CorruptFrame("zstd: the stream is empty")
    run = bytearray()
    count = 0
    while not source.ended():
        magic = source.take(4)
        if magic[1:] == _SKIPPABLE and magic[0] >> 4 == 5:
            for _ in source.pieces(int.from_bytes(source.take(4), "little")):
                pass
            continue
        if magic != _MAGIC:
            raise CorruptFrame(f"zstd: {magic.hex()} is not how a frame begins")
        checksum, rest = _header(source)
        run += magic + rest
        last = False
        while not last:
            last, block = _block(source)
            run += block
            if last and checksum:
                run += source.take(4)
            count += 1
            if count == _BATCH:
                yield bytes(run)
                run.clear()
                count = 0
    if run:
        yield bytes(run)


def _header(source: _Source) -> tuple[bool, bytes]:
    """Take the frame header behind the magic; tell whether a checksum ends the frame."""
    first = source.take(1)
    descriptor = first[0]
    single = bool(descriptor & 0x20)
    content = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    length = (not single) + (0, 1, 2, 4)[descriptor & 3] + content
    return bool(descriptor & 4), first + source.take(length)


def _block(source: _Source) -> tuple[bool, bytes]:
    """Take one block with its header; tell whether it is its frame's last."""
    head = source.take(3)
    value = int.from_bytes(head, "little")
    kind, size = value >> 1 & 3, value >> 3
    if kind == 3 or size > LARGEST_BLOCK:
        raise CorruptFrame(f"zstd: a block of kind {kind} and {size} bytes")
    return bool(value & 1), head + source.take(1 if kind == 1 else size)
