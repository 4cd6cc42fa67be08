"""The packages of releases: from an attribute to store paths, and back.

Rows are shared: a package that is the same in many releases is one row, found by the hash of all
that is said of it.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

from narbor.catalogue import rows
from narbor.catalogue.releases import Releases, path_id, require
from narbor.catalogue.sqlite import Row
from narbor.catalogue.values import Package, Release

_PAGE: Final = 1000
_COLUMNS: Final = "package.id, attribute, word.text, package.name, description"
_FROM: Final = "FROM package JOIN word ON word.id = package.system"
_OFFERED: Final = "EXISTS (SELECT 1 FROM offer WHERE package = package.id AND release = ?)"
_ATTRIBUTE: Final = "attribute LIKE ? ESCAPE '\\' DESC"
_OUTPUTS: Final = (
    "SELECT word.text, hash, path.name FROM output JOIN word ON word.id = output.name "
    "JOIN path ON path.id = output.path WHERE package = ? ORDER BY number"
)
_WITH_PATH: Final = (
    "SELECT release FROM listed WHERE path = ?1 UNION "
    "SELECT release FROM output JOIN offer USING (package) WHERE output.path = ?1"
)


class Packages(Releases):
    """Packages, with their writer and readers. Safe for threads."""

    def record_packages(self, channel: str, name: str, packages: Iterable[Package]) -> int:
        """Add packages to a release, published or not; return how many different ones.

        What a release consists of does not change by what is learnt of it. Nobody else can write
        meanwhile, so `packages` should be at hand. Raises NoRelease, MalformedPath.
        """
        offered: set[int] = set()
        with self._database.writing() as connection:
            release = require(connection, channel, name)
            words: dict[str, int] = {}
            for package in packages:
                offered.add(_record(connection, package, words))
            connection.executemany(
                "INSERT OR IGNORE INTO offer VALUES (?, ?)", ((id, release) for id in offered)
            )
        return len(offered)

    def describe_packages(self, channel: str, name: str, said: Mapping[str, str]) -> int:
        """Give descriptions to those packages of a release that have none; return how many.

        `said` maps attributes to them. Raises NoRelease.
        """
        described = 0
        with self._database.writing() as connection:
            release = require(connection, channel, name)
            words: dict[str, int] = {}
            query = f"SELECT {_COLUMNS} {_FROM} WHERE {_OFFERED} AND description = ''"
            for row in connection.execute(query, (release,)).fetchall():
                if not said.get(row[1]):
                    continue
                described += 1
                outputs = tuple(_outputs(connection.execute(_OUTPUTS, (row[0],)).fetchall()))
                package = Package(row[1], row[2], row[3], outputs, said[row[1]])
                values = (_record(connection, package, words), release)
                connection.execute("INSERT OR IGNORE INTO offer VALUES (?, ?)", values)
                gone = "DELETE FROM offer WHERE package = ? AND release = ?"
                connection.execute(gone, (row[0], release))
            connection.execute(
                "DELETE FROM package WHERE description = '' "
                "AND NOT EXISTS (SELECT 1 FROM offer WHERE package = package.id)"
            )
        return described

    def packages(self, channel: str, name: str) -> Iterator[Package]:
        """Give all packages of a release; nothing for one that is not here."""
        release, last = self._release_id(channel, name), 0
        query = (
            f"SELECT {_COLUMNS} {_FROM} WHERE {_OFFERED} AND package.id > ? "
            f"ORDER BY package.id LIMIT {_PAGE}"
        )
        while page := self._database.rows(query, (release, last)):
            last = page[-1][0]
            yield from map(self._package, page)

    def package(
        self, channel: str, attribute: str, system: str, release: str | None = None
    ) -> Package | None:
        """Return a package of the release that a channel is at, or of the one that is named."""
        found = self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} WHERE {_OFFERED} AND attribute = ? AND word.text = ?",
            (self._chosen(channel, release), attribute, system),
        )
        return self._package(found[0]) if found else None

    def search(
        self,
        words: Sequence[str],
        channel: str | None = None,
        release: str | None = None,
        system: str | None = None,
        limit: int = 50,
    ) -> tuple[Package, ...]:
        """Return packages in whose attribute, name or description each of `words` stands.

        Letters of ASCII are alike in both cases. The best come first: whose attribute is the first
        word, ends in it, begins with it, has it; among equals the shortest. Without `channel`
        those of any release.
        """
        values: list[object] = []
        conditions = []
        for word in words:
            conditions.append(
                "(attribute || ' ' || package.name || ' ' || description) LIKE ? ESCAPE '\\'"
            )
            values.append(f"%{_literal(word)}%")
        if channel is not None:
            conditions.append(_OFFERED)
            values.append(self._chosen(channel, release))
        if system is not None:
            conditions.append("word.text = ?")
            values.append(system)
        first = _literal(words[0]) if words else ""
        found = self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} WHERE {' AND '.join(conditions) or '1'} ORDER BY "
            f"{', '.join([_ATTRIBUTE] * 4)}, length(attribute), attribute, word.text, "
            "package.id DESC LIMIT ?",
            (*values, first, f"%.{first}", f"{first}%", f"%{first}%", limit),
        )
        return tuple(map(self._package, found))

    def packages_with(self, base: str) -> tuple[Package, ...]:
        """Return the packages, of any release, that have this path among their outputs."""
        found = self._database.rows(
            f"SELECT DISTINCT {_COLUMNS} {_FROM} JOIN output ON output.package = package.id "
            "WHERE output.path = ? ORDER BY length(attribute), attribute, word.text",
            (self._path(base),),
        )
        return tuple(map(self._package, found))

    def releases_with(self, base: str) -> tuple[Release, ...]:
        """Return the releases that list this path, or have a package with it, the newest first."""
        chosen = {id for (id,) in self._database.rows(_WITH_PATH, (self._path(base),))}
        return tuple(
            each for each in self.releases() if self._release_id(each.channel, each.name) in chosen
        )

    def _chosen(self, channel: str, release: str | None) -> int | None:
        if release is not None:
            return self._release_id(channel, release)
        found = self._database.rows("SELECT current FROM channel WHERE name = ?", (channel,))
        return found[0][0] if found else None

    def _path(self, base: str) -> int | None:
        parts = rows.split(base) or (None, None)
        found = self._database.rows("SELECT id FROM path WHERE hash = ? AND name = ?", parts)
        return int(found[0][0]) if found else None

    def _package(self, row: Row) -> Package:
        id, attribute, system, name, description = row
        outputs = tuple(_outputs(self._database.rows(_OUTPUTS, (id,))))
        return Package(attribute, system, name, outputs, description)


def _outputs(found: Iterable[Row]) -> Iterator[tuple[str, str]]:
    return ((output, f"{rows.hash_part(key)}-{path}") for output, key, path in found)


def _record(connection: sqlite3.Connection, package: Package, words: dict[str, int]) -> int:
    """Return the id of a package's row, written now if there is none."""
    said = (package.attribute, package.system, package.name, package.outputs, package.description)
    key = sha256(json.dumps(said).encode()).digest()[:16]
    found = connection.execute("SELECT id FROM package WHERE key = ?", (key,)).fetchone()
    if found is not None:
        return int(found[0])
    for text in (package.system, *(output for output, _ in package.outputs)):
        if text not in words:
            words[text] = rows.word(connection, text)
    written = connection.execute(
        "INSERT INTO package (key, attribute, system, name, description) VALUES (?, ?, ?, ?, ?)",
        (key, package.attribute, words[package.system], package.name, package.description),
    )
    id = int(written.lastrowid or 0)
    for number, (output, base) in enumerate(package.outputs):
        values = (id, number, words[output], path_id(connection, base))
        connection.execute("INSERT INTO output VALUES (?, ?, ?, ?)", values)
    return id


def _literal(text: str) -> str:
    """Spell a text for LIKE so that it stands for itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
