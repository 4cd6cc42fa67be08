"""Streams: every compression read whole, damage and excess refused, memory bounded."""

import bz2
import contextlib
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256

import brotli
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import lzip, streams
from narbor.names.digest import Digest, Seal


def lzipped(data: bytes, coded: int = 0x0C) -> bytes:
    """One lzip member, as the lzip manual lays it out."""
    # The end mark is written by the .lzma writer only: its 13 bytes of head are taken off.
    options = {"id": lzma.FILTER_LZMA1, "dict_size": lzip.dictionary_size(coded)}
    body = lzma.compress(data, lzma.FORMAT_ALONE, filters=[options])[13:]
    trailer = struct.pack("<IQQ", zlib.crc32(data), len(data), len(body) + 26)
    return b"LZIP\x01" + bytes([coded]) + body + trailer


WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": bz2.compress,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lzip": lzipped,
    "lz4": lambda data: bytes(lz4.frame.compress(data, content_checksum=True)),
    "br": lambda data: bytes(brotli.compress(data, quality=3)),
}
MANY_MEMBERS = sorted(set(WRITERS) - {"br"})
SAMPLE = b"".join(sha256(bytes([i % 7, i % 5])).digest() * (i % 9) for i in range(200))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """`data` in chunks of `size` bytes, with an empty one now and then."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
        yield b""


def read(data: bytes, compression: str, limit: int = 1 << 30, size: int = 1 << 16) -> bytes:
    """All that `data` holds."""
    return b"".join(streams.decompress(pieces(data, size), compression, limit))


def test_every_compression_has_a_writer_here() -> None:
    assert set(WRITERS) | {"none"} == streams.COMPRESSIONS


@pytest.mark.parametrize("compression", sorted(WRITERS))
@given(data=st.binary(max_size=3000), size=st.integers(1, 4000))
def test_reads_what_was_written(compression: str, data: bytes, size: int) -> None:
    assert read(WRITERS[compression](data), compression, len(data), size) == data


@pytest.mark.parametrize("compression", MANY_MEMBERS)
@given(parts=st.lists(st.binary(max_size=900), min_size=2, max_size=5), size=st.integers(1, 700))
def test_reads_several_members(compression: str, parts: list[bytes], size: int) -> None:
    stream = b"".join(map(WRITERS[compression], parts))
    assert read(stream, compression, size=size) == b"".join(parts)


@pytest.mark.parametrize("compression", sorted(WRITERS))
def test_large_content(compression: str) -> None:
    data = SAMPLE * 60 + bytes(2_000_000)
    assert read(WRITERS[compression](data), compression, len(data)) == data


@pytest.mark.parametrize("compression", sorted(WRITERS))
@given(cut=st.integers(0, 10_000), size=st.integers(1, 4000))
def test_an_early_end_is_corrupt(compression: str, cut: int, size: int) -> None:
    whole = WRITERS[compression](SAMPLE)
    with pytest.raises(streams.Corrupt):
        read(whole[: cut % len(whole)], compression, size=size)


@pytest.mark.parametrize("compression", sorted(WRITERS))
@pytest.mark.parametrize(
    "tail", [b"\n", b"garbage, and more of it than any head is long", b"\1" * 9]
)
@pytest.mark.parametrize("size", [7, 1 << 16])
def test_trailing_bytes_are_refused(compression: str, tail: bytes, size: int) -> None:
    with pytest.raises(streams.Corrupt):
        read(WRITERS[compression](SAMPLE) + tail, compression, size=size)


@pytest.mark.parametrize("compression", sorted(set(WRITERS) - {"br"}))
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_never_gives_other_bytes(compression: str, position: int, bit: int) -> None:
    stream = bytearray(WRITERS[compression](SAMPLE))
    stream[position % len(stream)] ^= 1 << bit
    with contextlib.suppress(streams.Corrupt):
        assert read(bytes(stream), compression) == SAMPLE


@pytest.mark.parametrize("compression", sorted(WRITERS))
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(compression: str, data: bytes) -> None:
    with contextlib.suppress(streams.Corrupt, streams.TooLarge):
        assert len(read(data, compression, 1 << 20)) <= 1 << 20


@pytest.mark.parametrize("compression", sorted(WRITERS))
def test_a_bomb_is_stopped_at_the_limit(compression: str) -> None:
    bomb = WRITERS[compression](bytes(64 << 20))
    came = 0
    with pytest.raises(streams.TooLarge):
        for piece in streams.decompress([bomb], compression, 1 << 20):
            came += len(piece)
            assert len(piece) <= 4 << 20
    assert came <= 1 << 20


def test_a_zstd_bomb_of_four_byte_blocks_comes_in_small_pieces() -> None:
    rle = (131_072 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (131_072 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    bomb = b"\x28\xb5\x2f\xfd\x00\x58" + rle * 8191 + last
    largest = total = 0
    for piece in streams.decompress([bomb], "zstd", 1 << 30):
        largest = max(largest, len(piece))
        total += len(piece)
    assert (total, largest) == (1 << 30, 2 << 20)


def test_zstd_skippable_frames_are_skipped() -> None:
    skippable = b"\x5a\x2a\x4d\x18\x05\0\0\0hello"
    frame = WRITERS["zstd"](SAMPLE)
    assert read(skippable + frame + skippable + frame + skippable, "zstd", size=3) == SAMPLE * 2


def test_a_zstd_window_of_a_gibibyte_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    maker = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stream = maker.compress(SAMPLE) + maker.flush()
    with pytest.raises(streams.Corrupt):
        read(stream, "zstd")


def test_xz_that_wants_too_much_memory_is_refused() -> None:
    huge = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]
    head = lzma.compress(b"", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    assert read(head, "xz") == b""
    # The block header is written by hand: an encoder for it would take 5 GiB.
    block = bytes([2, 0, 0x21, 1, 38, 0, 0, 0])
    stream = lzma.compress(SAMPLE, filters=[{**huge[0], "dict_size": 1 << 16}])
    forged = stream[:12] + block + struct.pack("<I", zlib.crc32(block)) + stream[24:]
    with pytest.raises(streams.Corrupt, match=r"[Mm]emory"):
        read(forged, "xz")


def test_xz_padding_between_streams() -> None:
    stream = WRITERS["xz"](SAMPLE)
    assert read(stream + bytes(8) + stream + bytes(4), "xz", size=5) == SAMPLE * 2
    with pytest.raises(streams.Corrupt, match="multiple of 4"):
        read(stream + bytes(6), "xz", size=5)


def test_lzip_says_what_is_wrong() -> None:
    member = lzipped(SAMPLE)
    for at in (-1, -9, -17):
        forged = bytearray(member)
        forged[at] ^= 1
        with pytest.raises(streams.Corrupt, match="trailer"):
            read(bytes(forged), "lzip")
    with pytest.raises(streams.Corrupt, match="dictionary"):
        read(member[:5] + b"\x1d" + member[6:], "lzip")


def test_a_name_that_is_no_compression() -> None:
    with pytest.raises(streams.UnknownCompression, match="'lrzip'"):
        streams.decompress([], "lrzip", 0)


def seal(data: bytes) -> Seal:
    """What `data` must turn out to be."""
    return Seal(Digest("sha256", sha256(data).digest()), len(data))


@given(chunks=st.lists(st.binary(max_size=50)))
def test_checked_gives_the_chunks_again(chunks: list[bytes]) -> None:
    assert list(streams.checked(chunks, seal(b"".join(chunks)), "it")) == chunks


@given(data=st.binary(min_size=1), other=st.binary(min_size=1))
def test_checked_refuses_all_else(data: bytes, other: bytes) -> None:
    wrong = [other] if other != data else [data + b"!"]
    with pytest.raises(streams.Mismatch, match="it: "):
        list(streams.checked(wrong, seal(data), "it"))


def test_checked_stops_as_soon_as_too_much_came() -> None:
    endless = iter(lambda: b"x" * 10, b"")
    with pytest.raises(streams.Mismatch, match="30 bytes and more came, its size is 25"):
        list(streams.checked(endless, seal(b"x" * 25), "it"))


def test_checked_names_both_hashes() -> None:
    with pytest.raises(streams.Mismatch) as caught:
        list(streams.checked([b"other"], seal(b"bytes"), "/nix/store/x"))
    for part in ("/nix/store/x", str(seal(b"bytes").digest), str(seal(b"other").digest)):
        assert part in str(caught.value)


def test_checked_in_a_hash_that_is_not_here() -> None:
    with pytest.raises(streams.UnknownHash, match="blake3"):
        list(streams.checked([], Seal(Digest("blake3", bytes(32)), 0), "it"))


@given(chunks=st.lists(st.binary(max_size=50)))
def test_tally_measures_what_passes(chunks: list[bytes]) -> None:
    tally = streams.Tally(chunks)
    assert list(tally) == chunks
    assert Seal(tally.digest, tally.size) == seal(b"".join(chunks))
