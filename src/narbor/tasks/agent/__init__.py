"""A substituter on this machine: what is here, what is near, and only then what is far.

    claims.py    narinfos of all upstreams, in bounded time
    making.py    one item: from the local store, by blocks, as a NAR
    archive.py   an archive's bytes out of a DAG that is partly here
    sharing.py   leaves that several archives lack at one time
    seeds.py     what the local Nix store has of an item
    spool.py     an item's bytes while it is made
    keeper.py    the agent's own store, within its size

Nothing here raises to a client: what cannot be had is None, or a body that ends short.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from narbor.blocks import BlockDamaged, BlockMissing
from narbor.errors import Unavailable
from narbor.formats import narinfo
from narbor.formats.narinfo import Narinfo
from narbor.library import Library
from narbor.names.digest import Digest
from narbor.names.item import Item
from narbor.net.http import Http
from narbor.tasks.agent.archive import Archives, Root
from narbor.tasks.agent.claims import Claims, Found, root_of
from narbor.tasks.agent.counts import Counts
from narbor.tasks.agent.keeper import Keeper
from narbor.tasks.agent.kin import Family, Kin
from narbor.tasks.agent.making import Making, Means
from narbor.tasks.agent.seeds import Seeds
from narbor.tasks.agent.spool import HELD, Spool
from narbor.tasks.gather import Gatherer
from narbor.tasks.keep.collect import Circumstances

__all__ = ["Agent", "Archive", "Limits"]

_MAKERS: Final = 32  # items made at one time
_LATELY: Final = 60.0  # seconds for which an archive counts as likely to be asked for
_TOGETHER: Final = 256  # archives whose nodes are asked for in one go


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long. Sizes in bytes, times in seconds.

    `size`: of blocks at rest. `min_free`: on the disk, or nothing more is kept. `first`: until the
    first byte of an archive; `stall`: between two pieces of it. `held`: see Spool.
    """

    size: int = 5_000_000_000
    min_free: int = 0
    first: float = 10.0
    stall: float = 20.0
    held: int = HELD


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that may be had: its size, and how to read it. Reading may raise NarborError."""

    size: int
    read: Callable[[int, int], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent is put together from; `clients` by where they speak to."""

    library: Library
    claims: Claims
    gatherer: Gatherer
    seeds: Seeds | None
    folder: Path
    at: Callable[[], Circumstances]
    clock: Callable[[], float]
    clients: Mapping[str, Http]


