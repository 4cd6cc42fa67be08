"""Frames that came from others lie in packs as they came, where they are fit for it."""

from pathlib import Path

import pytest
import zstandard

from narbor.formats import frames
from narbor.formats.frames import Found, Packed
from narbor.names import cid
from tests.library.store import opened

BLOCK = bytes(range(256)) * 40
NAME = cid.raw(BLOCK)
FAR = 19  # a level that nobody here packs at


def frame(level: int, checksum: bool = True) -> bytes:
    """Pack the block."""
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(BLOCK)


def keepable(data: bytes) -> bytes | None:
    """Look at a frame of the block that a stranger gave."""
    return frames.Codec(3).keepable(data, Found(NAME, 0, len(data), len(BLOCK), FAR))


def test_a_frame_is_kept_as_it_came(tmp_path: Path) -> None:
    came = keepable(frame(FAR))
    assert isinstance(came, Packed) and came == BLOCK
    with opened(tmp_path / "home") as library:
        library.blocks.put_many([(NAME, came)])
        library.blocks.sync()
        place = library.blocks.places([NAME])
        assert [bytes(each) for each in library.blocks.frames(place)] == [frame(FAR)]
    with opened(tmp_path / "home") as library:
        assert library.blocks.get(NAME) == BLOCK
    pack = next((tmp_path / "home" / "packs").glob("*.pack")).read_bytes()
    (found,) = frames.scan(pack[len(frames.MAGIC) :], len(frames.MAGIC))
    assert (found.name, found.level, found.size) == (NAME, FAR, len(BLOCK))


def test_without_a_checksum_it_is_packed_anew() -> None:
    came = keepable(frame(3, checksum=False))
    assert came == BLOCK and not isinstance(came, Packed)


def test_a_frame_that_is_larger_than_need_be_is_packed_anew() -> None:
    # Blocks of no bytes between those with some: a frame may be as long as one likes.
    head, body = _head(), bytes(3) * 200
    whole = b"".join(_raw(BLOCK, last=True))
    tail = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(BLOCK)[-4:]
    came = keepable(head + body + whole + tail)
    assert came == BLOCK and not isinstance(came, Packed)
    assert isinstance(keepable(head + whole + tail), Packed)


def _head() -> bytes:
    """Write a frame header: single segment, checksum, a content size of two bytes."""
    return (0xFD2FB528).to_bytes(4, "little") + b"\x64" + (len(BLOCK) - 256).to_bytes(2, "little")


def _raw(data: bytes, last: bool) -> tuple[bytes, bytes]:
    """Write a raw block of zstd."""
    return (len(data) << 3 | last).to_bytes(3, "little"), data


@pytest.mark.parametrize("spoilt", [b"", frame(3)[:-1], frame(3) + b"x", bytes(100)])
def test_what_is_no_frame_of_the_block_is_nothing(spoilt: bytes) -> None:
    assert keepable(spoilt) is None
