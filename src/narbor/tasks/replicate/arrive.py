"""CARs come in: their blocks are hashed and kept, then their roots are looked at.

    read CARs ──▶ keep blocks ──▶ is all there below the root?
                                     ──▶ a cache: its items are admitted (intake.py), and releases
                                     ──▶ whatever it is: its root is kept under a name

Of a folder of CARs the newest is read first, and older ones as long as something lacks: who has all
but the newest reads only that. An admission is open from the first block to the last root, so that
no collection takes what nothing leads to yet.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from narbor.errors import Refused, Rejected, Unavailable
from narbor.formats import car, ipld
from narbor.formats.carfolder import Listed
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.keys import Keyring
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.replicate import intake, releases
from narbor.tasks.replicate.below import Below
from narbor.tasks.replicate.intake import TakenIn

_BATCH: Final = 1000
_BATCH_BYTES: Final = 4 << 20


class ManyRoots(Refused):
    """Several roots are to be kept under one name."""


class NoRoots(Rejected):
    """A CAR names no root, so nothing would keep its blocks."""


@dataclass(frozen=True, slots=True)
class Source:
    """A CAR that can be read: what it is called, its bytes, and what a manifest says of it."""

    label: str
    chunks: Callable[[], Iterable[bytes]]
    listed: Listed | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How to take CARs in. `now` and `process` as in an admission; `min_free` bytes stay free.

    `incomplete`: roots are kept though blocks lack below them. `name`: what to keep them under.
    """

    ring: Keyring
    trusted: bool
    now: int
    process: str
    min_free: int = 0
    incomplete: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Took:
    """So many blocks of so many bytes were read from CARs, of which so many were new."""

    blocks: int
    size: int
    new: int


