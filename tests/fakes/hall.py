"""A library in memory, for tasks: it verifies what it admits, commits, and can run full."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256

from narbor.blocks.files import StoreFull
from narbor.catalogue import Failure
from narbor.formats import nar
from narbor.formats.streams import checked
from narbor.formats.vouched import Vouched, discharge
from narbor.names import cid
from narbor.names.item import Item
from narbor.names.storepath import StorePath


class MemoryHall:
    """Items by base name. `full_after` admissions, the disk is full."""

    def __init__(self, store: str = "/nix/store") -> None:
        self.store = store
        self.spared: set[str] = set()
        self.items: dict[str, Item] = {}
        self.archives: dict[str, bytes] = {}
        self.records: dict[tuple[str, str], str] = {}
        self.conflicts: list[tuple[StorePath, str, bytes, str]] = []
        self.pins: dict[str, bool] = {}
        self.logs: dict[str, bytes] = {}
        self.realisations: dict[str, bytes] = {}
        self.strikes: list[str] = []
        self.commits: list[int] = []
        self.free = 1 << 40
        self.full_after: int | None = None
        self._lock = threading.Lock()
        self._ready: list[tuple[Item, bytes]] = []

    @property
    def free_bytes(self) -> Callable[[], int]:
        """As the library has it: a function."""
        return lambda: self.free

    def known(self, bases: Iterable[str]) -> set[str]:
        """Which are here."""
        return set(bases) & set(self.items)

    def complete(self, base: str) -> bool:
        """Whether all that the item leads to is here."""
        seen: set[str] = set()
        todo = [base]
        while todo:
            here = todo.pop()
            if here in seen:
                continue
            seen.add(here)
            if here not in self.items:
                return False
            todo += self.items[here].references
        return True

    def item(self, base: str) -> Item | None:
        """The item."""
        return self.items.get(base)

    def admit(self, vouched: Vouched, archive: Iterable[bytes], origin: str) -> Item:
        """Verify and keep, but for the row."""
        with self._lock:
            if self.full_after == 0:
                raise StoreFull("cannot write: No space left on device")
            if self.full_after is not None:
                self.full_after -= 1
        claim = vouched.narinfo
        read = b"".join(
            checked(discharge(vouched, archive), claim.seal, f"the NAR of {claim.path}")
        )
        for _ in nar.parse([read]):
            pass
        root = cid.Cid(sha256(read).digest())
        item = Item(
            claim.path,
            claim.seal,
            claim.references,
            claim.deriver,
            claim.signatures,
            claim.ca,
            claim.extra,
            "none",
            root,
            root,
            origin,
        )
        self._ready.append((item, read))
        return item

    def commit(self) -> int:
        """Write the rows."""
        ready, self._ready = self._ready, []
        for item, archive in ready:
            self.items[item.path.base] = item
            self.archives[item.path.base] = archive
        self.commits.append(len(ready))
        return len(ready)

    @contextmanager
    def hold(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """Note what the run relies on."""
        yield self.spared.update

    def pin(self, *paths: StorePath, alone: bool = False) -> None:
        """Write pins down."""
        self.pins |= dict.fromkeys((path.base for path in paths), alone)

    def fail(self, failures: Iterable[tuple[str, str, str]]) -> None:
        """Put failures on record."""
        self.records |= {(base, upstream): reason for base, upstream, reason in failures}

    def failures(self) -> tuple[Failure, ...]:
        """What is on record."""
        return tuple(Failure(base, up, why, 0) for (base, up), why in self.records.items())

    def cleared(self, *bases: str) -> None:
        """Strike failures off."""
        self.strikes += bases
        for key in [key for key in self.records if key[0] in bases]:
            del self.records[key]

    def conflict(self, path: StorePath, upstream: str, text: bytes, reason: str) -> None:
        """Put a contradiction on record."""
        self.conflicts.append((path, upstream, text, reason))

    def log(self, name: str) -> bytes | None:
        """A build log."""
        return self.logs.get(name)

    def keep_log(self, name: str, text: bytes) -> None:
        """Keep a build log."""
        self.logs[name] = text

    def keep_realisation(self, id: str, text: bytes) -> None:
        """Keep a realisation."""
        self.realisations[id] = text
