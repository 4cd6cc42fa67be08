"""programs.sqlite: which package brings a program, for a shell that does not find a command.

The schema is that of nix-index's nixos channel database, as `command-not-found` of NixOS reads it
(nixpkgs: nixos/modules/programs/command-not-found).
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Final

from narbor.errors import Rejected

_SCHEMA: Final = (
    "CREATE TABLE Programs (name text not null, system text not null, package text not null, "
    "primary key (name, system, package))"
)

_MAGIC: Final = b"SQLite format 3\0"
_PAGE: Final = 512  # the smallest that SQLite has

Program = tuple[str, str, str]
"""The name of a program, a system, and the attribute of a package that brings it."""


class MalformedPrograms(Rejected):
    """Bytes are no database of programs."""


def write(programs: Iterable[Program]) -> bytes:
    """Write the database. The same programs, in whatever order, give the same bytes."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.execute(_SCHEMA)
        database.execute("BEGIN")
        database.executemany("INSERT INTO Programs VALUES (?, ?, ?)", sorted(set(programs)))
        database.execute("COMMIT")
        database.execute("VACUUM")
        return database.serialize()


def parse(data: bytes) -> tuple[Program, ...]:
    """Read all programs of a database; raises MalformedPrograms."""
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.deserialize(data)
            rows = database.execute("SELECT name, system, package FROM Programs ORDER BY 1, 2, 3")
            return tuple((str(name), str(system), str(package)) for name, system, package in rows)
        # The module reports some malformed pages as a lack of memory.
        except (sqlite3.Error, MemoryError) as error:
            raise MalformedPrograms(f"no programs.sqlite: {error}") from error
