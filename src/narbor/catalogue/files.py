"""The files of releases: names and roots. Their content lies in the store, with that of items."""

from collections.abc import Iterable
from typing import Final

from narbor.catalogue.packages import Packages
from narbor.catalogue.releases import Published, require
from narbor.catalogue.sqlite import Row
from narbor.names.cid import Cid
from narbor.names.digest import Digest, Seal
from narbor.names.file import File

_COLUMNS: Final = "file.name, root, digest, size, modified"
_OF: Final = (
    "FROM file JOIN release ON release.id = file.release "
    "JOIN channel ON channel.id = release.channel WHERE channel.name = ? AND release.name = ?"
)


class Files(Packages):
    """What releases consist of, with its writer and readers. Safe for threads."""

    def record_files(
        self,
        channel: str,
        name: str,
        files: Iterable[File],
        without: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Write down all files of a release in the making, and what it has to do `without`.

        These are (file or job, reason). What was written before is replaced. The content must be
        durable. Raises NoRelease, Published.
        """
        with self._database.writing() as connection:
            release = require(connection, channel, name)
            query = "SELECT 1 FROM release WHERE id = ? AND published IS NOT NULL"
            if connection.execute(query, (release,)).fetchone():
                raise Published(f"{channel}: {name} is published already")
            for table in ("file", "absence"):
                connection.execute(f"DELETE FROM {table} WHERE release = ?", (release,))
            connection.executemany(
                "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (release, f.name, f.root, f.seal.digest.value, f.seal.size, f.modified)
                    for f in files
                ),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO absence VALUES (?, ?, ?)",
                ((release, what, reason) for what, reason in without),
            )

    def files(self, channel: str, name: str) -> tuple[File, ...]:
        """Return the files of a release, by name."""
        query = f"SELECT {_COLUMNS} {_OF} ORDER BY file.name"
        return tuple(map(_file, self._database.rows(query, (channel, name))))

    def file(self, channel: str, name: str, file: str) -> File | None:
        """Return a file of a release."""
        found = self._database.rows(
            f"SELECT {_COLUMNS} {_OF} AND file.name = ?", (channel, name, file)
        )
        return _file(found[0]) if found else None

    def without(self, channel: str, name: str) -> tuple[tuple[str, str], ...]:
        """Return what a release should have had and has not, and why."""
        query = (
            "SELECT absence.what, reason FROM absence "
            "JOIN release ON release.id = absence.release "
            "JOIN channel ON channel.id = release.channel "
            "WHERE channel.name = ? AND release.name = ? ORDER BY absence.what"
        )
        return tuple((what, reason) for what, reason in self._database.rows(query, (channel, name)))

    def file_roots(self) -> tuple[Cid, ...]:
        """Return the roots of all files of all releases, each once: these are kept."""
        return tuple(Cid(root) for (root,) in self._database.rows("SELECT DISTINCT root FROM file"))


def _file(row: Row) -> File:
    name, root, digest, size, modified = row
    return File(name, Cid(root), Seal(Digest("sha256", digest), size), modified)
