"""Packs: the format, torn tails, damage, and an index made again from the packs alone."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

import pytest
import zstandard

from narbor.blocks import BlockDamaged
from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.formats import frames
from narbor.names import cid

NAMES = count()
BLOCKS = [(cid.raw(data), data) for data in (Random(n).randbytes(n * 97) for n in range(60))]


@contextmanager
def opened(folder: Path) -> Iterator[PackStore]:
    """Open a store, and give it up without a last sync, as a killed process does."""
    index = Index(folder / "index.sqlite", True)
    files = Files(folder / "packs")
    store = PackStore(files, index, lambda: f"{next(NAMES):06}.pack", 3)
    store.catch_up()
    yield store
    store.abandon()
    index.close()
    files.close()


def only_pack(folder: Path) -> Path:
    """Return the one pack there is."""
    (pack,) = (folder / "packs").iterdir()
    return pack


def filled(folder: Path) -> None:
    """Keep all blocks in a store."""
    with opened(folder) as store:
        store.put_many(BLOCKS)
        store.sync()


def test_a_pack_is_a_zstd_stream(tmp_path: Path) -> None:
    filled(tmp_path)
    data = only_pack(tmp_path).read_bytes()
    assert data.startswith(frames.MAGIC)
    content = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    assert content == b"".join(block for _, block in BLOCKS)


def test_reindex_from_the_packs_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    for file in tmp_path.glob("index.sqlite*"):
        file.unlink()
    with opened(tmp_path) as store:
        assert list(store.get_many([name for name, _ in BLOCKS])) == [data for _, data in BLOCKS]


@pytest.mark.parametrize("seed", range(20))
def test_a_torn_tail_is_left_behind(tmp_path: Path, seed: int) -> None:
    """Blocks before the tear are found; what is written next is not appended to it."""
    filled(tmp_path)
    pack = only_pack(tmp_path)
    for file in tmp_path.glob("index.sqlite*"):
        file.unlink()
    whole = pack.read_bytes()
    torn = whole[: Random(seed).randrange(len(whole))]
    pack.write_bytes(torn)
    with opened(tmp_path) as store:
        kept = [name for name, _ in BLOCKS if store.get(name) is not None]
        assert kept == [name for name, _ in BLOCKS[: len(kept)]]
        store.put_many(BLOCKS)
        store.sync()
        assert list(store.get_many([name for name, _ in BLOCKS])) == [data for _, data in BLOCKS]
    assert pack.read_bytes() == torn or (pack.stat().st_size > len(torn) and not _is_torn(torn))
    with opened(tmp_path) as store:
        assert list(store.get_many([name for name, _ in BLOCKS])) == [data for _, data in BLOCKS]


def _is_torn(data: bytes) -> bool:
    """Tell whether a pack ends in the middle of something."""
    end = len(frames.MAGIC)
    if data[:end] != frames.MAGIC:
        return True
    for found in frames.scan(data[end:], end):
        end = found.offset + found.length
    return end != len(data)


def test_a_damaged_frame_is_never_an_answer(tmp_path: Path) -> None:
    filled(tmp_path)
    pack = only_pack(tmp_path)
    whole = bytearray(pack.read_bytes())
    name, data = BLOCKS[40]
    (found,) = (f for f in frames.scan(bytes(whole[22:]), 22) if f.name == name)
    luck = Random(1)
    for _ in range(50):
        at = found.offset + luck.randrange(found.length)
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << luck.randrange(8)
        pack.write_bytes(spoilt)
        with opened(tmp_path) as store:
            try:
                assert store.get(name) == data, "the checksum field alone may be spared by zstd"
            except BlockDamaged as error:
                assert cid.text(name) in str(error) and pack.name in str(error)
            assert store.get(BLOCKS[41][0]) == BLOCKS[41][1]


def test_zstd_itself_reads_a_pack(tmp_path: Path) -> None:
    filled(tmp_path)
    try:
        done = subprocess.run(["zstd", "-dc", only_pack(tmp_path)], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("zstd is not installed")
    assert done.stdout == b"".join(block for _, block in BLOCKS)
