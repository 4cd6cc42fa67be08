"""Fetch the sources of a revision: each checked by its hash, each kept once for all revisions.

What is here already is only linked. A file is looked for at its own addresses, with `mirror://`
spelled out, the one after the other, then at those mirrors that know files by their hash; nothing
that does not check out is kept. What could not be had is written down for the revision.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from narbor.errors import NarborError, Rejected
from narbor.formats import nar, streams
from narbor.formats.mirrors import Mirrors
from narbor.formats.sources import Checkout, File, Sources
from narbor.formats.streams import Mismatch
from narbor.library import Library
from narbor.names.digest import Digest
from narbor.names.tarball import ALGORITHMS, Tarball, Unfetched
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.parallel import Cancelled, Pool
from narbor.tasks.tarballs import checkouts

_BATCH: Final = 500
_TIRED: Final = 3  # failures in a row after which a host is asked last


class Web(Protocol):
    """Where files are fetched from."""

    def body(self, url: str) -> Iterator[bytes]:
        """Give what lies at a URL, as it is."""
        ...

    def abandoned(self) -> AbstractContextManager[None]:
        """Let all that is under way end soon, for as long as this lasts."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How to fetch. `limit` and `min_free` are bytes, `now` is the time, in seconds since 1970."""

    now: int
    jobs: int = 8
    limit: int = 8 << 30
    min_free: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Linked:
    """So many of the sources were here already."""

    sources: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A source is not here, and would be looked for at these addresses."""

    name: str
    digest: Digest
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A source came, from `url`: `size` bytes, or the NAR of a tree with so many."""

    name: str
    digest: Digest
    url: str
    size: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A source could not be had."""

    source: Unfetched


@dataclass(frozen=True, slots=True)
class Done:
    """It is over; `failed` is what the log of the revision says."""

    failed: tuple[Unfetched, ...]


Event = Linked | Wanted | Fetched | Failed | Done
_Task = File | Checkout


def fetch(
    library: Library, web: Web, mirrors: Mirrors, revision: str, sources: Sources, options: Options
) -> Generator[Event, None, None]:
    """Bring all sources of a revision into the library; the last event is Done.

    Close the iterator to give up. Raises DiskFull, MalformedRevision, and what the library raises
    when it cannot keep anything.
    """
    if options.dry_run:
        yield from _wanted(library, mirrors, sources)
        return
    library.catalogue.record_revision(revision, options.now)
    missing = []
    for batch in _batches(sources.files):
        pairs = [(name, each.digest) for each in batch for name in each.names]
        here = library.catalogue.link_tarballs(revision, pairs)
        missing += [each for each in batch if each.digest not in here]
        yield Linked(sum(each.digest in here for each in batch))
    failed = list(sources.refused)
    yield from map(Failed, sources.refused)
    run = _Run(library, web, mirrors, revision, options)
    try:
        with library.hold() as spare:
            for event in run.all(missing, sources.checkouts, spare):
                if isinstance(event, Failed):
                    failed.append(event.source)
                yield event
    finally:
        library.catalogue.record_unfetched(revision, failed)
    failed.sort(key=lambda each: (each.name, each.what))
    yield Done(tuple(failed))


def _wanted(library: Library, mirrors: Mirrors, sources: Sources) -> Iterator[Event]:
    """Tell what `fetch` would do, and change nothing."""
    here = 0
    for file in sources.files:
        if library.catalogue.tarball(file.digest) is not None:
            here += 1
        else:
            found, _ = candidates(file, mirrors)
            yield Wanted(file.names[0], file.digest, tuple(found))
    for tree in sources.checkouts:
        if library.item(checkouts.path_of(tree, library.store)) is not None:
            here += 1
        else:
            yield Wanted(tree.name, tree.digest, (f"{tree.url} at {tree.revision}",))
    yield from map(Failed, sources.refused)
    yield Linked(here)
    yield Done(sources.refused)


def candidates(file: File, mirrors: Mirrors) -> tuple[list[str], list[str]]:
    """Return where a file may lie, the best place first, and what is to be said of other places."""
    found: list[str] = []
    complaints = []
    for url in () if file.made else file.urls:
        try:
            found += mirrors.expand(url)
        except Rejected as error:
            complaints.append(str(error))
    if file.made:
        complaints.append(f"its hash is that of what is made of {file.urls[0]}")
    return list(dict.fromkeys((*found, *mirrors.by_hash(file.digest)))), complaints


def _batches(files: Iterable[File]) -> Iterator[list[File]]:
    ahead = iter(files)
    while batch := list(islice(ahead, _BATCH)):
        yield batch


class _Run:
    """One run over what is missing."""

    def __init__(
        self, library: Library, web: Web, mirrors: Mirrors, revision: str, options: Options
    ) -> None:
        self._library = library
        self._web = web
        self._mirrors = mirrors
        self._revision = revision
        self._options = options
        self._hosts = _Hosts()

    def all(
        self,
        files: Sequence[File],
        trees: Sequence[Checkout],
        spare: Callable[[Iterable[str]], None],
    ) -> Iterator[Event]:
        """Fetch everything; trees that are here are kept from collections by `spare`."""
        tasks: list[_Task] = list(files)
        for tree in trees:
            base = checkouts.path_of(tree, self._library.store)
            if self._library.item(base) is None:
                tasks.append(tree)
            else:
                spare([base])
                self._library.catalogue.record_checkout(self._revision, base)
                yield Linked(1)
        stop = self._web.abandoned
        with Pool[_Task, Event](self._fetch, self._options.jobs, stop=stop) as pool:
            for task in tasks:
                pool.put(task)
            for event in pool.results():
                if event is not None:
                    yield event

    def _fetch(self, task: _Task, pool: Pool[_Task, Event]) -> None:
        free = self._library.free_bytes()
        if free < self._options.min_free:
            raise DiskFull(
                f"the disk has {free} bytes free, and {self._options.min_free} must stay free "
                "(min-free)"
            )
        pool.emit(self._tree(task) if isinstance(task, Checkout) else self._file(task, pool))

    def _tree(self, tree: Checkout) -> Event:
        reason = checkouts.obstacle(tree)
        if reason is None:
            try:
                with TemporaryDirectory(prefix="narbor-") as place:
                    return self._kept(tree, Path(place))
            except Rejected as error:
                reason = str(error)
            except checkouts.ProgramFailed as error:
                reason = f"{tree.url}: {error}"
        return Failed(Unfetched(str(tree.digest), tree.name, reason))

    def _kept(self, tree: Checkout, folder: Path) -> Fetched:
        believed = checkouts.fetch(tree, self._library.store, folder)
        archive = nar.write(checkouts.events(folder))
        item = self._library.admit(believed, archive, tree.url)
        self._library.commit()
        self._library.catalogue.record_checkout(self._revision, item.path.base)
        return Fetched(tree.name, tree.digest, tree.url, item.seal.size)

    def _file(self, file: File, pool: Pool[_Task, Event]) -> Event:
        # The same file may have come under another hash meanwhile.
        names = [(name, file.digest) for name in file.names]
        if self._library.catalogue.link_tarballs(self._revision, names):
            return Linked(1)
        urls, complaints = candidates(file, self._mirrors)
        for url in self._hosts.sorted(urls):
            sums = Sums(pool.alive(self._web.body(url)), file.digest, self._options.limit, url)
            try:
                with self._library.keeping() as keep:
                    root, seal = keep(sums)
                    found = Tarball(root, seal.size, *sums.digests())
                    for name in file.names:
                        self._library.catalogue.record_tarball(self._revision, name, found)
            except Cancelled:
                raise
            except NarborError as error:
                if sums.error is None:
                    raise  # it is the store that failed, and will fail again
                self._hosts.failed(url)
                complaints.append(str(error) if url in str(error) else f"{url}: {error}")
            else:
                self._hosts.worked(url)
                return Fetched(file.names[0], file.digest, url, seal.size)
        reason = "; ".join(complaints) or "there is nowhere to look for it"
        return Failed(Unfetched(str(file.digest), file.names[0], reason))


class Sums:
    """Chunks on their way, with all hashes of a tarball; at their end `expected` must be one.

    Raises Mismatch, TooLarge, and what the chunks raise; `error` is what was raised.
    """

    def __init__(self, chunks: Iterable[bytes], expected: Digest, limit: int, what: str) -> None:
        self.error: NarborError | None = None
        self._chunks = chunks
        self._expected = expected
        self._limit = limit
        self._what = what
        self._functions = [hashlib.new(name, usedforsecurity=False) for name in ALGORITHMS]

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in streams.limited(self._chunks, self._limit):
                for function in self._functions:
                    function.update(chunk)
                yield chunk
            self._judge()
        except NarborError as error:
            self.error = error
            raise

    def digests(self) -> tuple[Digest, Digest, Digest, Digest]:
        """Return the hashes of all that has passed, in the order of `ALGORITHMS`."""
        md5, sha1, sha256, sha512 = (
            Digest(name, function.digest())
            for name, function in zip(ALGORITHMS, self._functions, strict=True)
        )
        return md5, sha1, sha256, sha512

    def _judge(self) -> None:
        seen = self.digests()[ALGORITHMS.index(self._expected.algorithm)]
        if seen != self._expected:
            raise Mismatch(f"{self._what}: the bytes are {seen}, not {self._expected}")


class _Hosts:
    """Which hosts do not answer: they are asked last, so that not every file waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()

    def sorted(self, urls: Iterable[str]) -> list[str]:
        """Return `urls` in their order, but for those of hosts that only fail."""
        with self._lock:
            return sorted(urls, key=lambda url: self._failures[_host(url)] >= _TIRED)

    def failed(self, url: str) -> None:
        """Note that a file could not be had from a host."""
        with self._lock:
            self._failures[_host(url)] += 1

    def worked(self, url: str) -> None:
        """Note that a file came from a host."""
        with self._lock:
            self._failures[_host(url)] = 0


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
