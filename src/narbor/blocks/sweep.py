"""Letting blocks go: condemned first, deleted later, room freed by moving what lives.

1. `condemn` marks every block that is not live with the epoch of this collection.
2. An admission that meets a condemned block saves it (Index.claim, Index.add).
3. The caller waits for the admissions that are older than the epoch, and reprieves what they and
   later ones hold.
4. `delete` takes out what is condemned still.
5. `compact` moves the frames that live out of packs that are mostly garbage, byte for byte: digests
   were given for them. The old pack is retired, and unlinked by `purge` after a grace, so that who
   has looked a place up can still read it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from narbor.blocks.index import Place, is_kept, key_of, name_of
from narbor.blocks.packs import PackStore
from narbor.formats import frames
from narbor.names import cid
from narbor.names.cid import Cid

_PAGE: Final = 10_000
_MOVED: Final = 200  # frames moved at one time, of at most a MiB each
_GARBAGE: Final = 0.3  # of a pack: worth moving the rest for
_HEAD: Final = 57  # bytes before a frame whose CID has the usual 36
_LOOK: Final = 100  # digests looked up at once, under each of these codecs
_CODECS: Final = (cid.DAG_PB, cid.DAG_CBOR, cid.DAG_JSON, cid.CBOR, cid.JSON, cid.LIBP2P_KEY)
_PREFIXES: Final = (b"", *map(cid.varint, _CODECS))


@dataclass(frozen=True, slots=True)
class Room:
    """So many blocks, and their bytes at rest."""

    blocks: int
    bytes: int


class Live:
    """A set of blocks as a bitmap over their ids: 10 million take 1.25 MB."""

    def __init__(self, store: PackStore) -> None:
        self._store = store
        self._bits = bytearray()

    def add(self, name: Cid) -> bool:
        """Mark a block; tell whether it is here and was not marked before."""
        id = self.id_of(name)
        return id is not None and self.add_id(id)

    def id_of(self, name: Cid) -> int | None:
        """Return the id of a block; None if it is not here, as none is that packs cannot keep."""
        if not is_kept(name):
            return None
        found = self._store.index.rows("SELECT id FROM block WHERE key = ?", (key_of(name),))
        return int(found[0][0]) if found else None

    def add_id(self, id: int) -> bool:
        """Mark a block by its id; tell whether it was not marked before."""
        at, bit = divmod(id, 8)
        if at >= len(self._bits):
            self._bits.extend(bytes(at + 1 - len(self._bits) + (len(self._bits) >> 1)))
        new = not self._bits[at] >> bit & 1
        self._bits[at] |= 1 << bit
        return new

    def add_hashes(self, digests: Iterable[bytes]) -> None:
        """Mark all blocks with these SHA-256 digests, under whatever codec they are here."""
        waiting = iter(digests)
        while batch := list(islice(waiting, _LOOK)):
            keys = [prefix + digest for digest in batch for prefix in _PREFIXES]
            marks = ",".join("?" * len(keys))
            query = f"SELECT id FROM block WHERE key IN ({marks})"
            for (id,) in self._store.index.rows(query, keys):
                self.add_id(id)

    def __contains__(self, id: int) -> bool:
        at, bit = divmod(id, 8)
        return at < len(self._bits) and bool(self._bits[at] >> bit & 1)


def newest(store: PackStore) -> int:
    """Return the id of the newest block: only what is as old can be condemned."""
    return int(store.index.rows("SELECT coalesce(max(id), 0) FROM block")[0][0])


def dead(store: PackStore, live: Live, newest: int) -> Iterator[tuple[int, int]]:
    """Give id and frame length of each block up to `newest` that is not live."""
    last = 0
    while page := store.index.rows(
        "SELECT id, length FROM block WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
        (last, newest, _PAGE),
    ):
        yield from ((id, length) for id, length in page if id not in live)
        last = page[-1][0]


def condemn(store: PackStore, live: Live, newest: int, epoch: int) -> Room:
    """Condemn every block up to `newest` that is not live; return how much that is."""
    count = size = 0
    waiting = dead(store, live, newest)
    while page := list(islice(waiting, _PAGE)):
        with store.index.writing() as link:
            link.executemany(
                "UPDATE block SET condemned = ? WHERE id = ?", [(epoch, id) for id, _ in page]
            )
        count += len(page)
        size += sum(length for _, length in page)
    return Room(count, size)


def absolve(store: PackStore) -> None:
    """Save every block that an earlier collection condemned and left: its marks are out of date."""
    with store.index.writing() as link:
        link.execute("UPDATE block SET condemned = NULL WHERE condemned IS NOT NULL")


def reprieve(store: PackStore, names: Iterable[Cid]) -> None:
    """Save blocks that were condemned."""
    with store.index.writing() as link:
        link.executemany(
            "UPDATE block SET condemned = NULL WHERE key = ? AND condemned IS NOT NULL",
            ((key_of(name),) for name in names),
        )


def delete(store: PackStore, epoch: int) -> Room:
    """Take out what is condemned since `epoch` or before; return how much that was."""
    with store.index.writing() as link:
        count, size = link.execute(
            "SELECT count(*), coalesce(sum(length), 0) FROM block WHERE condemned <= ?", (epoch,)
        ).fetchone()
        link.execute("DELETE FROM block WHERE condemned <= ?", (epoch,))
    return Room(int(count), int(size))


def compact(store: PackStore, now: int) -> int:
    """Empty the packs that are mostly garbage; return the bytes that unlinking them will free."""
    freed = 0
    for id, (name, indexed) in store.index.packs().items():
        if store.index.is_retired(id):
            continue
        live, count = store.index.rows(
            "SELECT coalesce(sum(length), 0), count(*) FROM block WHERE pack = ?", (id,)
        )[0]
        live += count * _HEAD
        if indexed - live <= _GARBAGE * indexed:
            continue
        owned = store.files.adopt(name)
        if owned is None:
            continue  # another process writes to it: the next collection will see
        try:
            empty(store, id, now)
        finally:
            owned.close()
        freed += store.files.size(name) - live
    return freed


def empty(store: PackStore, pack: int, now: int) -> None:
    """Retire a pack: copy what lives in it to this process's own, and point the index there."""
    with store.index.writing() as link:
        link.execute("UPDATE pack SET retired = ? WHERE id = ?", (now, pack))
    while page := store.index.rows(
        "SELECT key, pack, offset, length, size FROM block WHERE pack = ? ORDER BY offset LIMIT ?",
        (pack, _MOVED),
    ):
        names = [name_of(key) for key, *_ in page]
        heads = [len(frames.head(name, 0, 0, 0)) for name in names]
        whole = [
            Place(pack, offset - head, head + length, size)
            for head, (_, _, offset, length, size) in zip(heads, page, strict=True)
        ]
        records = map(bytes, store.frames(whole))
        sizes = [place.size for place in whole]
        store.move(list(zip(names, records, heads, sizes, strict=True)))


def purge(store: PackStore, before: int) -> int:
    """Unlink the packs that were retired before that time; return the bytes freed."""
    freed = 0
    for id, name in store.index.rows("SELECT id, name FROM pack WHERE retired < ?", (before,)):
        freed += store.files.size(name)
        store.files.remove(name)
        with store.index.writing() as link:
            link.execute("DELETE FROM pack WHERE id = ?", (id,))
    return freed
