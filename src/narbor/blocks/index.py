"""The index of the packs: block -> pack, offset, lengths. SQLite, one writer, many readers."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from narbor.errors import Refused, Unavailable
from narbor.names import cid
from narbor.names.cid import Cid

VERSION: Final = 1
_BATCH: Final = 500


class IndexUnusable(Refused):
    """The index is of another version, or no index."""


class IndexBusy(Unavailable):
    """The index cannot be written to now: disk full, or locked for too long."""


class Place(NamedTuple):
    """Where a block's frame lies. A named tuple, since one is made for each block that is read."""

    pack: int
    offset: int
    length: int
    size: int


def key_of(name: Cid) -> bytes:
    """Return the key of a block: its SHA-256, behind its codec unless that is raw.

    Raises Refused for other hash functions: packs keep SHA-256 only.
    """
    if name[:4] == b"\x01\x55\x12\x20":
        return name[4:]
    codec, at = cid.read_varint(name, 1)
    if name[at] != cid.SHA256:
        raise Refused(f"{cid.text(name)}: only blocks named by SHA-256 are kept in packs")
    return cid.varint(codec) + name[at + 2 :]


def is_kept(name: Cid) -> bool:
    """Tell whether packs keep blocks with such names: those by SHA-256."""
    function = 2 if name[1] < 128 else cid.read_varint(name, 1)[1]
    return name[function] == cid.SHA256


def name_of(key: bytes) -> Cid:
    """Return the CID whose key this is."""
    codec, digest = key[:-32] or b"\x55", key[-32:]
    return Cid(b"\x01" + codec + b"\x12\x20" + digest)


