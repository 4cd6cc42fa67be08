"""What the catalogue keeps beside items: pins, failures, conflicts, admissions, logs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from narbor.catalogue import record, rows
from narbor.catalogue.items import Items
from narbor.catalogue.values import ADMIT, Admission, Claim, Conflict, Failure, Pin
from narbor.errors import Refused
from narbor.names.item import Rendering

_PAGE: Final = 1000


class NotAnItemName(Refused):
    """A name that should be pinned is no base name of a store path."""


class Notes(Items):
    """Small tables, each with its writer and its reader. Safe for threads."""

    def pin(self, base: str, time: int, alone: bool = False) -> None:
        """Note that an item was asked for by name, here or not yet; `alone`: not its closure."""
        self.pin_all([base], time, alone)

    def pin_all(self, bases: Iterable[str], time: int, alone: bool = False) -> None:
        """Pin many in one transaction, which is the price of one; raises NotAnItemName."""
        values = []
        for base in bases:
            parts = rows.split(base)
            if parts is None:
                raise NotAnItemName(f"{base!r} is no store path name (32 letters, a dash, a name)")
            values.append((*parts, time, alone))
        with self._database.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?)", values)

    def unpin(self, base: str) -> None:
        """Take a pin away; without one nothing happens."""
        self.unpin_all([base])

    def unpin_all(self, bases: Iterable[str]) -> None:
        """Take many pins away in one transaction."""
        parts = [each for each in map(rows.split, bases) if each is not None]
        with self._database.writing() as connection:
            connection.executemany("DELETE FROM pin WHERE hash = ? AND name = ?", parts)

    def pins(self) -> tuple[Pin, ...]:
        """Return all pins, the oldest first."""
        found = self._database.rows("SELECT hash, name, time, alone FROM pin ORDER BY time, hash")
        return tuple(
            Pin(f"{rows.hash_part(key)}-{name}", time, bool(alone))
            for key, name, time, alone in found
        )

    def conflict(self, base: str, upstream: str, text: bytes, reason: str, time: int) -> None:
        """Record a claim that contradicts what is here; the newest of an upstream stays."""
        with self._database.writing() as connection:
            record.conflict(connection, Claim(base, upstream, text, "", time), reason)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Return all recorded conflicts, by base name."""
        query = "SELECT base, upstream, text, reason, time FROM conflict ORDER BY base, upstream"
        return tuple(
            Conflict(base, self._words.text(upstream), rows.inflate(text), reason, time)
            for base, upstream, text, reason, time in self._database.rows(query)
        )

    def fail(self, base: str, upstream: str, reason: str, time: int) -> None:
        """Record that an upstream could not give an item; its newest reason stays."""
        self.fail_all([(base, upstream, reason)], time)

    def fail_all(self, failures: Iterable[tuple[str, str, str]], time: int) -> None:
        """Record many failures (base, upstream, reason) in one transaction."""
        with self._database.writing() as connection:
            for base, upstream, reason in failures:
                values = (base, rows.word(connection, upstream), time, reason)
                connection.execute("INSERT OR REPLACE INTO failure VALUES (?, ?, ?, ?)", values)

    def cleared(self, *bases: str) -> None:
        """Forget the failures of items: they have been had."""
        with self._database.writing() as connection:
            connection.executemany(
                "DELETE FROM failure WHERE base = ?", [(base,) for base in bases]
            )

    def failures(self) -> tuple[Failure, ...]:
        """Return all failures, by base name."""
        query = "SELECT base, upstream, reason, time FROM failure ORDER BY base, upstream"
        return tuple(
            Failure(base, self._words.text(upstream), reason, time)
            for base, upstream, reason, time in self._database.rows(query)
        )

    def begin_admission(self, time: int, process: str, purpose: str = ADMIT) -> int:
        """Open an admission; return its number, higher than all before it."""
        with self._database.writing() as connection:
            values = (time, process, purpose)
            written = connection.execute(
                "INSERT INTO admission (time, process, purpose) VALUES (?, ?, ?)", values
            )
            return int(written.lastrowid or 0)

    def end_admission(self, id: int) -> None:
        """Close an admission; nothing can be recorded under it any more."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM admission WHERE id = ?", (id,))

    @contextmanager
    def admission(self, time: int, process: str, purpose: str = ADMIT) -> Iterator[int]:
        """Keep an admission open for as long as this lasts; gives its number."""
        id = self.begin_admission(time, process, purpose)
        try:
            yield id
        finally:
            self.end_admission(id)

    def oldest_admission(self) -> int | None:
        """Return the lowest number of an open admission."""
        found: int | None = self._database.rows("SELECT min(id) FROM admission")[0][0]
        return found

    def admissions(self) -> tuple[Admission, ...]:
        """Return the open admissions, the oldest first; those of dead processes may be ended."""
        found = self._database.rows("SELECT id, time, process, purpose FROM admission ORDER BY id")
        return tuple(Admission(*row) for row in found)

    def keep_rendering(self, base: str, rendering: Rendering) -> Rendering | None:
        """Write what is advertised of an item from now on, and return what is.

        That is an earlier row if there is one, for what was advertised never changes. None if
        the item is not here.
        """
        with self._database.writing() as connection:
            found = connection.execute(
                "SELECT id FROM item WHERE hash = ? AND name = ?", rows.split(base) or (None, None)
            ).fetchone()
            if found is not None:
                record.keep_rendering(connection, found[0], rendering)
        return self.rendering(base, rendering.compression)

    def retire_rendering(self, base: str, compression: str) -> None:
        """Withdraw what was advertised, since the same bytes cannot be made again."""
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM rendering WHERE compression = ? AND item = "
                "(SELECT id FROM item WHERE hash = ? AND name = ?)",
                (compression, *(rows.split(base) or (None, None))),
            )

    def keep_log(self, name: str, text: bytes, encoding: str = "") -> None:
        """Keep the build log of a derivation (its base name), as it came in `encoding`."""
        with self._database.writing() as connection:
            values = (name, encoding, text)
            connection.execute("INSERT OR REPLACE INTO log VALUES (?, ?, ?)", values)

    def log(self, name: str) -> tuple[bytes, str] | None:
        """Return a build log and its encoding."""
        found = self._database.rows("SELECT text, encoding FROM log WHERE name = ?", (name,))
        return (found[0][0], found[0][1]) if found else None

    def keep_realisation(self, id: str, text: bytes) -> None:
        """Keep a realisation (JSON text) under `DRVHASH!OUTPUT`."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO realisation VALUES (?, ?)", (id, text))

    def realisation(self, id: str) -> bytes | None:
        """Return the text of a realisation."""
        found = self._database.rows("SELECT text FROM realisation WHERE id = ?", (id,))
        return bytes(found[0][0]) if found else None

    def realisations(self) -> Iterator[tuple[str, bytes]]:
        """Give all realisations, by id."""
        query = f"SELECT id, text FROM realisation WHERE id > ? ORDER BY id LIMIT {_PAGE}"
        last = ""
        while page := self._database.rows(query, (last,)):
            yield from ((id, bytes(text)) for id, text in page)
            last = page[-1][0]

    def debug_files(self) -> Iterator[tuple[str, str, str]]:
        """Give all debug symbols that are here: build id, base name of the item, path in it."""
        query = (
            "SELECT build_id.id, item, hash, name, member FROM build_id "
            "JOIN item ON item.id = build_id.item WHERE (build_id.id, item) > (?, ?) "
            f"ORDER BY build_id.id, item LIMIT {_PAGE}"
        )
        last: tuple[bytes, int] = (b"", 0)
        while page := self._database.rows(query, last):
            for id, _, key, name, member in page:
                yield id.hex(), f"{rows.hash_part(key)}-{name}", member
            last = (page[-1][0], page[-1][1])
