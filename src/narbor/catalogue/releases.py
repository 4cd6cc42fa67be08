"""Releases of channels: which there are, what they list, and which one a channel is at.

A release is recorded while it is in the making, and published when its files are in place. From
then on its record does not change. A channel is moved on (`advance`) to newer releases only, newer
as Nix compares versions; an operator may also promote any release, roll back, and freeze.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from narbor.catalogue import rows
from narbor.catalogue.notes import Notes
from narbor.catalogue.sqlite import Row
from narbor.catalogue.values import Channel, Lacking, Release
from narbor.errors import Refused, Rejected
from narbor.names import release as names

_PAGE: Final = 1000
_COLUMNS: Final = (
    "channel.name, release.name, evaluation, source, revision, release.time, published"
)
_CHANNEL: Final = (
    "SELECT channel.name, release.name, reached, frozen, channel.time FROM channel "
    "LEFT JOIN release ON release.id = current"
)
_INSERT: Final = (
    "INSERT INTO release (channel, name, evaluation, source, revision, time, published) "
    "VALUES (?, ?, ?, ?, ?, ?, NULL)"
)
_FIND: Final = (
    "SELECT release.id, published FROM release JOIN channel ON channel.id = release.channel "
    "WHERE channel.name = ? AND release.name = ?"
)
# What doors do not show of what is listed: it is not here, or its closure is not.
_LACKING: Final = "(item.id IS NULL OR EXISTS (SELECT 1 FROM waiting WHERE waiting.item = item.id))"


class NoRelease(Refused):
    """There is no such release, or none of the kind that is needed."""


class Published(Refused):
    """A release that is published is to be recorded again, or one in use taken out."""


class Frozen(Refused):
    """A channel that is frozen is to be moved."""


class MalformedPath(Rejected):
    """A name that a release lists is no base name of a store path."""


class Releases(Notes):
    """Channels and releases, each with its writer and its reader. Safe for threads."""

    def record_release(self, release: Release, bases: Iterable[str]) -> None:
        """Write a release that is in the making, with all that it lists (base names).

        One in the making of the same name is replaced. The channel is made when it is new.
        Raises Published, MalformedRelease, MalformedPath.
        """
        names.parse(release.name)
        with self._database.writing() as connection:
            found = _find(connection, release.channel, release.name)
            if found is not None and found[1] is not None:
                raise Published(f"{release.channel}: {release.name} is published already")
            if found is not None:
                _forget(connection, found[0])
            id = _insert(connection, release)
            values = ((path_id(connection, base), id) for base in bases)
            connection.executemany("INSERT OR IGNORE INTO listed VALUES (?, ?)", values)

    def publish_release(self, channel: str, name: str, time: int) -> None:
        """Note that a release is whole; once more changes nothing. Raises NoRelease."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE release SET published = ifnull(published, ?) WHERE id = ?",
                (time, require(connection, channel, name)),
            )

    def releases(self, channel: str | None = None) -> tuple[Release, ...]:
        """Return the releases of a channel, or of all, by channel, the newest version first."""
        found = self._database.rows(
            f"SELECT {_COLUMNS} FROM release JOIN channel ON channel.id = release.channel "
            "WHERE ?1 IS NULL OR channel.name = ?1",
            (channel,),
        )
        newest = sorted((Release(*row) for row in found), key=_order, reverse=True)
        return tuple(sorted(newest, key=lambda each: each.channel))

    def release(self, channel: str, name: str) -> Release | None:
        """Return a release."""
        return next((each for each in self.releases(channel) if each.name == name), None)

    def channels(self) -> tuple[Channel, ...]:
        """Return all channels, by name."""
        found = self._database.rows(f"{_CHANNEL} ORDER BY channel.name")
        return tuple(map(_channel, found))

    def channel(self, name: str) -> Channel | None:
        """Return a channel."""
        found = self._database.rows(f"{_CHANNEL} WHERE channel.name = ?", (name,))
        return _channel(found[0]) if found else None

    def advance(self, channel: str, name: str, time: int) -> bool:
        """Move a channel on to a published release; tell whether it moved.

        It stays where it is when it is frozen, or was at this release or a newer one before: what
        was rolled back does not come again by itself. Raises NoRelease.
        """
        with self._database.writing() as connection:
            id = _require_published(connection, channel, name)
            reached, frozen = connection.execute(
                "SELECT reached, frozen FROM channel WHERE name = ?", (channel,)
            ).fetchone()
            known = None if reached is None else names.parse(reached)
            if frozen or (known is not None and not names.newer(names.parse(name), known)):
                return False
            _move(connection, channel, id, name, time)
            return True

    def promote(self, channel: str, name: str, time: int) -> None:
        """Move a channel to any published release; raises NoRelease, Frozen."""
        with self._database.writing() as connection:
            id = _require_published(connection, channel, name)
            _require_moving(connection, channel)
            _move(connection, channel, id, name, time)

    def rollback(self, channel: str, time: int) -> str:
        """Move a channel to the newest release older than its own; return that one's name.

        Raises NoRelease where there is none, Frozen.
        """
        with self._database.writing() as connection:
            _require_moving(connection, channel)
            found = connection.execute(
                "SELECT release.id, release.name, release.id = current FROM release "
                "JOIN channel ON channel.id = release.channel "
                "WHERE channel.name = ? AND published IS NOT NULL",
                (channel,),
            ).fetchall()
            ranked = sorted(found, key=lambda row: names.order(names.parse(row[1]).version))
            at = next((at for at, row in enumerate(ranked) if row[2]), 0)
            if not at:
                raise NoRelease(f"{channel} has no release older than the one it is at")
            id, name, _ = ranked[at - 1]
            _move(connection, channel, id, name, time)
            return str(name)

    def freeze(self, channel: str, frozen: bool, time: int) -> None:
        """Let a channel stand still, or move again; raises NoRelease for an unknown one."""
        with self._database.writing() as connection:
            moved = connection.execute(
                "UPDATE channel SET frozen = ?, time = ? WHERE name = ? RETURNING id",
                (frozen, time, channel),
            ).fetchall()
            if not moved:
                raise NoRelease(f"there is no channel {channel}")

    def remove_release(self, channel: str, name: str) -> None:
        """Take a release out, with what only it listed; without one nothing happens.

        Raises Published for the one that the channel is at.
        """
        with self._database.writing() as connection:
            found = _find(connection, channel, name)
            if found is None:
                return
            if connection.execute("SELECT 1 FROM channel WHERE current = ?", found[:1]).fetchone():
                raise Published(f"{channel} is at {name}: promote another one first")
            _forget(connection, found[0])

    def release_paths(self, channel: str, name: str) -> Iterator[str]:
        """Give the base names that a release lists, sorted."""
        id = self._release_id(channel, name)
        return iter(()) if id is None else (base for base, _ in self._listed(id))

    def listed_paths(self) -> Iterator[str]:
        """Give all base names that any release lists, each once, sorted: these are kept."""
        return (base for base, _ in self._listed(None))

    def lacking(self, channel: str, name: str) -> Iterator[Lacking]:
        """Give what a release lists and cannot be shown, sorted, and why."""
        id = self._release_id(channel, name)
        why: dict[str, list[tuple[str, str]]] = {}
        for failure in self.failures():
            why.setdefault(failure.base, []).append((failure.upstream, failure.reason))
        for base, here in () if id is None else self._listed(id, f"AND {_LACKING}"):
            missing = self.missing(base)
            reasons = (each for of in (base, *missing) for each in why.get(of, ()))
            yield Lacking(base, here, missing, tuple(reasons))

    def absent(self, base: str) -> tuple[str, ...]:
        """Return what is not here of an item and all it refers to, near and far, sorted."""
        ahead, seen = [base], {base}
        found = []
        while ahead:
            each = ahead.pop()
            if self.item(each) is None:
                found.append(each)
            new = set(self.missing(each)) - seen
            seen |= new
            ahead.extend(new)
        return tuple(sorted(found))

    def _release_id(self, channel: str, name: str) -> int | None:
        found = self._database.rows(_FIND, (channel, name))
        return int(found[0][0]) if found else None

    def _listed(self, release: int | None, also: str = "") -> Iterator[tuple[str, bool]]:
        """Give what a release lists, or any, page by page, and whether it is here."""
        last: Row = (b"", "")
        query = (
            "SELECT path.hash, path.name, item.id IS NOT NULL FROM path "
            "LEFT JOIN item ON item.hash = path.hash AND item.name = path.name "
            "WHERE (path.hash, path.name) > (?2, ?3) AND EXISTS (SELECT 1 FROM listed "
            f"WHERE listed.path = path.id AND (?1 IS NULL OR listed.release = ?1)) {also} "
            f"ORDER BY path.hash, path.name LIMIT {_PAGE}"
        )
        while page := self._database.rows(query, (release, *last)):
            last = page[-1][:2]
            for key, name, here in page:
                yield f"{rows.hash_part(key)}-{name}", bool(here)


