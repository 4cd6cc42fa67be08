"""Items into the catalogue and out of it, within the transaction that is open."""

import sqlite3
from collections.abc import Iterable

from narbor.catalogue import closure, rows
from narbor.catalogue.sqlite import Row
from narbor.catalogue.values import Admitted, Claim
from narbor.errors import Rejected, Unavailable
from narbor.names.digest import Seal
from narbor.names.item import Item, Rendering

_INSERT = f"INSERT INTO item ({rows.COLUMNS}, admission) VALUES ({', '.join('?' * 16)})"
_SPARE = "UPDATE item SET admission = max(admission, ?) WHERE hash = ? AND name = ?"
_SELECT = f"SELECT {rows.COLUMNS} FROM item WHERE hash = ?"


class ClosedAdmission(Unavailable):
    """The admission has ended, so its blocks may be gone: admit the item again."""


class MalformedRecord(Rejected):
    """A name or build id that should be recorded is not well formed."""


def record(connection: sqlite3.Connection, admitted: Admitted) -> None:
    """Write one item, or what is new of it; see Catalogue.record."""
    require_open(connection, admitted.admission)
    key = rows.key(admitted.item.path.hash_part)
    if key is None:
        raise MalformedRecord(f"{admitted.item.path} is no store path")
    found = connection.execute(_SELECT, (key,)).fetchone()
    if found is None:
        id = _insert(connection, key, admitted)
        item = admitted.item
    else:
        id = found[0]
        item = _item(connection, found)
        reason = _contradiction(item, admitted.item)
        if reason is not None:
            conflict(connection, admitted.claim, reason)
            return
        _add_root(connection, id, item, admitted.item)
        connection.execute(_SPARE, (admitted.admission, key, item.path.name))
    number = _add_claim(connection, id, item, admitted.claim)
    if number == 0:
        _unite(connection, id, item.signatures, admitted.item.signatures)
    for rendering in admitted.renderings:
        keep_rendering(connection, id, rendering)
    _add_build_ids(connection, id, admitted)


def require_open(connection: sqlite3.Connection, admission: int) -> None:
    """Raise ClosedAdmission unless the admission is open."""
    found = connection.execute("SELECT 1 FROM admission WHERE id = ?", (admission,))
    if found.fetchone() is None:
        raise ClosedAdmission(f"the admission {admission} is not open (any more)")


def spare(connection: sqlite3.Connection, bases: Iterable[str], admission: int) -> None:
    """Note that an open admission relies on these items; see Catalogue.spare."""
    require_open(connection, admission)
    parts = filter(None, map(rows.split, bases))
    connection.executemany(_SPARE, [(admission, *each) for each in parts])


def _item(connection: sqlite3.Connection, row: Row) -> Item:
    store, profile, origin = (rows.written_word(connection, row[at]) for at in (3, 11, 14))
    return rows.item(row, store, profile, origin)


def _insert(connection: sqlite3.Connection, key: bytes, admitted: Admitted) -> int:
    item = admitted.item
    id = closure.claim_id(connection, key)
    values = rows.item_values(connection, id, key, item)
    connection.execute(_INSERT, (*values, admitted.admission))
    connection.execute(
        "UPDATE total SET items = items + 1, nar_size = nar_size + ?", (item.seal.size,)
    )
    closure.enter(connection, id, _reference_keys(key, item.references))
    return id


def _reference_keys(own: bytes, references: Iterable[str]) -> list[bytes]:
    """Return the keys of what is referred to, each once, without the item's own."""
    keys: dict[bytes, None] = {}
    for base in references:
        parts = rows.split(base)
        if parts is None:
            raise MalformedRecord(f"the reference {base!r} is no store path name")
        keys[parts[0]] = None
    keys.pop(own, None)
    return list(keys)


def _contradiction(here: Item, said: Item) -> str | None:
    """Tell what `said` says that cannot be true while `here` is."""
    if here.path != said.path:
        return f"{said.path} has the hash part of {here.path}"
    if here.seal != said.seal:
        return f"{here.path}: {_spell(said.seal)}, but here it is {_spell(here.seal)}"
    return None


