"""The power fails: whatever was not synced may be lost, and no item that is listed is a lie.

A run is recorded as a log of writes and syncs, with the databases as they stood before each. It is
cut at every boundary; the store is opened on what may have survived, every listed item must
rebuild to its NarHash, and the run must complete. The catalogue is durable when its commit
returns (synchronous = FULL); the index may be any older one.
"""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random

import pytest

from narbor.blocks.files import StoreFull
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.catalogue import Catalogue
from narbor.dag.profile import NARBOR
from narbor.errors import NarborError
from narbor.library import Library
from narbor.library.admission import Admissions
from tests.fakes.files import Event, LossyFiles, survivors
from tests.library.store import believed, file_nar

ARCHIVES = [file_nar(Random(n % 7).randbytes(3000) + b"%d" % n) for n in range(12)]
ITEMS = [(believed(f"item-{n}", archive), archive) for n, archive in enumerate(ARCHIVES)]
NAMES = (name for name in count())


@contextmanager
def opened(folder: Path, files: LossyFiles) -> Iterator[Library]:
    """Open a store over a file layer, with packs of at most 10 kB."""
    index = Index(folder / "index.sqlite", True)
    blocks = PackStore(files, index, lambda: f"{next(NAMES):06}.pack", 3, largest=10_000)
    blocks.catch_up()
    catalogue = Catalogue.open(folder / "catalogue.sqlite")
    with ThreadPoolExecutor(1) as pool:
        ins = Admissions(blocks, catalogue, pool, NARBOR, lambda: 7, "test")
        library = Library(catalogue, blocks, ins, lambda: 7, lambda: 1 << 40)
        yield library
        blocks.abandon()
        library.close()


def copied(database: Path) -> bytes:
    """Return a consistent copy of a database as it stands."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        return copy.serialize()


def mirror(library: Library) -> None:
    """Admit what is missing, two items to a commit."""
    for number, (vouched, archive) in enumerate(ITEMS):
        if library.item(vouched.narinfo.path.base) is None:
            library.admit(vouched, [archive], "test:")
        if number % 2:
            library.commit()
    library.commit()


def recorded(folder: Path) -> tuple[list[Event], list[tuple[bytes, bytes]]]:
    """Run the mirror; return its log, and the databases (catalogue, index) before each event."""
    shots: list[tuple[bytes, bytes]] = []

    def shoot() -> None:
        shots.append((copied(folder / "catalogue.sqlite"), copied(folder / "index.sqlite")))

    folder.mkdir()
    files = LossyFiles(watch=shoot)
    with opened(folder, files) as library:
        mirror(library)
        shoot()
    return files.log, shots


def lies(library: Library) -> list[str]:
    """Return the items that are listed, but do not rebuild to their NarHash."""
    found = []
    for item in library.items():
        try:
            right = sha256(b"".join(library.archive(item))).digest() == item.seal.digest.value
        except NarborError:
            right = False
        if not right:
            found.append(item.path.base)
    return found


def cut_everywhere(
    tmp_path: Path, log: list[Event], shots: list[tuple[bytes, bytes]]
) -> Iterator[tuple[int, list[str]]]:
    """Cut the run at each boundary, twice; give the boundary and the items that are lies."""
    for at, luck in ((at, Random(at * 2 + n)) for at in range(len(shots)) for n in range(2)):
        home = tmp_path / f"cut-{at}-{luck.random()}"
        home.mkdir()
        (home / "catalogue.sqlite").write_bytes(shots[at][0])
        (home / "index.sqlite").write_bytes(shots[luck.randint(0, at)][1])
        files = LossyFiles(survivors(log[:at], luck))
        with opened(home, files) as library:
            yield at, lies(library)
            mirror(library)
            assert lies(library) == []
            assert library.sizes().items == len(ITEMS)


def test_no_cut_makes_a_lie(tmp_path: Path) -> None:
    log, shots = recorded(tmp_path / "run")
    assert sum(what == "sync" for what, _, _ in log) >= 6
    assert len({name for _, name, _ in log}) >= 3, "the run fills several packs"
    for at, found in cut_everywhere(tmp_path, log, shots):
        assert found == [], f"cut before event {at} of {len(log)}"


def test_without_fsync_it_would(tmp_path: Path) -> None:
    """The test above can fail: leave the syncs out, and it does."""
    log, shots = recorded(tmp_path / "run")
    unsynced = [
        ("noop", name, data) if what == "sync" else (what, name, data) for what, name, data in log
    ]
    assert any(found for _, found in cut_everywhere(tmp_path, unsynced, shots))


@pytest.mark.parametrize("room", [0, 3_000, 10_000, 20_000])
def test_a_full_disk_loses_nothing(tmp_path: Path, room: int) -> None:
    """The run ends with StoreFull, what is listed is whole, and the next run goes on."""
    files = LossyFiles(room=room)
    with opened(tmp_path, files) as library:
        with pytest.raises(StoreFull, match="no space left"):
            mirror(library)
        assert lies(library) == []
        files.room = 1 << 40
        mirror(library)
        assert lies(library) == []
        assert library.sizes().items == len(ITEMS)