def _insert(connection: sqlite3.Connection, release: Release) -> int:
    connection.execute(
        "INSERT OR IGNORE INTO channel (name, frozen, time) VALUES (?, 0, ?)",
        (release.channel, release.time),
    )
    query = "SELECT id FROM channel WHERE name = ?"
    channel = connection.execute(query, (release.channel,)).fetchone()[0]
    written = connection.execute(
        _INSERT,
        (
            channel,
            release.name,
            release.evaluation,
            release.source,
            release.revision,
            release.time,
        ),
    )
    return int(written.lastrowid or 0)


def path_id(connection: sqlite3.Connection, base: str) -> int:
    """Return the id of a path, given it now if it has none; raises MalformedPath."""
    parts = rows.split(base)
    if parts is None:
        raise MalformedPath(f"{base!r} is no store path name (32 letters, a dash, a name)")
    found = connection.execute("SELECT id FROM path WHERE hash = ? AND name = ?", parts).fetchone()
    if found is not None:
        return int(found[0])
    written = connection.execute("INSERT INTO path (hash, name) VALUES (?, ?)", parts)
    return int(written.lastrowid or 0)


def require(connection: sqlite3.Connection, channel: str, name: str) -> int:
    """Return the id of a release; raises NoRelease."""
    found = _find(connection, channel, name)
    if found is None:
        raise NoRelease(f"{channel} has no release {name}")
    return int(found[0])


