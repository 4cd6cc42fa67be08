"""What every BlockStore promises, run over each of them."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from narbor.blocks import BlockMissing, BlockStore
from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.memory import MemoryStore
from narbor.blocks.packs import PackStore
from narbor.names import cid
from tests.fakes.files import LossyFiles

NAMES = count()


def packs(folder: Path) -> BlockStore:
    """Packs in a folder."""
    files = Files(folder / "packs")
    return PackStore(files, Index(folder / "index", True), lambda: f"{next(NAMES)}.pack", 3)


def small_packs(folder: Path) -> BlockStore:
    """Packs that are full at once, in memory."""
    index = Index(folder / "index", True)
    return PackStore(LossyFiles(), index, lambda: f"{next(NAMES)}.pack", 1, largest=1)


Maker = Callable[[Path], BlockStore]


@pytest.fixture(
    params=[lambda _: MemoryStore(), packs, small_packs], ids=["memory", "packs", "small"]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockStore]:
    """Give each store in turn."""
    make: Maker = request.param
    yield make(tmp_path)


BLOCKS = [(cid.raw(data), data) for data in (b"", b"a", b"b" * 100_000, bytes(range(256)) * 999)]
NODE = (cid.node(b"\n\x02\x08\x01"), b"\n\x02\x08\x01")


def test_put_get(store: BlockStore) -> None:
    store.put_many([*BLOCKS, NODE])
    for name, data in [*BLOCKS, NODE]:
        assert store.get(name) == data
    store.sync()
    for name, data in [*BLOCKS, NODE]:
        assert store.get(name) == data


def test_absent(store: BlockStore) -> None:
    store.put_many(BLOCKS[:1])
    assert store.get(BLOCKS[1][0]) is None
    assert store.missing([BLOCKS[0][0], BLOCKS[1][0], NODE[0]]) == {BLOCKS[1][0], NODE[0]}
    with pytest.raises(BlockMissing, match=cid.text(BLOCKS[1][0])):
        list(store.get_many([BLOCKS[0][0], BLOCKS[1][0]]))


def test_the_same_bytes_under_two_codecs_are_two_blocks(store: BlockStore) -> None:
    data = NODE[1]
    store.put_many([NODE])
    assert store.get(cid.raw(data)) is None
    store.put_many([(cid.raw(data), data)])
    store.sync()
    assert store.get(cid.raw(data)) == data == store.get(NODE[0])
    assert sorted(store.keys()) == sorted([cid.raw(data), NODE[0]])


def test_many_keep_their_order(store: BlockStore) -> None:
    many = [(cid.raw(b"%d" % n), b"%d" % n) for n in range(3000)]
    store.put_many(many)
    store.sync()
    asked = [*reversed(many), *many[::7]]
    assert list(store.get_many([name for name, _ in asked])) == [data for _, data in asked]


def test_twice_is_once(store: BlockStore) -> None:
    store.put_many(BLOCKS)
    store.put_many(BLOCKS)
    store.sync()
    store.put_many(BLOCKS)
    store.sync()
    assert sorted(store.keys()) == sorted(name for name, _ in BLOCKS)


def test_delete(store: BlockStore) -> None:
    store.put_many(BLOCKS)
    store.sync()
    store.delete([BLOCKS[0][0], NODE[0]])
    assert store.get(BLOCKS[0][0]) is None
    assert sorted(store.keys()) == sorted(name for name, _ in BLOCKS[1:])
    store.put_many(BLOCKS)
    store.sync()
    assert store.get(BLOCKS[0][0]) == BLOCKS[0][1]
