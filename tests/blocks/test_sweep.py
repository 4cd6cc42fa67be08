"""Letting blocks go: what lives is never lost, its frames never change, and room is freed."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

import pytest

from narbor.blocks import sweep
from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.formats.frames import MAGIC, scan
from narbor.names import cid

NAMES = count()
BLOCKS = [(cid.raw(data), data) for data in (Random(n).randbytes(1000) for n in range(100))]
LIVE, DEAD = BLOCKS[::3], [block for n, block in enumerate(BLOCKS) if n % 3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PackStore]:
    """Give a store that holds all blocks."""
    index = Index(tmp_path / "index.sqlite", True)
    files = Files(tmp_path / "packs")
    store = PackStore(files, index, lambda: f"{next(NAMES):06}.pack", 3)
    store.put_many(BLOCKS)
    store.sync()
    yield store
    store.close()
    files.close()


def live(store: PackStore) -> sweep.Live:
    """Mark what lives."""
    marks = sweep.Live(store)
    for name, _ in LIVE:
        assert marks.add(name)
        assert not marks.add(name)
    assert not marks.add(cid.raw(b"never put"))
    return marks


def all_there(store: PackStore, blocks: list[tuple[cid.Cid, bytes]]) -> bool:
    """Tell whether these blocks are here and right."""
    return all(store.get(name) == data for name, data in blocks)


def test_the_dead_go_and_the_live_stay(store: PackStore) -> None:
    frames = [bytes(f) for f in store.frames(store.places([name for name, _ in LIVE]))]
    room = sweep.condemn(store, live(store), sweep.newest(store), 1)
    assert room.blocks == len(DEAD)
    assert all_there(store, BLOCKS), "condemned is not deleted"
    assert sweep.delete(store, 1) == room
    assert all_there(store, LIVE)
    assert store.missing(name for name, _ in DEAD) == {name for name, _ in DEAD}
    store.close_pack()
    before = sum(map(store.files.size, store.files.names()))
    assert sweep.compact(store, now=10) > room.bytes
    assert [bytes(f) for f in store.frames(store.places([n for n, _ in LIVE]))] == frames
    assert sweep.purge(store, before=10) == 0, "the grace is not over"
    assert sweep.purge(store, before=11) == before
    assert all_there(store, LIVE)
    assert sum(map(store.files.size, store.files.names())) < before / 2


def test_an_admission_saves_what_it_meets(store: PackStore) -> None:
    sweep.condemn(store, live(store), sweep.newest(store), 1)
    met, written = DEAD[:5], DEAD[5:10]
    assert store.missing(name for name, _ in met) == set()
    store.put_many(written)
    store.sync()
    gone = sweep.delete(store, 1)
    assert gone.blocks == len(DEAD) - 10
    assert all_there(store, LIVE + met + written)


def test_a_reprieve_saves(store: PackStore) -> None:
    sweep.condemn(store, live(store), sweep.newest(store), 1)
    sweep.reprieve(store, (name for name, _ in DEAD[:7]))
    assert sweep.delete(store, 1).blocks == len(DEAD) - 7
    assert all_there(store, LIVE + DEAD[:7])


def test_newer_blocks_are_not_condemned(store: PackStore) -> None:
    newest = sweep.newest(store)
    later = (cid.raw(b"later"), b"later")
    store.put_many([later])
    store.sync()
    sweep.condemn(store, live(store), newest, 1)
    sweep.delete(store, 1)
    assert all_there(store, [later])


def test_deleted_blocks_are_written_again(store: PackStore) -> None:
    sweep.condemn(store, live(store), sweep.newest(store), 1)
    sweep.delete(store, 1)
    store.put_many(BLOCKS)
    store.sync()
    assert all_there(store, BLOCKS)


def test_what_an_earlier_collection_left_condemned_is_saved(store: PackStore) -> None:
    sweep.condemn(store, live(store), sweep.newest(store), 1)
    sweep.absolve(store)
    assert sweep.delete(store, 2) == sweep.Room(0, 0)
    assert all_there(store, BLOCKS)


def test_moved_frames_keep_their_heads(store: PackStore) -> None:
    def heads() -> dict[cid.Cid, int]:
        found = {}
        for name in store.files.names():
            data = store.files.read(name, 0, 10 << 20)
            for frame in scan(data[len(MAGIC) :], len(MAGIC)):
                found[frame.name] = frame.level
        return found

    before = heads()
    assert set(before.values()) == {3}
    ((pack, (name, _)),) = store.index.packs().items()
    store.close_pack()
    sweep.empty(store, pack, 1)
    store.files.remove(name)
    store.sync()
    assert heads() == before


def test_marks_by_hash_under_any_codec(store: PackStore) -> None:
    data = b"the same bytes"
    names = [
        cid.Cid(b"\1" + cid.varint(codec) + cid.raw(data)[2:])
        for codec in (cid.RAW, cid.DAG_PB, cid.DAG_CBOR, cid.DAG_JSON)
    ]
    store.put_many([(name, data) for name in names])
    store.sync()
    marks = sweep.Live(store)
    marks.add_hashes([cid.raw(data)[4:], *(name[4:] for name, _ in LIVE), bytes(32)])
    for name in (*names, *(name for name, _ in LIVE)):
        assert not marks.add(name), name
    assert all(marks.add(name) for name, _ in DEAD)


def test_names_that_packs_cannot_keep_are_not_here(store: PackStore) -> None:
    marks = sweep.Live(store)
    for strange in (cid.inline(b"short"), cid.Cid(b"\1\x55\x1b\x20" + bytes(32))):
        assert marks.id_of(strange) is None
        assert not marks.add(strange)