def _require_published(connection: sqlite3.Connection, channel: str, name: str) -> int:
    found = _find(connection, channel, name)
    if found is None or found[1] is None:
        raise NoRelease(f"{channel} has no published release {name}")
    return int(found[0])


def _require_moving(connection: sqlite3.Connection, channel: str) -> None:
    query = "SELECT 1 FROM channel WHERE name = ? AND frozen"
    if connection.execute(query, (channel,)).fetchone():
        raise Frozen(f"{channel} is frozen: let it move again first")


def _find(connection: sqlite3.Connection, channel: str, name: str) -> Row | None:
    """The id of a release, and when it was published."""
    found: Row | None = connection.execute(_FIND, (channel, name)).fetchone()
    return found


def _move(connection: sqlite3.Connection, channel: str, id: int, name: str, time: int) -> None:
    query = "SELECT reached FROM channel WHERE name = ?"
    reached = connection.execute(query, (channel,)).fetchone()[0]
    if reached is None or names.newer(names.parse(name), names.parse(reached)):
        reached = name
    connection.execute(
        "UPDATE channel SET current = ?, reached = ?, time = ? WHERE name = ?",
        (id, reached, time, channel),
    )


def _forget(connection: sqlite3.Connection, release: int) -> None:
    """Take out a release, and the paths and packages that no other one has."""
    for table in ("offer", "listed"):
        connection.execute(f"DELETE FROM {table} WHERE release = ?", (release,))
    connection.execute(
        "DELETE FROM package WHERE NOT EXISTS (SELECT 1 FROM offer WHERE package = package.id)"
    )
    connection.execute(
        "DELETE FROM path WHERE NOT EXISTS (SELECT 1 FROM listed WHERE path = path.id) "
        "AND NOT EXISTS (SELECT 1 FROM output WHERE path = path.id)"
    )
    connection.execute("DELETE FROM release WHERE id = ?", (release,))


def _order(release: Release) -> tuple[object, ...]:
    return names.order(names.parse(release.name).version)


def _channel(row: Row) -> Channel:
    name, current, reached, frozen, time = row
    return Channel(name, current, reached, bool(frozen), time)
