"""Bytes into compressed streams: what `streams.decompress` reads again.

zstd is not here: narbor's own is laid together from frames (`zstdframe.py`), and never changes.
The bytes of an xz stream may differ between versions of the library that makes it, so whoever
advertises them keeps the file.
"""

import lzma
from collections.abc import Iterable, Iterator
from typing import Final

DEFAULT: Final = 6
LEVELS: Final = range(10)


def xz(chunks: Iterable[bytes], level: int = DEFAULT) -> Iterator[bytes]:
    """Give `chunks` as one xz stream with CRC-64; `level` is 0 to 9, as the xz program has them."""
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, lzma.CHECK_CRC64, level)
    for chunk in chunks:
        out = packer.compress(chunk)
        if out:
            yield out
    yield packer.flush()
