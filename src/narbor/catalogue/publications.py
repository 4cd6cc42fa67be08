"""Roots that are kept with all below them, and records of names.

Published are directories of our own; kept by name are roots that came from elsewhere.
"""

from collections.abc import Iterable, Iterator

from narbor.catalogue import rows
from narbor.catalogue.tarballs import Tarballs
from narbor.catalogue.values import Kept, Publication
from narbor.names.cid import Cid
from narbor.names.digest import Digest
from narbor.names.item import Item


class Publications(Tarballs):
    """The published roots and the kept ones, by name, and IPNS records. Safe for threads."""

    def publish(self, name: str, publication: Publication) -> None:
        """Write down what is published under a name; what was before is let go of.

        The blocks must be durable, and an admission open since before they were looked for.
        """
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO publication VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    publication.root,
                    publication.items,
                    publication.hidden,
                    publication.horizon,
                    publication.settings,
                    publication.time,
                ),
            )

    def unpublish(self, name: str) -> bool:
        """Let go of what is published under a name; tell whether there was anything."""
        there = self.publication(name) is not None
        with self._database.writing() as connection:
            connection.execute("DELETE FROM publication WHERE name = ?", (name,))
        return there

    def publication(self, name: str) -> Publication | None:
        """Return what is published under a name."""
        columns = "root, items, hidden, horizon, settings, time"
        query = f"SELECT {columns} FROM publication WHERE name = ?"
        for root, *rest in self._database.rows(query, (name,)):
            return Publication(Cid(root), *rest)
        return None

    def keep_root(self, name: str, root: Cid, time: int) -> None:
        """Keep a root under a name, with all below it; what the name stood for is let go of.

        The blocks must be durable, and an admission open since before they were looked for.
        """
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (name, root, time))

    def keep_items(self, name: str, bases: Iterable[str], also: bool = False) -> None:
        """Keep items, with all they refer to, as long as a name; in place of, or beside, others."""
        with self._database.writing() as connection:
            if not also:
                connection.execute("DELETE FROM kept_item WHERE name = ?", (name,))
            connection.executemany(
                "INSERT OR IGNORE INTO kept_item VALUES (?, ?)", ((name, base) for base in bases)
            )

    def kept_items(self, name: str) -> tuple[str, ...]:
        """Return the base names of the items that are kept as long as a name, sorted."""
        query = "SELECT base FROM kept_item WHERE name = ? ORDER BY base"
        return tuple(base for (base,) in self._database.rows(query, (name,)))

    def kept_root(self, name: str) -> Cid | None:
        """Return the root that is kept under a name."""
        for (root,) in self._database.rows("SELECT root FROM kept WHERE name = ?", (name,)):
            return Cid(root)
        return None

    def kept_roots(self) -> tuple[Kept, ...]:
        """Return all that is kept by name, by name."""
        found = self._database.rows("SELECT name, root, time FROM kept ORDER BY name")
        return tuple(Kept(name, Cid(root), time) for name, root, time in found)

    def let_go(self, name: str) -> bool:
        """Let go of what is kept under a name, items too; tell whether there was anything."""
        with self._database.writing() as connection:
            items = connection.execute("DELETE FROM kept_item WHERE name = ?", (name,)).rowcount
            roots = connection.execute("DELETE FROM kept WHERE name = ?", (name,)).rowcount
        return items + roots > 0

    def keep_record(self, name: Cid, text: bytes, before: bytes | None) -> bool:
        """Keep the record of a name in place of `before`, None where there was none.

        Returns False, and does nothing, where another one is kept by now: two writers must not
        give one sequence to two records.
        """
        with self._database.writing() as connection:
            found = connection.execute("SELECT text FROM record WHERE name = ?", (name,)).fetchone()
            if (None if found is None else found[0]) != before:
                return False
            connection.execute("INSERT OR REPLACE INTO record VALUES (?, ?)", (name, text))
        return True

    def record_of(self, name: Cid) -> bytes | None:
        """Return the record that is kept of a name; it may have expired."""
        for (text,) in self._database.rows("SELECT text FROM record WHERE name = ?", (name,)):
            return bytes(text)
        return None

    def records(self) -> tuple[tuple[Cid, bytes], ...]:
        """Return all names with their records."""
        found = self._database.rows("SELECT name, text FROM record ORDER BY name")
        return tuple((Cid(name), bytes(text)) for name, text in found)

    def record_count(self) -> int:
        """Return of how many names a record is kept."""
        return int(self._database.rows("SELECT count(*) FROM record")[0][0])

    def drop_record(self, name: Cid, text: bytes) -> bool:
        """Let go of the record of a name, if it is still this one; tell whether it was."""
        with self._database.writing() as connection:
            query = "DELETE FROM record WHERE name = ? AND text = ?"
            return connection.execute(query, (name, text)).rowcount > 0

    def sharing(self, digest: Digest) -> tuple[Item, ...]:
        """Return all items whose NarHash this is, visible or not."""
        key = rows.keep_digest(digest)
        query = f"SELECT {rows.COLUMNS} FROM item WHERE substr(nar_hash, 1, 8) = ? AND nar_hash = ?"
        return tuple(map(self._item, self._database.rows(query, (key[:8], key))))

    def listed_paths(self) -> Iterator[str]:
        """Give the base names of all items that stay though nobody pinned them."""
        yield from super().listed_paths()
        for (base,) in self._database.rows("SELECT DISTINCT base FROM kept_item ORDER BY base"):
            yield base

    def file_roots(self) -> tuple[Cid, ...]:
        """Return the roots that are kept though they are no items', each once."""
        ours = self._database.rows("SELECT root FROM publication")
        return tuple(dict.fromkeys((*super().file_roots(), *(Cid(root) for (root,) in ours))))
