"""Which items anybody still asks for, and taking out the rest.

Reached are the pins with all they refer to (a pin `alone` without), what the caller adds, and
what open admissions recorded or met, again with all it refers to. Reading goes on beside writers,
so taking out looks again, in its own transaction: nothing goes that was pinned or met since.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from narbor.catalogue import record, rows
from narbor.catalogue.sqlite import Database

_BATCH: Final = 500
_MARKS: Final = ", ".join("?" * _BATCH)
_PINS: Final = "SELECT hash, name, alone FROM pin"

_Pins = frozenset[tuple[bytes, str, int]]


@dataclass(frozen=True, slots=True)
class Reached:
    """A set of items, as a bitmap over their ids, and what it was found from.

    `horizon`: admissions from this number on were open then, or had not begun.
    """

    bitmap: bytearray
    pins: _Pins
    horizon: int

    def __contains__(self, id: int) -> bool:
        return id >> 3 < len(self.bitmap) and bool(self.bitmap[id >> 3] >> (id & 7) & 1)


def horizon(database: Database) -> int:
    """Return the lowest number of an open admission, or the next one that will be given."""
    found = database.rows(
        "SELECT ifnull((SELECT min(id) FROM admission),"
        " 1 + ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'admission'), 0))"
    )
    return int(found[0][0])


def reach(database: Database, also: Iterable[str]) -> Reached:
    """Find all that is reached from the pins, from open admissions, and from `also`."""
    edge = horizon(database)
    pins = frozenset(database.rows(_PINS))
    highest = database.rows("SELECT ifnull(max(id), 0) FROM item")[0][0]
    reached = Reached(bytearray(highest // 8 + 1), pins, edge)
    parts = [each for each in map(rows.split, also) if each is not None]
    ahead = [
        *_ids(database, [key for key, _, alone in pins if not alone]),
        *_ids(database, [key for key, _ in parts]),
    ]
    if database.rows("SELECT 1 FROM admission LIMIT 1"):
        # Only then: the scan reads every row, and there are none to find otherwise.
        ahead += [
            id for (id,) in database.rows("SELECT id FROM item WHERE admission >= ?", (edge,))
        ]
    _spread(database, reached, ahead)
    for id in _ids(database, [key for key, _, alone in pins if alone]):
        _enter(reached, id)
    return reached


def _spread(database: Database, reached: Reached, ahead: list[int]) -> None:
    """Add the items `ahead` and all they refer to."""
    ahead = [id for id in ahead if _enter(reached, id)]
    while ahead:
        batch, ahead = ahead[-_BATCH:], ahead[:-_BATCH]
        found = database.rows(f"SELECT refs FROM item WHERE id IN ({_MARKS})", _filled(batch))
        bases = {base for (refs,) in found for base in refs.split()}
        keys = [parts[0] for parts in map(rows.split, bases) if parts is not None]
        ahead += [id for id in _ids(database, keys) if _enter(reached, id)]


def _enter(reached: Reached, id: int) -> bool:
    """Add an id; tell whether it is new. Ids past the end arrived after the start: spared."""
    if id >> 3 >= len(reached.bitmap) or id in reached:
        return False
    reached.bitmap[id >> 3] |= 1 << (id & 7)
    return True


def _ids(database: Database, keys: Sequence[bytes]) -> Iterator[int]:
    ahead = iter(keys)
    while batch := list(islice(ahead, _BATCH)):
        found = database.rows(f"SELECT id FROM item WHERE hash IN ({_MARKS})", _filled(batch))
        yield from (id for (id,) in found)


def _filled(batch: Sequence[Any]) -> tuple[Any, ...]:
    """Fill a batch up, so that one statement is prepared and kept."""
    return (*batch, *(None,) * (_BATCH - len(batch)))


def unreached(database: Database, reached: Reached) -> Iterator[str]:
    """Give the base names of the items that are not reached and may be taken out."""
    last = 0
    query = (
        f"SELECT id, hash, name FROM item WHERE id > ? AND admission < ? ORDER BY id LIMIT {_BATCH}"
    )
    while page := database.rows(query, (last, reached.horizon)):
        last = page[-1][0]
        for id, key, name in page:
            if id not in reached:
                yield f"{rows.hash_part(key)}-{name}"


def sweep(connection: sqlite3.Connection, reached: Reached, bases: Iterable[str]) -> bool:
    """Take out those of `bases` that nobody has met since; see Catalogue.sweep."""
    if frozenset(connection.execute(_PINS)) - reached.pins:
        return False
    free = []
    for base in bases:
        parts = rows.split(base)
        found = (
            parts
            and connection.execute(
                "SELECT id FROM item WHERE hash = ? AND name = ? AND admission < ?",
                (*parts, reached.horizon),
            ).fetchone()
        )
        if found and found[0] not in reached:
            free.append(base)
    record.remove(connection, free)
    return True
