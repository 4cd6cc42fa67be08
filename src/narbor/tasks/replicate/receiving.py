"""Blocks that others push into this store, and roots that are kept for them.

    put, put, ... ──▶ keep NAME ROOT ──▶ is all there below the root?
                                          no: what is missing is told, and the sender goes on
                                          yes: kept by name; a cache's items are admitted

The store is opened for writing by the first push, and closed when nobody pushes any more. Each
sender has an admission of its own, from the first push until a root is kept or nothing was heard
for an hour, so that no collection takes half of what comes. A process that is killed leaves blocks
that nothing leads to: the next collection takes them. Names are a sender's own: what `laptop` keeps
as `narbor/cache` is kept here as `laptop/narbor/cache`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from narbor.blocks.index import is_kept
from narbor.errors import Rejected, Unavailable
from narbor.formats import exchange, frames, ipld
from narbor.formats.exchange import Failure, Outcome
from narbor.library import Library
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.replicate import arrive, intake, releases
from narbor.tasks.replicate.arrive import Terms
from narbor.tasks.replicate.intake import Failed, TakenIn

IDLE: Final = 3600.0
"""Seconds without a word after which a sender is forgotten."""
PATIENCE: Final = 2.0
"""Seconds that a sender waits for the outcome before it is told to ask again."""
_BATCH_BYTES: Final = 4 << 20
_LOOK: Final = 60.0

_Key = tuple[str, str, Cid]


class BadBlock(Rejected):
    """What was pushed is not what it says it is."""


class TooMuch(Rejected):
    """More was pushed at once than is taken at once."""


@dataclass(slots=True)
class _Session:
    """A sender that pushes. `at` is when it was last heard of, `busy` what is under way for it."""

    admission: int
    at: float
    busy: int = 0


class Receiving:
    """What one process takes in. Safe for threads.

    `open` opens the store for writing; `terms` are made anew for each root; `clock` gives seconds.
    """

    def __init__(
        self,
        open: Callable[[], Library],
        terms: Callable[[], Terms],
        clock: Callable[[], float],
        patience: float = PATIENCE,
    ) -> None:
        self._open = open
        self._terms = terms
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._deciding = threading.Lock()
        self._library: Library | None = None
        self._sessions: dict[str, _Session] = {}
        self._jobs: dict[_Key, tuple[Future[Outcome], float]] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="keep")
        self._watching = False

    def missing(self, sender: str, names: Sequence[Cid]) -> list[Cid]:
        """Return which of these are not here; those that are will stay until the sender is done."""
        with self._session(sender) as library:
            lacking = library.blocks.missing(name for name in names if is_kept(name))
        return [
            name
            for name in names
            if name in lacking or not (is_kept(name) or ipld.inlined(name) is not None)
        ]

    def put(self, sender: str, records: bytes) -> None:
        """Keep the blocks in these records, durably; identity blocks are passed over.

        Raises BadBlock, TooMuch, DiskFull, StoreFull. What stands before a bad block may be kept.
        """
        with self._session(sender) as library:
            terms = self._terms()
            if (free := library.free_bytes()) < terms.min_free:
                raise DiskFull(f"the disk has {free} bytes free, and {terms.min_free} must stay")
            store = library.blocks
            generation = store.generation
            for batch in _batches(records):
                store.put_many(batch)
            store.sync()
            if store.generation != generation:
                raise Unavailable("blocks could not be kept: writing failed meanwhile")

    def keep(self, sender: str, name: str, root: Cid) -> Outcome | None:
        """Keep a root with all below it; None when that takes longer: ask again."""
        key = (sender, name, root)
        # The other lock is held while the store is opened, which takes as long as it takes.
        with self._deciding:
            job = self._jobs.get(key, (None, 0.0))[0]
            if job is None:
                job = self._pool.submit(self._keep, sender, name, root)
                self._jobs[key] = job, self._clock()
        try:
            outcome = job.result(self._patience)
        except TimeoutError:
            if not job.done():
                return None
            raise
        finally:
            if job.done():
                with self._deciding:
                    self._jobs.pop(key, None)
        return outcome

    def _keep(self, sender: str, name: str, root: Cid) -> Outcome:
        with self._session(sender) as library:
            outcome = _kept(library, f"{sender}/{name}", root, self._terms())
        if not outcome.missing:
            self._end(sender)
        return outcome

    @contextmanager
    def _session(self, sender: str) -> Iterator[Library]:
        """Give the store, with an admission of the sender open."""
        with self._lock:
            if self._library is None:
                self._library = self._open()
            library = self._library
            session = self._sessions.get(sender)
            if session is None:
                terms = self._terms()
                id = library.catalogue.begin_admission(terms.now, terms.process)
                session = self._sessions[sender] = _Session(id, self._clock())
                self._watch()
            session.busy += 1
        try:
            yield library
        finally:
            with self._lock:
                session.busy -= 1
                session.at = self._clock()

    def _end(self, sender: str) -> None:
        """Forget a sender for which nothing is under way."""
        with self._lock:
            self._forget(sender)

    def expire(self) -> bool:
        """Forget senders that are silent; tell whether any is left."""
        before = self._clock() - IDLE
        with self._deciding:
            for key in [key for key, (job, at) in self._jobs.items() if job.done() and at < before]:
                del self._jobs[key]
        with self._lock:
            for sender in [name for name, each in self._sessions.items() if each.at < before]:
                self._forget(sender)
            self._watching = bool(self._sessions)
            return self._watching

    def _forget(self, sender: str) -> None:
        session, library = self._sessions.get(sender), self._library
        if session is None or session.busy or library is None:
            return
        library.catalogue.end_admission(session.admission)
        del self._sessions[sender]
        if not self._sessions:
            self._library = None
            library.close()

    def _watch(self) -> None:
        """Look from now on whether somebody is silent. The lock is held."""
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._look, name="senders", daemon=True).start()

    def _look(self) -> None:
        waiting = threading.Event()
        while not waiting.wait(_LOOK) and self.expire():
            continue


def _batches(records: bytes) -> Iterator[list[tuple[Cid, bytes]]]:
    """Give the blocks in records, hashed, a few at a time."""
    codec = frames.Codec(frames.DEFAULT_LEVEL)
    batch: list[tuple[Cid, bytes]] = []
    at = count = total = size = 0
    while at < len(records):
        found = frames.record(records, at)
        if found is None:
            raise BadBlock(f"byte {at} of what was sent: no record, or half of one")
        count, total = count + 1, total + found.size
        if count > exchange.MOST_NAMES or total > exchange.LARGEST_UNPACKED:
            raise TooMuch(
                f"more than {exchange.MOST_NAMES:,} blocks or {exchange.LARGEST_UNPACKED:,} bytes"
                " of them; send them in several requests"
            )
        at = found.offset + found.length
        block = codec.unpack(memoryview(records)[found.offset : at], found.size)
        if block is None or not cid.matches(found.name, block):
            raise BadBlock(f"what was sent as {cidtext.text(found.name)} is not that block")
        if is_kept(found.name):
            batch.append((found.name, block))
            size += len(block)
        elif ipld.inlined(found.name) is None:
            raise BadBlock(f"{cidtext.text(found.name)}: only blocks named by SHA-256 are kept")
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _kept(library: Library, name: str, root: Cid, terms: Terms) -> Outcome:
    """Keep a root if all is here below it, and take in its items if it is a cache."""
    missing = tuple(islice(arrive.absent(library, root), exchange.MOST_NAMES))
    if missing:
        return Outcome(missing)
    library.catalogue.keep_root(name, root, terms.now)
    if not intake.is_cache(library, root):
        return Outcome()
    failures: list[Failure] = []
    admitted = known = failed = 0
    for event in intake.admit_directory(library, root, terms.ring, terms.trusted, name):
        match event:
            case Failed(what, reason) if len(failures) < exchange.MOST_TOLD:
                failures.append(Failure(what, reason))
            case TakenIn():
                admitted, known, failed = event.admitted, event.known, event.failed
                library.catalogue.keep_items(name, event.tops)
    for _ in releases.take_in(library, root, terms.trusted, terms.now):
        continue
    return Outcome((), True, admitted, known, failed, tuple(failures))