class Agent:
    """Answers for items, from any thread."""

    def __init__(self, parts: Parts, limits: Limits) -> None:
        self._parts = parts
        self._limits = limits
        self.library = parts.library
        self._claims = parts.claims
        self._clock = parts.clock
        self._begun = parts.clock()
        self._counts = Counts()
        self._archives = Archives(parts.library.blocks, parts.gatherer, parts.clock)
        self._family = Family(parts.library, parts.seeds)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._lately: OrderedDict[Root, tuple[float, Narinfo]] = OrderedDict()
        self._makings: dict[str, Making] = {}
        self._made: list[str] = []
        self._makers = ThreadPoolExecutor(_MAKERS, thread_name_prefix="maker")
        self._keeper = Keeper(parts.library, limits.size, parts.at, parts.clock, self._committed)
        self._means = Means(
            parts.library,
            parts.claims,
            self._archives,
            parts.seeds,
            self._counts,
            self._family,
            self._ahead,
            limits.min_free,
        )

    @property
    def store(self) -> str:
        """The store directory of the items."""
        return self.library.store

    def version(self) -> int:
        """Return the version of the own store."""
        return self.library.version()

    def narinfo(self, hash_part: str) -> bytes | None:
        """Return what is said of an item, with its archive here; None where nothing can be said."""
        item = self._here(hash_part)
        if item is not None:
            self._counts.add(own_narinfos=1)
            seal = item.seal
            url = archive_url(hash_part, seal.digest)
            return narinfo.of_item(item, url, "none", seal.digest, seal.size, item.signatures)
        found = self._claims.find(hash_part)
        if found is None:
            return None
        claim = found.vouched.narinfo
        self._note(claim)
        return narinfo.write(
            replace(
                claim,
                url=archive_url(hash_part, claim.seal.digest),
                compression="none",
                file_hash=claim.seal.digest,
                file_size=claim.seal.size,
            )
        )

    def archive(self, hash_part: str, digest: Digest) -> Archive | None:
        """Return the archive of an item, if its NarHash is `digest`; None where it is not known."""
        item = self._here(hash_part)
        if item is not None and item.seal.digest == digest:
            return Archive(item.seal.size, lambda start, stop: self._own(item, start, stop))
        found = self._claims.find(hash_part)
        if found is None or found.vouched.narinfo.seal.digest != digest:
            return None
        size = found.vouched.narinfo.seal.size
        return Archive(size, lambda start, stop: self._new(found, start, stop))

    def _here(self, hash_part: str) -> Item | None:
        return self.library.catalogue.find(hash_part)

    def _note(self, claim: Narinfo) -> None:
        """Remember that an archive may be asked for soon."""
        root, seeds = root_of(claim), self._parts.seeds
        if root is None or (seeds is not None and seeds.knows(claim)):
            return
        with self._lock:
            self._lately[root, claim.seal.size] = (self._clock(), claim)
            while len(self._lately) > 16 * _TOGETHER:
                self._lately.popitem(last=False)

    def _ahead(self, root: Root, kin: Kin | None) -> None:
        """Have the nodes of an archive here, and with them those that are likely to be next."""
        with self._turn:
            oldest = self._clock() - _LATELY
            found = {} if kin is None else {root[0]: kin}
            batch = [root]
            others: list[tuple[Root, Narinfo]] = []
            with self._lock:
                self._lately.pop(root, None)
                while self._lately and len(others) < _TOGETHER:
                    other, (noted, claim) = self._lately.popitem(last=False)
                    if noted >= oldest:
                        others.append((other, claim))
            for other, claim in others:
                batch.append(other)
                near = self._family.near(claim)
                if near is not None:
                    found[other[0]] = near
            self._archives.nodes(batch, found)

    def _own(self, item: Item, start: int, stop: int) -> Iterator[bytes]:
        """Read an archive that is here; where it turns out to be damaged, it is fetched anew."""
        at = start
        with self._keeper.using(item.path.base):
            try:
                for chunk in self.library.archive(item, start, stop):
                    at += len(chunk)
                    self._counts.add(own_bytes=len(chunk), given=len(chunk))
                    yield chunk
                return
            except (BlockMissing, BlockDamaged) as error:
                self._drop(item, error)
        found = self._claims.find(item.path.hash_part)
        if found is None or found.vouched.narinfo.seal != item.seal:
            raise Unavailable(f"{item.path} is damaged here, and is to be had nowhere else")
        yield from self._new(found, at, stop)

    def _drop(self, item: Item, error: BlockMissing | BlockDamaged) -> None:
        """Let a damaged block and its item go, so that they can be kept anew."""
        self.library.blocks.delete([error.name])
        self.library.catalogue.remove([item.path.base])

    def _new(self, found: Found, start: int, stop: int) -> Iterator[bytes]:
        """Read an archive while it is made."""
        limits = self._limits
        for chunk in self._making(found).spool.read(start, stop, limits.first, limits.stall):
            self._counts.add(given=len(chunk))
            yield chunk

    def _making(self, found: Found) -> Making:
        """Return how an item is being made, by whoever asked first."""
        base, size = found.vouched.narinfo.path.base, found.vouched.narinfo.seal.size
        with self._lock:
            making = self._makings.get(base)
            if making is None:
                spool = self._spool(size)
                making = self._makings[base] = Making(found, self._means, spool)
                making.start(self._makers, self._finished)
        return making

    def _spool(self, size: int) -> Spool:
        try:
            return Spool(size, self._parts.folder, self._clock, self._limits.held)
        except OSError as error:
            raise Unavailable(f"{self._parts.folder} takes no file: {error.strerror}") from error

    def _finished(self, making: Making) -> None:
        """An item was made, or cannot be: who asks next finds it here, or begins anew."""
        base = making.found.vouched.narinfo.path.base
        with self._lock:
            if making.spool.whole:
                self._made.append(base)
            else:
                del self._makings[base]
        if making.spool.whole:
            self._family.add(base)
            self._keeper.admitted(base)

    def _committed(self) -> None:
        """What was made is in the store now, and read from there."""
        with self._lock:
            for base in self._made:
                if self._here(base[:32]) is not None:
                    del self._makings[base]
            self._made = [base for base in self._made if base in self._makings]

    def status(self) -> dict[str, object]:
        """Return all counts, as JSON has them."""
        sums, parts = self._counts.sums(), self._parts
        upstreams = [each.standing for each in self._claims.upstreams]
        sources = [lane.standing for lane in parts.gatherer.lanes]
        wire = {name: client.traffic for name, client in parts.clients.items()}
        fetched = sum(each.received for each in wire.values())
        return {
            "seconds": round(self._clock() - self._begun),
            "store": self.store,
            "items": self.library.sizes().items,
            "atRest": self.library.blocks.index.count()[1],
            "size": self._limits.size,
            "making": len(self._makings),
            "fetched": fetched,
            "saved": max(sums.get("plain", 0) - fetched, 0),
            "sums": sums,
            "upstreams": [{"name": each.name, **each.count().plain()} for each in upstreams],
            "sources": [{"name": each.name, **each.count().plain()} for each in sources],
            "wire": [
                {"name": name, "received": each.received, "sent": each.sent}
                for name, each in wire.items()
            ],
            "trouble": self._keeper.last,
        }

    def close(self) -> None:
        """End in order, and close the own store."""
        self.end()
        self.library.close()

    def give_up(self) -> None:
        """Let nobody wait for what is still to come from elsewhere; for any thread."""
        for client in self._parts.clients.values():
            client.give_up()

    def end(self) -> None:
        """Commit what was admitted, and give up what is under way."""
        self.give_up()
        self._claims.close()
        self._parts.gatherer.close()
        self._makers.shutdown(cancel_futures=True)
        self._keeper.close()


def archive_url(hash_part: str, digest: Digest) -> str:
    """Return where an archive is asked for.

    Nix keeps narinfos for a month: the URL alone must tell which item is meant.
    """
    return f"nar/{hash_part}/{digest.nix32}.nar"
