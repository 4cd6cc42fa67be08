"""SQLite as this room uses it: many readers, one writer, forward-only schema versions.

A file is opened in WAL mode with synchronous=FULL: a commit that returned survives a power loss.
Readers take a connection from a pool, so any number of threads read at once; writers of one
process queue at a lock, writers of several processes at `BEGIN IMMEDIATE`.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Final

from narbor.errors import NarborError, Refused, Unavailable

Row = tuple[Any, ...]

VERSION: Final = 9
_BUSY_MILLISECONDS: Final = 30_000
_WRITER_CACHE_KIB: Final = 16_384


class NewerCatalogue(Refused):
    """The store was written by a newer program."""


class EmptyCatalogue(Refused):
    """A catalogue was made and nothing written to it: there is nothing to read."""


class OlderCatalogue(Refused):
    """The store must be brought to a newer schema first, and may only be read here."""


class MissingCatalogue(Refused):
    """There is no store where one is to be read."""


class ReadOnlyCatalogue(Refused):
    """A store that was opened for reading was asked to write."""


class CatalogueUnavailable(Unavailable):
    """The database is locked, full, damaged, or cannot be opened."""


def _failure(error: sqlite3.DatabaseError, name: str) -> NarborError:
    """Say `error` in the house's families; a mistake of the code's own is raised as it is."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        raise error
    return CatalogueUnavailable(f"the catalogue {name}: {error}")


class Database:
    """One SQLite database, on disk or in memory. Safe for threads."""

    def __init__(self, path: Path | None, write: bool) -> None:
        self._path = path
        self._name = ":memory:" if path is None else str(path)
        self._write_lock = RLock()
        self._watch_lock = Lock()
        self._shared: sqlite3.Connection | None = None
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        self._commits = 0
        if path is not None and not write and not path.exists():
            raise MissingCatalogue(f"there is no catalogue at {path}")
        self._writer: sqlite3.Connection | None = None
        try:
            first = self._connect(write or path is None)
            if path is None:
                self._shared = first
            self._watcher = first if path is None else self._connect(False)
        except sqlite3.DatabaseError as error:
            raise _failure(error, self._name) from error
        if write or path is None:
            self._writer = first
        else:
            self._idle.append(first)
        try:
            self._settle()
        except BaseException:
            self.close()
            raise

    def _connect(self, write: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._name,
            timeout=_BUSY_MILLISECONDS / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute("PRAGMA foreign_keys = ON")
        if not write:
            connection.execute("PRAGMA query_only = ON")
            return connection
        connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
        connection.execute("PRAGMA synchronous = FULL")
        # A log that has been written back is cut off: space at rest is counted.
        connection.execute("PRAGMA journal_size_limit = 0")
        if connection.execute("PRAGMA journal_mode").fetchone() == ("delete",):
            connection.execute("PRAGMA journal_mode = WAL")
        return connection

    def _settle(self) -> None:
        """Make a new store, bring an old one up to date, refuse a newer one."""
        found = self.rows("PRAGMA user_version")[0][0]
        if found > VERSION:
            raise NewerCatalogue(
                f"the catalogue {self._name} has schema version {found}, "
                f"this program knows versions up to {VERSION}: use a newer narbor"
            )
        if found == VERSION:
            return
        if self._writer is None:
            raise (OlderCatalogue if found else EmptyCatalogue)(
                f"the catalogue {self._name} has schema version {found}, "
                f"this program reads version {VERSION}"
            )
        with self.writing() as connection:
            migrate(connection, VERSION, _schema(), migrations())

    def _take(self) -> sqlite3.Connection:
        if self._shared is not None:
            self._write_lock.acquire()
            return self._shared
        if self._closed:
            raise CatalogueUnavailable(f"the catalogue {self._name} is closed")
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect(False)

    def _give(self, connection: sqlite3.Connection) -> None:
        if self._shared is not None:
            self._write_lock.release()
        elif self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Return all rows that `statement` selects; raises CatalogueUnavailable."""
        try:
            connection = self._take()
            try:
                return connection.execute(statement, values).fetchall()
            finally:
                self._give(connection)
        except sqlite3.DatabaseError as error:
            raise _failure(error, self._name) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is durable after the block, or nothing of it.

        Raises ReadOnlyCatalogue, CatalogueUnavailable.
        """
        with self._write_lock:
            if self._closed:
                raise CatalogueUnavailable(f"the catalogue {self._name} is closed")
            if self._writer is None:
                raise ReadOnlyCatalogue(f"the catalogue {self._name} is open for reading only")
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    # After a full disk SQLite may have rolled back on its own account.
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as error:
                raise _failure(error, self._name) from error
            self._commits += 1

    def version(self) -> int:
        """Return a number that differs after any commit, by this or another process."""
        if self._shared is not None:
            return self._commits
        # SQLite's counter speaks of the connection that asks, so one connection asks always. It
        # has a lock of its own: who asks must not wait for who writes.
        with self._watch_lock:
            try:
                return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.DatabaseError as error:
                raise _failure(error, self._name) from error

    def copy(self, path: Path, afterwards: str) -> None:
        """Write the database as it is at one moment into a new file; there run a statement.

        Raises CatalogueUnavailable.
        """
        try:
            connection = self._take()
            try:
                with closing(sqlite3.connect(path)) as target:
                    connection.backup(target)
                    target.execute("PRAGMA journal_mode = DELETE")
                    target.execute(afterwards)
                    target.commit()
            finally:
                self._give(connection)
        except sqlite3.DatabaseError as error:
            raise _failure(error, str(path)) from error

    def close(self) -> None:
        """Close all connections; what still reads closes its own when it is done."""
        with self._write_lock:
            if self._closed:
                return
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            with self._watch_lock:
                self._watcher.close()
            if self._writer is not None and self._shared is None:
                with suppress(sqlite3.DatabaseError):
                    # Others may be reading: what cannot be written back at once may wait.
                    self._writer.execute("PRAGMA busy_timeout = 0")
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._writer.close()


def migrate(
    connection: sqlite3.Connection, to: int, schema: str, migrations: Mapping[int, str]
) -> None:
    """Bring the database to schema version `to` inside the transaction that is open.

    An empty database gets `schema`; any other the migrations after its own version, in order.
    """
    # Read again under the lock: another process may have done it meanwhile.
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    steps = [schema] if found == 0 else [migrations[n] for n in range(found + 1, to + 1)]
    for step in steps:
        for statement in statements(step):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {to}")


def statements(script: str) -> Iterator[str]:
    """Split SQL into statements (sqlite3's own `executescript` would commit first)."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _schema() -> str:
    return (resources.files(__package__) / "schema.sql").read_text("utf-8")


def migrations() -> dict[int, str]:
    """Return the migrations by the version that each leads to."""
    folder = resources.files(__package__) / "migrations"
    return {
        int(file.name[:-4]): file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }
