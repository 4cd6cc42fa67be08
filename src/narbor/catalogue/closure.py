"""Who lacks whom: completeness of closures, kept true as items come and go in any order.

An item is complete when all it refers to is here and complete; a reference to itself does not
count. The table `waiting` holds the incomplete ones, each with the number of its references that
are absent or incomplete. When an item becomes complete, or ceases to be, its referrers' numbers
move by one, and so on upwards: a worklist, since graphs are deep. All functions work within the
transaction that is open.
"""

import sqlite3
from collections.abc import Iterable

_FOUND = "SELECT id, EXISTS (SELECT 1 FROM waiting WHERE item = id) FROM item WHERE hash = ?"


def new_id(connection: sqlite3.Connection) -> int:
    """Return an id that neither an item nor an absent one has."""
    highest = (
        "SELECT max(ifnull((SELECT max(id) FROM item), 0), ifnull((SELECT max(id) FROM absent), 0))"
    )
    return int(connection.execute(highest).fetchone()[0]) + 1


def claim_id(connection: sqlite3.Connection, key: bytes) -> int:
    """Return the id for an item that arrives: the one it was missed under, or a new one."""
    found = connection.execute("DELETE FROM absent WHERE hash = ? RETURNING id", (key,)).fetchall()
    return int(found[0][0]) if found else new_id(connection)


def enter(connection: sqlite3.Connection, id: int, keys: Iterable[bytes]) -> None:
    """Note the references `keys` (itself not among them) of the item `id`, just written."""
    edges, lacking = [], 0
    for key in keys:
        target, incomplete = _target(connection, key)
        edges.append((target, id))
        lacking += incomplete
    connection.executemany("INSERT INTO edge VALUES (?, ?)", edges)
    if lacking:
        connection.execute("INSERT INTO waiting VALUES (?, ?)", (id, lacking))
    else:
        _completed(connection, id)


def _target(connection: sqlite3.Connection, key: bytes) -> tuple[int, bool]:
    """Return the id of what is referred to, and whether it is absent or incomplete."""
    found = connection.execute(_FOUND, (key,)).fetchone()
    if found is not None:
        return int(found[0]), bool(found[1])
    found = connection.execute("SELECT id FROM absent WHERE hash = ?", (key,)).fetchone()
    if found is not None:
        return int(found[0]), True
    id = new_id(connection)
    connection.execute("INSERT INTO absent VALUES (?, ?)", (id, key))
    return id, True


def _completed(connection: sqlite3.Connection, id: int) -> None:
    """Tell the referrers of `id`, which is now complete, and theirs."""
    done = [id]
    while done:
        moved = connection.execute(
            "UPDATE waiting SET lacking = lacking - 1 "
            "WHERE item IN (SELECT item FROM edge WHERE target = ?) RETURNING item, lacking",
            (done.pop(),),
        ).fetchall()
        ready = [(item,) for item, lacking in moved if lacking == 0]
        connection.executemany("DELETE FROM waiting WHERE item = ?", ready)
        done.extend(item for (item,) in ready)


def leave(connection: sqlite3.Connection, id: int, key: bytes, keys: Iterable[bytes]) -> None:
    """Take out the item `id` (hash part `key`), which refers to `keys`, before its row goes."""
    waited = connection.execute("DELETE FROM waiting WHERE item = ? RETURNING 1", (id,)).fetchall()
    if not waited:
        _uncompleted(connection, id)
    for target in keys:
        found = connection.execute(
            "SELECT id FROM item WHERE hash = ?1 UNION ALL SELECT id FROM absent WHERE hash = ?1",
            (target,),
        ).fetchone()
        connection.execute("DELETE FROM edge WHERE target = ? AND item = ?", (found[0], id))
        connection.execute(
            "DELETE FROM absent WHERE id = ?1 AND NOT EXISTS "
            "(SELECT 1 FROM edge WHERE target = ?1)",
            (found[0],),
        )
    connection.execute(
        "INSERT INTO absent SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM edge WHERE target = ?1)",
        (id, key),
    )


def _uncompleted(connection: sqlite3.Connection, id: int) -> None:
    """Tell the referrers of `id`, which is no longer complete, and theirs."""
    lost = [id]
    while lost:
        moved = connection.execute(
            "INSERT INTO waiting SELECT item, 1 FROM edge WHERE target = ? "
            "ON CONFLICT DO UPDATE SET lacking = lacking + 1 RETURNING item, lacking",
            (lost.pop(),),
        ).fetchall()
        lost.extend(item for item, lacking in moved if lacking == 1)
