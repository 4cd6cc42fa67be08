"""The index made again from the packs alone: whole, and past any damage."""

from pathlib import Path
from random import Random

import pytest

from narbor.blocks import reindex
from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.blocks.reindex import PackInUse, Reread
from narbor.formats import frames
from narbor.names import cid
from narbor.names.cid import Cid

BLOCKS = [(cid.raw(data), data) for data in (Random(n).randbytes(n * 97 + 1) for n in range(60))]


def filled(folder: Path) -> Path:
    """Keep all blocks in one pack; return it."""
    store = PackStore(Files(folder / "packs"), Index(folder / "old", True), lambda: "a.pack", 3)
    store.put_many(BLOCKS)
    store.close()
    return folder / "packs" / "a.pack"


def again(folder: Path) -> tuple[list[Reread], dict[Cid, bytes]]:
    """Make the index again; return what was said, and all blocks that can be had."""
    index, files = Index(folder / "new", True), Files(folder / "packs")
    said = list(reindex.reindex(files, index))
    store = PackStore(files, index, lambda: "b.pack", 3)
    names = list(store.keys())
    found = dict(zip(names, store.get_many(names), strict=True))
    store.close()
    return said, found


def test_all_blocks_are_found_again(tmp_path: Path) -> None:
    """The index is as good as the first one, and a writer goes on behind the last frame."""
    size = filled(tmp_path).stat().st_size
    said, found = again(tmp_path)
    assert said == [Reread("a.pack", 60, 0, 0)]
    assert found == dict(BLOCKS)
    index = Index(tmp_path / "new", True)
    assert [mark for _, mark in index.packs().values()] == [size]
    index.close()


@pytest.mark.parametrize("number", [0, 30, 59])
def test_one_damaged_frame_costs_one_block(tmp_path: Path, number: int) -> None:
    """What stands behind it is found."""
    pack = filled(tmp_path)
    data = bytearray(pack.read_bytes())
    start = len(frames.MAGIC)
    place = list(frames.scan(bytes(data[start:]), start))
    data[place[number].offset + place[number].length - 1] ^= 1
    pack.write_bytes(data)
    said, found = again(tmp_path)
    assert said == [Reread("a.pack", 59, 1, 0)]
    assert found == {name: block for name, block in BLOCKS if name != place[number].name}


def test_a_torn_head_is_stepped_over(tmp_path: Path) -> None:
    """Where a head is no head, the next one is looked for, and the bytes are counted."""
    pack = filled(tmp_path)
    data = bytearray(pack.read_bytes())
    start = len(frames.MAGIC)
    found = list(frames.scan(bytes(data[start:]), start))
    head = found[9].offset + found[9].length
    data[head + 9] ^= 1
    pack.write_bytes(data)
    said, blocks = again(tmp_path)
    assert (said[0].blocks, said[0].damaged) == (59, 0)
    assert said[0].skipped == found[10].offset + found[10].length - head
    assert found[10].name not in blocks


def test_a_torn_tail_is_not_counted_as_read(tmp_path: Path) -> None:
    """The mark stays behind the last good frame, so that nobody appends to a torn tail."""
    pack = filled(tmp_path)
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-10])
    said, blocks = again(tmp_path)
    assert said[0].blocks == len(blocks) == 59
    assert said[0].skipped > 0
    index = Index(tmp_path / "new", True)
    assert all(mark < len(whole) - 10 for _, mark in index.packs().values())
    index.close()


def test_a_file_that_is_no_pack(tmp_path: Path) -> None:
    """Nonsense gives no blocks, and does not stop the rest."""
    pack = filled(tmp_path)
    pack.with_name("0.pack").write_bytes(Random(1).randbytes(100_000))
    pack.with_name("empty.pack").write_bytes(b"")
    said, found = again(tmp_path)
    assert [each.blocks for each in said] == [0, 60, 0]
    assert found == dict(BLOCKS)


def test_a_pack_that_is_written_to_ends_it(tmp_path: Path) -> None:
    """While another process owns a pack, nothing is read."""
    filled(tmp_path)
    files = Files(tmp_path / "packs")
    pack = files.adopt("a.pack")
    assert pack is not None
    index = Index(tmp_path / "new", True)
    with pytest.raises(PackInUse, match=r"a\.pack"):
        list(reindex.reindex(Files(tmp_path / "packs"), index))
    assert index.packs() == {}
    pack.close()
    index.close()
