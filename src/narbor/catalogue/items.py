"""What is known of items: the reading half of the catalogue."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from narbor.catalogue import rows
from narbor.catalogue.sqlite import Database, Row
from narbor.catalogue.values import Claim, Hidden, Root, Sizes
from narbor.names.cid import Cid
from narbor.names.digest import Digest
from narbor.names.item import Item, Rendering

_PAGE: Final = 256
_NO_ITEM: Final = (None, None)
_ITEM_COLUMNS: Final = ", ".join(f"item.{column}" for column in rows.COLUMNS.split(", "))
_WIDTH: Final = len(rows.COLUMNS.split(", "))
_BATCH: Final = 500
_SHOWN: Final = (
    "(NOT EXISTS (SELECT 1 FROM waiting WHERE waiting.item = item.id) OR EXISTS "
    "(SELECT 1 FROM pin WHERE pin.hash = item.hash AND pin.name = item.name AND pin.alone))"
)
_FIND: Final = f"SELECT {rows.COLUMNS} FROM item WHERE hash = ?"
_FIND_SHOWN: Final = f"{_FIND} AND {_SHOWN}"
_BY_ARCHIVE: Final = (
    f"SELECT {rows.COLUMNS} FROM item WHERE substr(nar_hash, 1, 8) = ? AND nar_hash = ?"
    f" ORDER BY {_SHOWN} DESC LIMIT 1"
)


class Items:
    """Look-ups of items and of what belongs to them. Safe for threads."""

    def __init__(self, database: Database, show_incomplete: bool) -> None:
        self._database = database
        self._words = rows.Words(database)
        self._show_incomplete = show_incomplete

    def _item(self, row: Row) -> Item:
        text = self._words.text
        return rows.item(row, text(row[3]), text(row[11]), text(row[14]))

    def find(self, hash_part: str) -> Item | None:
        """Return the item with this hash part, visible or not."""
        found = self._database.rows(_FIND, (rows.key(hash_part),))
        return self._item(found[0]) if found else None

    def shown(self, hash_part: str) -> Item | None:
        """Return the item with this hash part if a door may show it; one look-up."""
        query = _FIND if self._show_incomplete else _FIND_SHOWN
        found = self._database.rows(query, (rows.key(hash_part),))
        return self._item(found[0]) if found else None

    def item(self, base: str) -> Item | None:
        """Return the item with this base name, visible or not."""
        found = self.find(base[:32])
        return found if found is not None and found.path.base == base else None

    def known(self, bases: Iterable[str]) -> set[str]:
        """Return those base names that are here, visible or not."""
        asked = {parts: base for base in bases if (parts := rows.split(base))}
        keys = iter(asked)
        here: set[str] = set()
        while batch := tuple(key for key, _ in islice(keys, _BATCH)):
            # Always as many marks, so that one statement is prepared and kept.
            marks = ", ".join("?" * _BATCH)
            filled = batch + (None,) * (_BATCH - len(batch))
            found = self._database.rows(
                f"SELECT hash, name FROM item WHERE hash IN ({marks})", filled
            )
            here.update(asked[parts] for parts in found if parts in asked)
        return here

    def complete(self, base: str) -> bool:
        """Tell whether the item and all it refers to, near and far, are here."""
        id = self._id(base)
        return id is not None and not self._is_waiting(id)

    def visible(self, base: str) -> bool:
        """Tell whether doors may show the item."""
        found = self.shown(base[:32])
        return found is not None and found.path.base == base

    def missing(self, base: str) -> tuple[str, ...]:
        """Return those references of an item that are absent or incomplete, sorted."""
        found = self.item(base)
        if found is None:
            return ()
        others = set(found.references) - {base}
        return tuple(sorted(other for other in others if not self.complete(other)))

    def hidden(self) -> Iterator[Hidden]:
        """Return what no door shows, and what each of them lacks."""
        last = 0
        query = (
            "SELECT id, hash, name FROM waiting CROSS JOIN item ON id = waiting.item "
            f"WHERE waiting.item > ? AND NOT {_SHOWN} ORDER BY waiting.item LIMIT {_PAGE}"
        )
        while not self._show_incomplete and (page := self._database.rows(query, (last,))):
            last = page[-1][0]
            for _, key, name in page:
                base = f"{rows.hash_part(key)}-{name}"
                yield Hidden(base, self.missing(base))

    def items(self, since: int = 0) -> Iterator[Item]:
        """Return all items, in the order they came; what comes meanwhile may or may not be in.

        `since`: only what this admission or a later one recorded or met.
        """
        last = 0
        query = (
            f"SELECT {rows.COLUMNS} FROM item WHERE id > ? AND admission >= ? "
            f"ORDER BY id LIMIT {_PAGE}"
        )
        while page := self._database.rows(query, (last, since)):
            last = page[-1][0]
            yield from map(self._item, page)

    def count(self) -> int:
        """Return how many items are here."""
        return int(self._database.rows("SELECT items FROM total")[0][0])

    def sizes(self) -> Sizes:
        """Return the totals, for a status line."""
        hidden = f"SELECT count(*) FROM waiting CROSS JOIN item ON id = item WHERE NOT {_SHOWN}"
        counts = ", ".join(
            f"(SELECT count(*) FROM {table})" for table in ("pin", "conflict", "failure", "log")
        )
        row = self._database.rows(f"SELECT items, nar_size, ({hidden}), {counts} FROM total")[0]
        items, nar_size, concealed, *others = row
        return Sizes(items, nar_size, 0 if self._show_incomplete else concealed, *others)

    def roots(self, base: str) -> tuple[Root, ...]:
        """Return the item's roots under all profiles, the primary one first."""
        query = (
            f"SELECT {_ITEM_COLUMNS}, root.profile, root.tree, root.archive FROM item "
            "LEFT JOIN root ON root.item = item.id WHERE hash = ? AND name = ? "
            "ORDER BY root.profile"
        )
        found = self._database.rows(query, rows.split(base) or _NO_ITEM)
        if not found:
            return ()
        item = self._item(found[0])
        further = (row[_WIDTH:] for row in found if row[_WIDTH] is not None)
        return (
            Root(item.profile, item.tree, item.archive),
            *(Root(self._words.text(row[0]), Cid(row[1]), Cid(row[2])) for row in further),
        )

    def claims(self, base: str) -> tuple[Claim, ...]:
        """Return what upstreams said of an item, the fingerprint it was admitted under first."""
        query = (
            f"SELECT {_ITEM_COLUMNS}, upstream, text, fingerprint, time FROM item "
            "JOIN claim ON claim.item = item.id WHERE hash = ? AND name = ? "
            "ORDER BY number, time, upstream"
        )
        found = self._database.rows(query, rows.split(base) or _NO_ITEM)
        if not found:
            return ()
        prior = rows.dictionary(self._item(found[0]))
        return tuple(
            Claim(
                base,
                self._words.text(upstream),
                rows.inflate(text, prior),
                rows.inflate(fingerprint, prior).decode("utf-8", "surrogateescape"),
                time,
            )
            for upstream, text, fingerprint, time in (row[_WIDTH:] for row in found)
        )

    def by_archive(self, digest: Digest) -> Item | None:
        """Return an item with this NarHash, one that doors may show if there is one."""
        kept = rows.keep_digest(digest)
        found = self._database.rows(_BY_ARCHIVE, (kept[:8], kept))
        return self._item(found[0]) if found else None

    def rendering(self, base: str, compression: str) -> Rendering | None:
        """Return what was advertised of an item in this compression."""
        for rendering in self.renderings(base):
            if rendering.compression == compression:
                return rendering
        return None

    def renderings(self, base: str) -> tuple[Rendering, ...]:
        """Return all that was advertised of an item."""
        found = self._database.rows(
            "SELECT compression, digest, size FROM rendering WHERE item = ?", (self._id(base),)
        )
        return tuple(_rendering(row) for row in found)

    def by_rendering(self, digest: Digest) -> tuple[str, Rendering] | None:
        """Return the base name of an item with this advertised FileHash, and the rendering."""
        kept = rows.keep_digest(digest)
        found = self._database.rows(
            "SELECT hash, name, compression, digest, size FROM rendering "
            "JOIN item ON item.id = rendering.item "
            "WHERE substr(digest, 1, 8) = ? AND digest = ? LIMIT 1",
            (kept[:8], kept),
        )
        if not found:
            return None
        key, name, *rest = found[0]
        return f"{rows.hash_part(key)}-{name}", _rendering(rest)

    def debuginfo(self, build_id: str) -> tuple[str, str] | None:
        """Return the base name and member path that a hexadecimal build id names."""
        try:
            id = bytes.fromhex(build_id)
        except ValueError:
            return None
        found = self._database.rows(
            "SELECT hash, item.name, member FROM build_id JOIN item ON item.id = build_id.item "
            f"WHERE build_id.id = ? ORDER BY {_SHOWN} DESC LIMIT 1",
            (id,),
        )
        if not found:
            return None
        key, name, member = found[0]
        return f"{rows.hash_part(key)}-{name}", member

    def _id(self, base: str) -> int | None:
        parts = rows.split(base)
        if parts is None:
            return None
        found = self._database.rows("SELECT id FROM item WHERE hash = ? AND name = ?", parts)
        return int(found[0][0]) if found else None

    def _is_waiting(self, id: int) -> bool:
        return bool(self._database.rows("SELECT 1 FROM waiting WHERE item = ?", (id,)))


def _rendering(row: Sequence[object]) -> Rendering:
    compression, digest, size = row
    if not isinstance(digest, bytes | str) or not isinstance(size, int):
        raise TypeError(f"a rendering row {row!r}")
    return Rendering(str(compression), rows.digest_of(digest), size)
