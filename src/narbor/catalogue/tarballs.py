"""Source tarballs and the revisions that have them. Their content lies in the store, with items'.

A tarball stays while a revision has it; with the last one its row goes, and `collect` lets go of
the blocks. Sources that are trees are items, which a revision keeps as a release does.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from narbor.catalogue.files import Files
from narbor.catalogue.sqlite import Row
from narbor.errors import Refused
from narbor.names.cid import Cid
from narbor.names.digest import Digest
from narbor.names.tarball import ALGORITHMS, Tarball, Unfetched

_COLUMNS: Final = "root, size, md5, sha1, sha256, sha512"
_OF: Final = "JOIN revision ON revision.id = revision WHERE revision.name = ?"
_REVISION: Final = re.compile(r"(?!\.)[0-9A-Za-z+._=-]{1,200}", re.ASCII)


class MalformedRevision(Refused):
    """A text cannot be the name of a revision: it is a folder's as well."""


class Tarballs(Files):
    """Tarballs by hash, by name and by revision. Safe for threads."""

    def record_revision(self, revision: str, now: int) -> None:
        """Begin with a revision, or go on with it; raises MalformedRevision."""
        if _REVISION.fullmatch(revision) is None:
            raise MalformedRevision(f"{revision[:80]!r} is no name for a revision")
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO revision (name, time) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET time = excluded.time",
                (revision, now),
            )

    def record_tarball(self, revision: str, name: str, tarball: Tarball) -> None:
        """Write down that a revision has a tarball called `name`; the content must be durable.

        Where the revision has another one of this name, its own hash is put in front.
        """
        with self._database.writing() as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO tarball ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                (tarball.root, tarball.size, *(each.value for each in tarball.digests)),
            )
            _name(connection, revision, name, tarball.sha512)

    def link_tarballs(self, revision: str, wanted: Iterable[tuple[str, Digest]]) -> set[Digest]:
        """Write down that a revision has these tarballs, as far as they are here.

        `wanted` are names and hashes. Returns the hashes of those that are here.
        """
        found = set()
        with self._database.writing() as connection:
            for name, digest in wanted:
                row = connection.execute(*_by(digest)).fetchone()
                if row is not None:
                    _name(connection, revision, name, _tarball(row).sha512)
                    found.add(digest)
        return found

    def record_checkout(self, revision: str, base: str) -> None:
        """Write down that a revision has a source which is the item with this base name."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO checkout SELECT id, ? FROM revision WHERE name = ?",
                (base, revision),
            )

    def record_unfetched(self, revision: str, failed: Iterable[Unfetched]) -> None:
        """Write down all that a revision could not get; what was written before is replaced."""
        with self._database.writing() as connection:
            id = _id(connection, revision)
            connection.execute("DELETE FROM unfetched WHERE revision = ?", (id,))
            connection.executemany(
                "INSERT OR REPLACE INTO unfetched VALUES (?, ?, ?, ?)",
                ((id, each.what, each.name, each.reason) for each in failed),
            )

    def forget_revision(self, revision: str) -> bool:
        """Take a revision out, with the tarballs that no other has; tell whether there was one."""
        with self._database.writing() as connection:
            gone = connection.execute("DELETE FROM revision WHERE name = ?", (revision,))
            connection.execute(
                "DELETE FROM tarball WHERE NOT EXISTS "
                "(SELECT 1 FROM named WHERE named.tarball = tarball.id)"
            )
            return gone.rowcount > 0

    def drop_tarball(self, sha512: Digest) -> None:
        """Take a tarball out of all revisions, since it can no longer be had."""
        with self._database.writing() as connection:
            query = "(SELECT id FROM tarball WHERE sha512 = ?)"
            connection.execute(f"DELETE FROM named WHERE tarball = {query}", (sha512.value,))
            connection.execute("DELETE FROM tarball WHERE sha512 = ?", (sha512.value,))

    def tarball(self, digest: Digest, revision: str | None = None) -> Tarball | None:
        """Return the tarball with this hash; with `revision`, if that one has it."""
        if digest.algorithm not in ALGORITHMS:
            return None
        found = self._database.rows(*_by(digest))
        if found and revision is not None:
            query = f"SELECT 1 FROM named JOIN tarball ON tarball.id = tarball {_OF} AND sha512 = ?"
            if not self._database.rows(f"{query} LIMIT 1", (revision, found[0][5])):
                return None
        return _tarball(found[0]) if found else None

    def tarball_totals(self) -> tuple[int, int]:
        """Return how many tarballs there are, and their bytes."""
        found = self._database.rows("SELECT count(*), ifnull(sum(size), 0) FROM tarball")
        return int(found[0][0]), int(found[0][1])

    def tarballs(self) -> Iterator[Tarball]:
        """Give all tarballs, sorted by their sha512."""
        last = b""
        query = f"SELECT {_COLUMNS} FROM tarball WHERE sha512 > ? ORDER BY sha512 LIMIT 1000"
        while page := self._database.rows(query, (last,)):
            last = page[-1][5]
            yield from map(_tarball, page)

    def revisions(self) -> tuple[tuple[str, int], ...]:
        """Return all revisions with their time, by name."""
        return tuple(self._database.rows("SELECT name, time FROM revision ORDER BY name"))

    def tarballs_of(self, revision: str) -> tuple[tuple[str, Tarball], ...]:
        """Return the tarballs of a revision with their names, by name."""
        query = (
            f"SELECT named.name, {_COLUMNS} FROM named JOIN tarball ON tarball.id = tarball {_OF} "
            "ORDER BY named.name"
        )
        return tuple((row[0], _tarball(row[1:])) for row in self._database.rows(query, (revision,)))

    def tarball_named(self, revision: str, name: str) -> Tarball | None:
        """Return the tarball that a revision calls `name`."""
        query = (
            f"SELECT {_COLUMNS} FROM named JOIN tarball ON tarball.id = tarball {_OF} "
            "AND named.name = ?"
        )
        found = self._database.rows(query, (revision, name))
        return _tarball(found[0]) if found else None

    def checkouts_of(self, revision: str) -> tuple[str, ...]:
        """Return the base names of the items that are sources of a revision, sorted."""
        query = f"SELECT base FROM checkout {_OF} ORDER BY base"
        return tuple(base for (base,) in self._database.rows(query, (revision,)))

    def unfetched(self, revision: str) -> tuple[Unfetched, ...]:
        """Return what a revision could not get, by name."""
        query = f"SELECT what, unfetched.name, reason FROM unfetched {_OF} ORDER BY 2, 1"
        return tuple(Unfetched(*row) for row in self._database.rows(query, (revision,)))

    def file_roots(self) -> tuple[Cid, ...]:
        """Return the roots of all files of releases and all tarballs, each once: these are kept."""
        ours = self._database.rows("SELECT root FROM tarball")
        return tuple(dict.fromkeys((*super().file_roots(), *(Cid(root) for (root,) in ours))))

    def listed_paths(self) -> Iterator[str]:
        """Give the base names of all items that releases list or revisions have as sources."""
        yield from super().listed_paths()
        for (base,) in self._database.rows("SELECT DISTINCT base FROM checkout ORDER BY base"):
            yield base


def _by(digest: Digest) -> tuple[str, tuple[bytes]]:
    """Return the query for the tarball with this hash. The first that came stays the one."""
    if digest.algorithm not in ALGORITHMS:
        raise Refused(f"tarballs are not known by their {digest.algorithm}")
    return (
        f"SELECT {_COLUMNS} FROM tarball WHERE {digest.algorithm} = ? ORDER BY id LIMIT 1",
        (digest.value,),
    )


def _id(connection: sqlite3.Connection, revision: str) -> int:
    found = connection.execute("SELECT id FROM revision WHERE name = ?", (revision,)).fetchone()
    if found is None:
        raise Refused(f"there is no revision {revision} here")
    return int(found[0])


def _name(connection: sqlite3.Connection, revision: str, name: str, sha512: Digest) -> None:
    """Give a tarball its name in a revision; raises Refused if there is no such revision."""
    id = _id(connection, revision)
    query = "SELECT id FROM tarball WHERE sha512 = ?"
    (tarball,) = connection.execute(query, (sha512.value,)).fetchone()
    query = "SELECT tarball FROM named WHERE revision = ? AND name = ?"
    there = connection.execute(query, (id, name)).fetchone()
    if there is not None and there[0] != tarball:
        name = f"{sha512.hex[:12]}-{name}"
    connection.execute("INSERT OR IGNORE INTO named VALUES (?, ?, ?)", (id, name, tarball))


def _tarball(row: Row) -> Tarball:
    root, size, *values = row
    digests = (Digest(name, value) for name, value in zip(ALGORITHMS, values, strict=True))
    return Tarball(Cid(root), size, *digests)