@dataclass(frozen=True, slots=True)
class Bad:
    """A CAR, or a block in it, is not what it should be; the rest is taken."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """A block below a root is not here, nor was it in what was read."""

    root: Cid
    name: Cid


@dataclass(frozen=True, slots=True)
class KeptRoot:
    """A root is kept under a name from now on, with all that is here below it."""

    name: str
    root: Cid
    whole: bool


@dataclass(frozen=True, slots=True)
class Unkept:
    """A root is not kept: so many blocks lack."""

    name: str
    root: Cid
    absent: int


Event = Took | Bad | Absent | KeptRoot | Unkept | intake.Event | releases.Event


def arrive(
    library: Library,
    sources: Sequence[Source],
    names: Mapping[str, Cid] | None,
    terms: Terms,
    origin: str,
) -> Generator[Event, None, None]:
    """Take in CARs, the newest first, and keep their roots under these names.

    Where there are no `names`, the roots in the CARs' heads are kept, each under its own text.
    Raises DiskFull, and what the library raises when it cannot keep anything.
    """
    with library.catalogue.admission(terms.now, terms.process):
        reading = _Reading(library, terms)
        found: dict[str, Cid] = {}
        for source in sources:
            if names is not None and len(sources) > 1 and _all_here(library, names.values()):
                break
            for root in (yield from reading.take(source)):
                found[cid.text(root)] = root
        for name, root in _named(found if names is None else names, terms).items():
            yield from _settle(library, name, root, terms, origin)


def _named(roots: Mapping[str, Cid], terms: Terms) -> Mapping[str, Cid]:
    if terms.name is None or not roots:
        return roots
    if len(roots) > 1:
        raise ManyRoots(f"{len(roots)} roots cannot all be kept as {terms.name}: give no name")
    (root,) = roots.values()
    return {terms.name: root}


class _Reading:
    """The counts over all CARs."""

    def __init__(self, library: Library, terms: Terms) -> None:
        self._library = library
        self._terms = terms
        self._blocks = self._size = self._new = 0

    def take(self, source: Source) -> Generator[Event, None, tuple[Cid, ...]]:
        """Keep the blocks of one CAR, durably; return its roots."""
        refused: list[Bad] = []
        bytes_read = _Sum(source.chunks())
        generation = self._library.blocks.generation
        roots: tuple[Cid, ...] = ()
        try:
            opened = car.read(
                bytes_read, refuse=lambda error: refused.append(Bad(source.label, str(error)))
            )
            roots = tuple(cid.check(root) for root in opened.roots)
            if not roots and source.listed is None:
                raise NoRoots("it names no root, so nothing would keep its blocks")
            for batch in _batched(opened.blocks):
                self._keep(batch)
                yield from refused
                refused.clear()
                yield Took(self._blocks, self._size, self._new)
        except Rejected as error:
            refused.append(Bad(source.label, str(error)))
        self._library.blocks.sync()
        if self._library.blocks.generation != generation:
            raise Unavailable(f"{source.label}: blocks could not be kept: writing failed meanwhile")
        yield from refused
        complaint = bytes_read.complaint(source.listed)
        if complaint is not None and not refused:
            yield Bad(source.label, complaint)
        return roots

    def _keep(self, batch: list[car.Block]) -> None:
        free, least = self._library.free_bytes(), self._terms.min_free
        if free < least:
            raise DiskFull(f"the disk has {free} bytes free, and {least} must stay free (min-free)")
        store = self._library.blocks
        absent = store.missing(block.cid for block in batch)
        store.put_many([(block.cid, block.data) for block in batch if block.cid in absent])
        self._blocks += len(batch)
        self._size += sum(len(block.data) for block in batch)
        self._new += len(absent)


def _batched(blocks: Iterator[car.Block]) -> Iterator[list[car.Block]]:
    """Give blocks in batches; identity blocks are none. What broke off is given first."""
    batch: list[car.Block] = []
    size = 0
    try:
        for block in blocks:
            if ipld.inlined(block.cid) is not None:
                continue
            batch.append(block)
            size += len(block.data)
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except Rejected:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


class _Sum:
    """Passes bytes on, and adds them up."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._state = sha256()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._state.update(chunk)
            self._size += len(chunk)
            yield chunk

    def complaint(self, listed: Listed | None) -> str | None:
        """Say in what the bytes are not those that a manifest lists."""
        if listed is None or (self._size, self._state.digest()) == (listed.size, listed.sha256):
            return None
        here = f"{self._size} bytes, SHA-256 {self._state.hexdigest()}"
        return f"it has {here}; the manifest says {listed.size}, {listed.sha256.hex()}"


def _all_here(library: Library, roots: Iterable[Cid]) -> bool:
    return not any(next(absent(library, root), None) for root in roots)


def absent(library: Library, root: Cid) -> Iterator[Cid]:
    """Give the blocks below a root that are not here, each once; saves those that are here.

    What a collection has condemned meanwhile is saved, since an admission is open.
    """
    lost: list[Cid] = []
    below = Below(library, lambda name, reason: lost.append(name))
    batch: list[Cid] = []
    for _, name in below.walk(root, below.marked(())):
        batch.append(name)
        if len(batch) >= _BATCH:
            lost += library.blocks.missing(batch)
            batch.clear()
        yield from lost
        lost.clear()
    lost += library.blocks.missing(batch)
    yield from lost


def _settle(
    library: Library, name: str, root: Cid, terms: Terms, origin: str
) -> Generator[Event, None, None]:
    """Look at one root: admit what it holds, and keep it if it is whole, or may be kept so."""
    lacking = 0
    for each in absent(library, root):
        lacking += 1
        yield Absent(root, each)
    kept = not lacking or terms.incomplete
    if intake.is_cache(library, root):
        for event in intake.admit_directory(library, root, terms.ring, terms.trusted, origin):
            yield event
            if isinstance(event, TakenIn):
                library.catalogue.keep_items(name, event.tops, also=not kept)
                yield from releases.take_in(library, root, terms.trusted, terms.now)
    if not kept:
        yield Unkept(name, root, lacking)
        return
    library.catalogue.keep_root(name, root, terms.now)
    yield KeptRoot(name, root, not lacking)
