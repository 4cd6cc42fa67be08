"""What we know: items, claims, pins, what is being admitted. SQLite, on disk or in memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from narbor.catalogue import record
from narbor.catalogue.notes import Notes
from narbor.catalogue.sqlite import Database
from narbor.catalogue.values import (
    Admission,
    Admitted,
    Claim,
    Conflict,
    Failure,
    Hidden,
    Pin,
    Root,
    Sizes,
)

__all__ = [
    "Admission",
    "Admitted",
    "Catalogue",
    "Claim",
    "Conflict",
    "Failure",
    "Hidden",
    "Pin",
    "Root",
    "Sizes",
]


class Catalogue(Notes):
    """The catalogue of one store. Safe for threads; several processes may open one file.

    Look-ups come from Items, the small tables from Notes. Times are given, whole seconds since
    1970. All methods may raise Unavailable (locked, full, damaged); those that write raise
    Refused when the catalogue was opened for reading.
    """

    @classmethod
    def open(cls, path: Path, write: bool = True, *, show_incomplete: bool = False) -> "Catalogue":
        """Open the file `path`; with `write` it is made or brought up to date.

        `show_incomplete`: doors show items whose closure is not here.
        Raises Refused if there is none to read, or a newer program wrote it; Unavailable.
        """
        return cls(Database(path, write), show_incomplete)

    @classmethod
    def in_memory(cls, *, show_incomplete: bool = False) -> "Catalogue":
        """Make an empty catalogue that ends with the process."""
        return cls(Database(None, True), show_incomplete)

    def close(self) -> None:
        """Close the catalogue; a second time does nothing."""
        self._database.close()

    def version(self) -> int:
        """Return a number that differs after any change, by this or another process; cheap."""
        return self._database.version()

    def record(self, admissions: Sequence[Admitted]) -> None:
        """Write items, all in one transaction: from here on they exist.

        An item that is here with an equal NarHash gets the claim, further roots and build ids,
        and the signatures, these only over an equal fingerprint. With another NarHash a conflict
        is recorded instead. Raises Unavailable if an admission is no longer open.
        """
        with self._database.writing() as connection:
            for admitted in admissions:
                record.record(connection, admitted)

    def remove(self, bases: Iterable[str]) -> None:
        """Take items out, with their claims, roots, renderings and build ids, not their pins.

        Items that refer to them become incomplete.
        """
        with self._database.writing() as connection:
            record.remove(connection, bases)
