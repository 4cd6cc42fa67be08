"""Blocks packed behind other blocks that the receiver has: a new version costs what is new in it.

The others are what zstd calls a raw content dictionary: matches may reach into them, and they are
not in the frame.
"""

from collections.abc import Sequence
from typing import Final

import zstandard

from narbor.formats.exchange import LARGEST_BASIS, LARGEST_THIN

_LEVEL: Final = 9
# Left to itself, zstd remembers no more places than the blocks alone would need, and looks no
# farther back. So many places take 32 MiB.
_NEAREST: Final = 12
_FARTHEST: Final = 25
_MOST_PLACES: Final = 23
_WINDOW: Final = 32 << 20


def pack(basis: Sequence[bytes], blocks: Sequence[bytes]) -> bytes:
    """Return one zstd frame of these blocks, end to end, behind those of the basis."""
    before, data = b"".join(basis), b"".join(blocks)
    reach = max(_NEAREST, (len(before) + len(data)).bit_length())
    said = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=len(data),
        window_log=min(reach, _FARTHEST),
        hash_log=min(reach, _MOST_PLACES),
        write_checksum=1,
    )
    packer = zstandard.ZstdCompressor(compression_params=said, dict_data=_behind(before))
    return packer.compress(data)


def unpack(basis: Sequence[bytes], frame: bytes, sizes: Sequence[int]) -> list[bytes] | None:
    """Return the blocks in a frame that a stranger gave; None where they do not stand in it."""
    before, size = b"".join(basis), sum(sizes)
    if len(before) > LARGEST_BASIS or (size > LARGEST_THIN and len(sizes) != 1):
        return None
    try:
        said = zstandard.get_frame_parameters(frame)
        if said.content_size != size or said.dict_id or said.window_size > _WINDOW:
            return None
        data = zstandard.ZstdDecompressor(dict_data=_behind(before)).decompress(
            frame, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError:
        return None
    if len(data) != size:
        return None
    blocks, at = [], 0
    for each in sizes:
        blocks.append(data[at : at + each])
        at += each
    return blocks


def _behind(before: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(before, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
