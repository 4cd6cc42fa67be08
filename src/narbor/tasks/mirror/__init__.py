"""Fetch items and all they refer to, verify every byte, keep them.

    paths ──▶ closure: narinfos, vouched for, of what is not here           (closure.py)
          ──▶ archives, the biggest first, checked, into the library        (fetch.py)
          ──▶ committed in groups

An item's failure is put on record, and the run goes on. What ends it: a full disk, a store that
cannot be written, an interruption. What was admitted until then is committed even so.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from narbor.errors import Refused
from narbor.formats import narinfo
from narbor.names.storepath import StorePath
from narbor.tasks.hall import Hall
from narbor.tasks.mirror import closure, fetch
from narbor.tasks.mirror.closure import Claimed, Here, Missing, Wanted
from narbor.tasks.mirror.fetch import Came, Crew, Fetcher, Kept, Lost, Remark
from narbor.tasks.mirror.sources import Complaint, Sources, Upstream
from narbor.tasks.progress import (
    Admitted,
    Committed,
    Counts,
    Done,
    Failed,
    Found,
    Listed,
    Moved,
    Noted,
    Progress,
    Skipped,
)

_COMMIT_ITEMS: Final = 256
_COMMIT_BYTES: Final = 128 << 20
_COMMIT_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.05


class OtherStore(Refused):
    """A path that is asked for does not belong to this store."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to mirror. `jobs` archives and `lookups` narinfos at one time; `min_free` in bytes.

    So many claims are `remembered` as they were read (1.2 kB each); those behind are kept as text,
    and read and checked once more. Claims have a `head_start` of so many seconds, in which to learn
    what is biggest; then archives are fetched beside them.

    `pin` keeps what is asked for by name until it is forgotten. `realisations` are looked for where
    an item has a content address, in the build trace of Nix 2.35.
    """

    closure: bool = True
    jobs: int = 8
    lookups: int = 32
    print_only: bool = False
    pin: bool = True
    logs: bool = False
    realisations: bool = False
    min_free: int = 0
    remembered: int = 50_000
    head_start: float = 3.0


def mirror(
    library: Hall,
    upstreams: Sequence[Upstream],
    paths: Iterable[StorePath],
    options: Options | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Progress, None, None]:
    """Bring `paths`, and unless told otherwise their closures, into the library.

    Gives progress; the last value is Done. Close the iterator to give up. Raises DiskFull and what
    the library raises when it cannot keep anything; OtherStore and WrongStore for calls that cannot
    be meant; what the upstreams raise when there is none that could be asked.
    """
    return _Run(library, Sources(upstreams, clock), options or Options(), clock).all(paths)


class _Run:
    """One run: the counts, what failed, and what waits to be committed."""

    def __init__(
        self, library: Hall, sources: Sources, options: Options, clock: Callable[[], float]
    ) -> None:
        self._library = library
        self._sources = sources
        self._options = options
        self._clock = clock
        self._counts = Counts()
        self._failed: list[Failed] = []
        self._wanted: list[Wanted] = []
        self._on_record: set[str] = set()
        self._records: list[tuple[str, str, str]] = []
        self._had: list[str] = []
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        self._committed_at = clock()

    def all(self, paths: Iterable[StorePath]) -> Generator[Progress, None, None]:
        """Do the whole."""
        roots = list(paths)
        self._require_store(roots)
        for text in self._sources.open(self._library.store):
            yield Noted(text, self._counts)
        if self._options.print_only:
            yield from filter(None, self._discover(roots))
            yield from self._list()
        else:
            # What comes in is reached from no pin until the top of its closure is here.
            with self._library.hold() as spare:
                yield from self._keep(roots, spare)
        self._failed.sort(key=lambda failed: failed.path)
        yield Done(tuple(self._failed), self._counts)

    def _keep(
        self, roots: list[StorePath], spare: Callable[[Iterable[str]], None]
    ) -> Generator[Progress, None, None]:
        self._on_record = {failure.base for failure in self._library.failures()}
        if self._options.pin:
            self._library.pin(*roots, alone=not self._options.closure)
        here: list[str] = []
        items = 0
        due = self._clock() + self._options.head_start
        try:
            with self._crew() as crew, closing(self._discover(roots)) as steps:
                for step in steps:
                    if isinstance(step, Skipped):
                        here.append(step.path.rpartition("/")[2])
                        if len(here) >= _COMMIT_ITEMS:
                            spare(here)
                            here.clear()
                    if step is not None:
                        yield step
                    if self._clock() >= due:
                        # One claim that does not come must not hold up all archives.
                        self._hand_over(crew)
                        yield from self._gathered(crew.ready())
                if here:
                    spare(here)
                self._hand_over(crew)
                yield from self._gathered(crew.results(tick=_COMMIT_SECONDS))
        finally:
            # The threads are through. What they admitted is good, whatever ended the run.
            items = self._commit()
        if items:
            yield Committed(items, self._counts)

    def _require_store(self, roots: Iterable[StorePath]) -> None:
        for path in roots:
            if path.store != self._library.store:
                raise OtherStore(
                    f"{path} does not lie in {self._library.store}, as this store does"
                )

    def _count(self, **more: int) -> Counts:
        changes = {name: getattr(self._counts, name) + number for name, number in more.items()}
        self._counts = replace(self._counts, **changes)
        return self._counts

    def _discover(self, roots: Iterable[StorePath]) -> Generator[Progress | None, None, None]:
        options = self._options
        steps = closure.walk(
            self._library, self._sources, roots, options.closure, options.lookups, _TICK_SECONDS
        )
        for step in steps:
            match step:
                case None:
                    yield None
                case Here(path):
                    self._clear(path.base)
                    yield Skipped(str(path), self._count(skipped=1))
                case Missing(path, complaints):
                    self._count(wanted=1)
                    yield self._fail(path, complaints)
                case Claimed(wanted, vouched):
                    if self._counts.wanted < options.remembered:
                        wanted = replace(wanted, vouched=vouched)
                    self._wanted.append(wanted)
                    counts = self._count(wanted=1, expected=wanted.weight)
                    claim = vouched.narinfo
                    name = self._sources[wanted.source].name
                    size = claim.seal.size
                    yield Found(str(wanted.path), name, size, claim.file_size, counts)

    def _list(self) -> Iterator[Progress]:
        for wanted in sorted(self._wanted, key=lambda wanted: wanted.path):
            claim = narinfo.parse(wanted.text)
            url = self._sources[wanted.source].cache.address(claim)
            file_hash = None if claim.file_hash is None else str(claim.file_hash)
            yield Listed(str(claim.path), url, file_hash, claim.file_size, self._counts)

    def _crew(self) -> Crew:
        options = self._options
        fetcher = Fetcher(
            self._library, self._sources, options.min_free, options.logs, options.realisations
        )
        return Crew(
            fetcher.fetch, options.jobs, lambda wanted: -wanted.weight, self._sources.abandoned
        )

    def _hand_over(self, crew: Crew) -> None:
        while self._wanted:
            crew.put(self._wanted.pop())

    def _gathered(self, events: Iterable[fetch.Event | None]) -> Iterator[Progress]:
        for event in chain(events, [None]):
            if event is not None:
                yield self._told(event)
            if self._is_due():
                yield Committed(self._commit(), self._counts)

    def _told(self, event: fetch.Event) -> Progress:
        match event:
            case Came(size):
                return Moved(self._count(fetched=size))
            case Remark(text):
                return Noted(text, self._counts)
            case Lost(wanted, complaints, came, rest):
                self._count(fetched=rest, expected=came - wanted.weight)
                return self._fail(wanted.path, complaints)
            case Kept(wanted, upstream, nar_size, difference, came, rest):
                self._waiting.append(wanted.path.base)
                self._waiting_bytes += nar_size
                counts = self._count(admitted=1, fetched=rest, expected=came - wanted.weight)
                return Admitted(str(wanted.path), upstream, nar_size, difference, counts)

    def _fail(self, path: StorePath, complaints: Iterable[Complaint]) -> Failed:
        reasons = tuple((each.upstream, each.reason) for each in complaints)
        if not self._options.print_only:
            self._records += ((path.base, upstream, reason) for upstream, reason in reasons)
        if len(self._records) >= _COMMIT_ITEMS:
            self._write_down()
        failed = Failed(str(path), reasons, self._count(failed=1))
        self._failed.append(failed)
        return failed

    def _is_due(self) -> bool:
        return bool(self._waiting) and (
            len(self._waiting) >= _COMMIT_ITEMS
            or self._waiting_bytes >= _COMMIT_BYTES
            or self._clock() - self._committed_at >= _COMMIT_SECONDS
        )

    def _commit(self) -> int:
        items = self._library.commit()
        for base in self._waiting:
            self._clear(base)
        self._write_down()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._committed_at = self._clock()
        return items

    def _clear(self, base: str) -> None:
        if base in self._on_record:
            self._on_record.discard(base)
            self._had.append(base)

    def _write_down(self) -> None:
        """Put on record what failed since the last time, and strike off what was had."""
        if self._records:
            self._library.fail(self._records)
            self._records = []
        if self._had:
            self._library.cleared(*self._had)
            self._had = []