class Index:
    """An open index: one connection a thread for reading, one behind a lock for writing."""

    def __init__(self, path: Path, write: bool) -> None:
        self._path = path
        self._write = write
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._watching = threading.Lock()
        self._watcher: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        if write:
            self._writer = self._connect()
            self._create(self._writer)
        elif not path.exists():
            raise IndexUnusable(f"there is no index at {path}")

    def _connect(self) -> sqlite3.Connection:
        try:
            link = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            if self._write:
                link.execute("PRAGMA journal_mode = WAL")
            else:  # who only reads leaves a copy on a read-only disk as it is
                link.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            raise IndexBusy(f"cannot open {self._path}: {error}") from error
        # A cache of the packs: after a power cut it may be behind them, and is read up again.
        link.execute("PRAGMA synchronous = NORMAL")
        link.execute("PRAGMA cache_size = -16384")
        link.execute("PRAGMA journal_size_limit = 0")
        with self._lock:
            self._all.append(link)
        return link

    def _create(self, link: sqlite3.Connection) -> None:
        link.execute("BEGIN IMMEDIATE")
        version = link.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            schema = files("narbor.blocks").joinpath("index.sql").read_text()
            for statement in schema.split(";\n"):
                link.execute(statement)
            link.execute(f"PRAGMA user_version = {VERSION}")
        link.execute("COMMIT")
        if version > VERSION:
            raise IndexUnusable(f"{self._path} was written by a newer narbor (version {version})")

    @property
    def _reader(self) -> sqlite3.Connection:
        link: sqlite3.Connection | None = getattr(self._local, "link", None)
        if link is None:
            link = self._local.link = self._connect()
        return link

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open one transaction for writing; committed at the end, rolled back on any error."""
        if self._writer is None:
            raise Refused(f"{self._path} was opened for reading")
        with self._lock_writer():
            link = self._writer
            try:
                link.execute("BEGIN IMMEDIATE")
                try:
                    yield link
                    link.execute("COMMIT")
                finally:
                    if link.in_transaction:
                        link.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                raise IndexBusy(f"cannot write to {self._path}: {error}") from error

    @contextmanager
    def _lock_writer(self) -> Iterator[None]:
        with self._lock:
            yield

    def packs(self) -> dict[int, tuple[str, int]]:
        """Return every pack: id -> name, offset up to which it is indexed."""
        rows = self._reader.execute("SELECT id, name, indexed FROM pack")
        return {id: (name, indexed) for id, name, indexed in rows}

    def add_pack(self, name: str, indexed: int) -> int:
        """Note a pack; return its id."""
        with self.writing() as link:
            link.execute(
                "INSERT INTO pack (name, indexed) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                (name, indexed),
            )
            (id,) = link.execute("SELECT id FROM pack WHERE name = ?", (name,)).fetchone()
        return int(id)

    def add(self, blocks: Iterable[tuple[bytes, Place]], ends: dict[int, int]) -> None:
        """Note blocks, and how far their packs are indexed. The first place of a block stays."""
        with self.writing() as link:
            link.executemany(
                "INSERT INTO block (key, pack, offset, length, size) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET condemned = NULL",
                sorted((key, p.pack, p.offset, p.length, p.size) for key, p in blocks),
            )
            link.executemany(
                "UPDATE pack SET indexed = max(indexed, ?) WHERE id = ?",
                [(end, id) for id, end in ends.items()],
            )

    def move(self, blocks: Iterable[tuple[bytes, Place]], ends: dict[int, int]) -> None:
        """Note where blocks lie from now on; those that were deleted meanwhile stay so."""
        with self.writing() as link:
            link.executemany(
                "UPDATE block SET pack = ?, offset = ? WHERE key = ?",
                [(place.pack, place.offset, key) for key, place in blocks],
            )
            link.executemany(
                "UPDATE pack SET indexed = max(indexed, ?) WHERE id = ?",
                [(end, id) for id, end in ends.items()],
            )

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Place]:
        """Return the places of those blocks that are here."""
        found: dict[bytes, Place] = {}
        for at in range(0, len(keys), _BATCH):
            part = keys[at : at + _BATCH]
            marks = ",".join("?" * len(part))
            rows = self._reader.execute(
                f"SELECT key, pack, offset, length, size FROM block WHERE key IN ({marks})", part
            )
            found |= {row[0]: Place._make(row[1:]) for row in rows}
        return found

    def claim(self, keys: Sequence[bytes]) -> dict[bytes, Place]:
        """Return the places of those that are here, and save the condemned among them.

        An admission asks this before it relies on a block that is there already.
        """
        found: dict[bytes, Place] = {}
        saved: list[bytes] = []
        for at in range(0, len(keys), _BATCH):
            part = keys[at : at + _BATCH]
            marks = ",".join("?" * len(part))
            for key, condemned, *place in self._reader.execute(
                "SELECT key, condemned, pack, offset, length, size FROM block"
                f" WHERE key IN ({marks})",
                part,
            ):
                found[key] = Place(*place)
                if condemned is not None:
                    saved.append(key)
        for key in saved:
            with self.writing() as link:
                done = link.execute(
                    "UPDATE block SET condemned = NULL WHERE key = ?", (key,)
                ).rowcount
            if not done:  # deleted between the look and the saving: it must be written again
                del found[key]
        return found

    def blocks(self) -> Iterator[tuple[int, bytes, Place]]:
        """Give every block: id, key, place; in the order they were written, in pages."""
        last = 0
        while True:
            rows = self._reader.execute(
                "SELECT id, key, pack, offset, length, size FROM block WHERE id > ?"
                " ORDER BY id LIMIT 10000",
                (last,),
            ).fetchall()
            if not rows:
                return
            for id, key, *place in rows:
                yield id, key, Place(*place)
            last = rows[-1][0]

    def is_retired(self, pack: int) -> bool:
        """Tell whether nothing may be appended to a pack, since it is to be unlinked."""
        query = "SELECT retired IS NOT NULL FROM pack WHERE id = ?"
        row = self._reader.execute(query, (pack,)).fetchone()
        return row is None or bool(row[0])

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return what a query selects."""
        return self._reader.execute(query, values).fetchall()

    def count(self) -> tuple[int, int, int]:
        """Return how many blocks there are, and their bytes as frames and as blocks."""
        row = self._reader.execute(
            "SELECT count(*), coalesce(sum(length), 0), coalesce(sum(size), 0) FROM block"
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def version(self) -> int:
        """Return a number that changes whenever anybody has written; cheap, for any thread."""
        # SQLite's counter speaks of the connection that asks, so one connection asks always.
        with self._watching:
            if self._watcher is None:
                self._watcher = self._connect()
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def copy(self, path: Path) -> None:
        """Write the index as it is at one moment into a new file; raises IndexBusy."""
        try:
            with closing(sqlite3.connect(path)) as target:
                self._reader.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            raise IndexBusy(f"cannot copy {self._path} to {path}: {error}") from error

    def clear(self) -> None:
        """Forget everything, to be read anew from the packs."""
        with self.writing() as link:
            link.execute("DELETE FROM block")
            link.execute("UPDATE pack SET indexed = 0")

    def close(self) -> None:
        """Close every connection, and fold the journal into the database."""
        with self._lock:
            if self._writer is not None:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for link in self._all:
                link.close()
            self._all.clear()
