"""What we know: items, claims, pins, releases, packages. SQLite, on disk or in memory."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from narbor.catalogue import record, sweep
from narbor.catalogue.roots import Roots
from narbor.catalogue.sqlite import Database, OlderCatalogue
from narbor.catalogue.sweep import Reached
from narbor.catalogue.values import (
    ADMIT,
    COLLECT,
    HOLD,
    Admission,
    Admitted,
    Channel,
    Claim,
    Conflict,
    Failure,
    Hidden,
    Kept,
    Lacking,
    Package,
    Pin,
    Publication,
    Release,
    Root,
    Sizes,
)

__all__ = [
    "ADMIT",
    "COLLECT",
    "HOLD",
    "Admission",
    "Admitted",
    "Catalogue",
    "Channel",
    "Claim",
    "Conflict",
    "Failure",
    "Hidden",
    "Kept",
    "Lacking",
    "Package",
    "Pin",
    "Publication",
    "Reached",
    "Release",
    "Root",
    "Sizes",
]


class Catalogue(Roots):
    """The catalogue of one store. Safe for threads; several processes may open one file.

    Look-ups come from Items, the small tables from Notes, channels from Releases, what is in them
    from Packages, what they consist of from Files, sources from Tarballs, what is published or kept
    from Publications, roots of all kinds from Roots. Times are given, whole seconds since 1970. All
    methods may raise Unavailable (locked, full, damaged); those that write raise Refused when the
    catalogue was opened for reading.
    """

    @classmethod
    def open(cls, path: Path, write: bool = True, *, show_incomplete: bool = False) -> "Catalogue":
        """Open the file `path`; with `write` it is made. An older one is brought up to date.

        `show_incomplete`: doors show items whose closure is not here.
        Raises Refused if there is none to read, or a newer program wrote it; Unavailable.
        """
        try:
            database = Database(path, write)
        except OlderCatalogue:
            # A server is often the first to open a store with a new program.
            Database(path, True).close()
            database = Database(path, write)
        return cls(database, show_incomplete)

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

    def copy(self, path: Path) -> None:
        """Write the catalogue as it is at one moment into a new file, without open admissions."""
        self._database.copy(path, "DELETE FROM admission")

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

    def spare(self, bases: Iterable[str], admission: int) -> None:
        """Note that an open admission relies on items that are here: no sweep takes them.

        Raises Unavailable if the admission is no longer open.
        """
        with self._database.writing() as connection:
            record.spare(connection, bases, admission)

    def horizon(self) -> int:
        """Return the lowest number of an open admission, or the next one that will be given."""
        return sweep.horizon(self._database)

    def reach(self, also: Iterable[str] = ()) -> Reached:
        """Find the items that somebody still asks for: pins, open admissions, and `also`."""
        return sweep.reach(self._database, also)

    def unreached(self, reached: Reached) -> Iterator[str]:
        """Give the base names of the items that nobody asks for."""
        return sweep.unreached(self._database, reached)

    def sweep(self, reached: Reached, bases: Iterable[str]) -> bool:
        """Take items out that are not reached, but for those that an admission met since.

        Returns False, and does nothing, if there are new pins: `reached` must be found again.
        """
        with self._database.writing() as connection:
            return sweep.sweep(connection, reached, bases)
