"""zstd frames that hold bytes as they are (RFC 8878, raw blocks).

The framing between the leaves of a rendering is written so. A compressor's output may change with
its version; these bytes never do, so what was advertised can be made again for ever.
"""

from typing import Final

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LARGEST: Final = 128 << 10


def stored(content: bytes) -> bytes:
    """Return one frame, single segment, with content size and raw blocks of at most 128 KiB."""
    size = len(content)
    if size < 256:
        head = bytes((0x20, size))
    elif size < 65536 + 256:
        head = b"\x60" + (size - 256).to_bytes(2, "little")
    else:
        head = b"\xa0" + size.to_bytes(4, "little")
    parts = [_MAGIC, head]
    for at in range(0, size, _LARGEST):
        part = content[at : at + _LARGEST]
        last = at + len(part) == size
        parts += ((len(part) << 3 | last).to_bytes(3, "little"), part)
    return b"".join(parts)


def stored_size(size: int) -> int:
    """Return how many bytes `stored` makes of `size` bytes."""
    head = 2 if size < 256 else 3 if size < 65536 + 256 else 5
    return 4 + head + size + 3 * -(-size // _LARGEST)