def _spell(seal: Seal) -> str:
    return f"NarHash {seal.digest}, NarSize {seal.size}"


def _add_root(connection: sqlite3.Connection, id: int, here: Item, said: Item) -> None:
    if said.profile != here.profile:
        profile = rows.word(connection, said.profile)
        values = (id, profile, said.tree, said.archive)
        connection.execute("INSERT OR IGNORE INTO root VALUES (?, ?, ?, ?)", values)


def _add_claim(connection: sqlite3.Connection, id: int, item: Item, claim: Claim) -> int:
    """Write the claim; return which of the item's fingerprints it has, 0 for the first."""
    prior = rows.dictionary(item)
    fingerprint = claim.fingerprint.encode("utf-8", "surrogateescape")
    known = connection.execute(
        "SELECT DISTINCT number, fingerprint FROM claim WHERE item = ? ORDER BY number", (id,)
    ).fetchall()
    same = (at for at, packed in known if rows.inflate(packed, prior) == fingerprint)
    number = int(next(same, known[-1][0] + 1 if known else 0))
    connection.execute(
        "INSERT OR REPLACE INTO claim VALUES (?, ?, ?, ?, ?, ?)",
        (
            id,
            number,
            rows.word(connection, claim.upstream),
            claim.time,
            rows.deflate(fingerprint, prior),
            rows.deflate(claim.text, prior),
        ),
    )
    return number


def _unite(
    connection: sqlite3.Connection, id: int, here: tuple[str, ...], said: tuple[str, ...]
) -> None:
    united = tuple(dict.fromkeys((*here, *said)))
    if united != here:
        values = ("\n".join(united), id)
        connection.execute("UPDATE item SET signatures = ? WHERE id = ?", values)


def keep_rendering(connection: sqlite3.Connection, id: int, rendering: Rendering) -> None:
    """Write an advertised rendering; one of the same compression that is there stays."""
    values = (id, rendering.compression, rows.keep_digest(rendering.digest), rendering.size)
    connection.execute("INSERT OR IGNORE INTO rendering VALUES (?, ?, ?, ?)", values)


def _add_build_ids(connection: sqlite3.Connection, id: int, admitted: Admitted) -> None:
    for text, member in admitted.build_ids:
        try:
            values = (bytes.fromhex(text), id, member)
        except ValueError as error:
            base = admitted.item.path.base
            raise MalformedRecord(f"{base}: the build id {text!r} is not hexadecimal") from error
        connection.execute("INSERT OR IGNORE INTO build_id VALUES (?, ?, ?)", values)


def conflict(connection: sqlite3.Connection, claim: Claim, reason: str) -> None:
    """Write that `claim` contradicts what is here; the newest of an upstream stays."""
    upstream = rows.word(connection, claim.upstream)
    values = (claim.base, upstream, claim.time, reason, rows.deflate(claim.text))
    connection.execute("INSERT OR REPLACE INTO conflict VALUES (?, ?, ?, ?, ?)", values)


def remove(connection: sqlite3.Connection, bases: Iterable[str]) -> None:
    """Take items out with all that is known of them; what is not here is passed over."""
    gone = []
    for base in bases:
        parts = rows.split(base)
        if parts is None:
            continue
        row = connection.execute(
            "SELECT id, refs, nar_size FROM item WHERE hash = ? AND name = ?", parts
        ).fetchone()
        if row is None:
            continue
        id, refs, nar_size = row
        closure.leave(connection, id, parts[0], _reference_keys(parts[0], refs.split()))
        connection.execute("DELETE FROM item WHERE id = ?", (id,))
        connection.execute(
            "UPDATE total SET items = items - 1, nar_size = nar_size - ?", (nar_size,)
        )
        gone.append(id)
    if gone and connection.execute("SELECT 1 FROM build_id LIMIT 1").fetchone():
        # By row, not by id: `build_id` has no index by item, and a batch needs one scan.
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY)")
        connection.execute("DELETE FROM temp.gone")
        connection.executemany("INSERT INTO temp.gone VALUES (?)", [(id,) for id in gone])
        connection.execute("DELETE FROM build_id WHERE item IN (SELECT id FROM temp.gone)")
