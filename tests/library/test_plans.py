"""Plans: the same bytes as by looking for each block, kept or new, and never past a change."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.blocks import sweep
from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.errors import Unavailable
from narbor.formats import nar
from narbor.library import Library
from narbor.library.plans import CHUNK, Frame, Plan, Plans, Stretch
from narbor.library.reading import Reader
from narbor.names.cid import Cid
from narbor.names.item import Item
from tests.library.store import believed, file_nar, opened

CONTENTS = (b"", b"x", b"words " * 400_000, Random(1).randbytes(900_000), Random(2).randbytes(90))


def archive() -> bytes:
    """A NAR with large and small files, and a long run of framing."""
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for number, content in enumerate(CONTENTS):
        events.append(nar.File(b"f%d" % number, bool(number % 2), len(content)))
        if content:
            events.append(nar.Data(content))
    events += [nar.Symlink(b"l%04d" % number, b"target") for number in range(3000)]
    return b"".join(nar.write([*events, nar.END]))


@contextmanager
def stored(folder: Path) -> Iterator[tuple[Library, Item]]:
    """A store with that one item."""
    content = archive()
    with opened(folder) as library:
        item = library.admit(believed("item", content), [content], "file:///x")
        library.commit()
        yield library, item


@contextmanager
def reading(folder: Path) -> Iterator[tuple[Reader, Plans]]:
    """A reader of the same store, as a server has it."""
    files, index, plans = Files(folder / "packs"), Index(folder / "index.sqlite", False), Plans()
    try:
        yield Reader(PackStore(files, index, lambda: "never", 3), plans), plans
    finally:
        index.close()
        files.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Item]:
    """A store that nobody writes to."""
    folder = tmp_path_factory.mktemp("store")
    with stored(folder) as (_, item):
        return folder, item


def test_a_plan_is_made_once(store: tuple[Path, Item]) -> None:
    folder, item = store
    with reading(folder) as (reader, plans):
        # As doors do: up to the end, and told where that is.
        first = list(reader.content(item.archive, 0, item.seal.size))
        assert b"".join(first) == archive()
        assert len(plans) == 1
        assert list(reader.content(item.archive)) == first
        packed = b"".join(reader.zstd(item.archive))
        assert len(plans) == 2
        assert b"".join(reader.zstd(item.archive)) == packed
        assert max(map(len, first)) < 2 * CHUNK + (1 << 20)


def test_half_a_reading_keeps_none(store: tuple[Path, Item]) -> None:
    folder, item = store
    with reading(folder) as (reader, plans):
        for given in (reader.content(item.archive), reader.zstd(item.archive)):
            next(iter(given))
        assert b"".join(reader.content(item.archive, 0, 10)) == archive()[:10]
        assert len(plans) == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.booleans(), st.booleans(), st.data())
def test_any_range(store: tuple[Path, Item], packed: bool, kept: bool, data: st.DataObject) -> None:
    folder, item = store
    with reading(folder) as (reader, _):
        give = reader.zstd if packed else reader.content
        with stored_nothing(folder) as slow:
            whole = b"".join(slow.zstd(item.archive) if packed else slow.content(item.archive))
        if kept:
            assert b"".join(give(item.archive)) == whole
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.none() | st.integers(start, len(whole)))
        assert b"".join(give(item.archive, start, stop)) == whole[start:stop]


@contextmanager
def stored_nothing(folder: Path) -> Iterator[Reader]:
    """A reader without plans."""
    files, index = Files(folder / "packs"), Index(folder / "index.sqlite", False)
    try:
        yield Reader(PackStore(files, index, lambda: "never", 3))
    finally:
        index.close()
        files.close()


def test_whoever_writes_ends_all_plans(tmp_path: Path) -> None:
    with stored(tmp_path) as (library, item), reading(tmp_path) as (reader, plans):
        whole = b"".join(reader.content(item.archive))
        assert len(plans) == 1
        other = file_nar(Random(9).randbytes(5000))
        library.admit(believed("other", other), [other], "file:///x")
        library.commit()
        assert whole.startswith(next(reader.content(item.archive)))
        assert len(plans) == 0


@pytest.mark.parametrize("packed", [False, True])
def test_frames_that_moved_meanwhile_are_found_again(tmp_path: Path, packed: bool) -> None:
    with stored(tmp_path) as (library, item), reading(tmp_path) as (reader, _):
        give = reader.zstd if packed else reader.content
        whole = b"".join(give(item.archive))
        under_way = give(item.archive)
        begun = next(under_way)
        blocks = library.blocks
        ((id, (pack, _)),) = blocks.index.packs().items()
        blocks.close_pack()
        sweep.empty(blocks, id, 1)
        os.truncate(tmp_path / "packs" / pack, 0)
        assert begun + b"".join(under_way) == whole
        assert b"".join(give(item.archive)) == whole


def test_damage_is_named_though_a_plan_is_kept(tmp_path: Path) -> None:
    with stored(tmp_path) as (_, item):
        pass
    with reading(tmp_path) as (reader, _):
        whole = b"".join(reader.content(item.archive))
        (pack,) = (tmp_path / "packs").iterdir()
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 1
        with pack.open("r+b") as file:
            file.write(data)
        given = b""
        with pytest.raises(Unavailable, match="is damaged at"):
            for chunk in reader.content(item.archive):
                given += chunk
        assert whole.startswith(given)
        assert len(given) < len(whole)


def plan(inline: int) -> Plan:
    """A plan with one stretch."""
    return (Stretch(1, 0, 9, 9 + inline, (Frame(0, 9, 9), bytes(inline))),)


def test_the_least_used_goes_first_and_versions_do_not_mix() -> None:
    plans = Plans(limit=50_000)
    assert plans.get(Cid(b"0"), True, 1) is None
    for number in range(10):
        plans.keep(Cid(b"%d" % number), True, 1, plan(6000))
        plans.get(Cid(b"0"), True, 1)
    assert plans.get(Cid(b"0"), True, 1) == plan(6000)
    assert plans.get(Cid(b"0"), False, 1) is None
    assert plans.get(Cid(b"1"), True, 1) is None
    assert 2 < len(plans) < 9
    plans.keep(Cid(b"large"), True, 1, plan(30_000))
    assert plans.get(Cid(b"large"), True, 1) is None
    plans.keep(Cid(b"late"), True, 0, plan(1))
    assert plans.get(Cid(b"late"), True, 1) is None
    assert plans.get(Cid(b"0"), True, 2) is None
    assert len(plans) == 0
