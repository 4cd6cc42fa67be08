"""A root is pulled: what lacks below it comes from all who may have it, many blocks at once.

    nodes that are here ──▶ what they link to ──▶ what of that lacks ──▶ gathered, kept
             ▲                                                                │
             └────────────────────────────────────────────────────────────────┘

The walk goes deep first, some thousands of blocks at a time, so what waits is bounded by how deep
a DAG is and not by its size; what was looked into is marked in a bitmap. What is here is not asked
for: a run that broke off is taken up by the next one, as long as no collection was in between.
Then the root is looked at as if it had come in a CAR (arrive.py).
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final

from narbor.blocks import BlockDamaged, BlockMissing
from narbor.blocks.index import is_kept
from narbor.blocks.sweep import Live
from narbor.errors import Refused, Rejected, Unavailable
from narbor.formats import dagpb, ipld
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.tasks.gather import Block, BlocksLost, Gatherer, Lane
from narbor.tasks.gather.standing import LONGEST_REST, Count
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.replicate import arrive
from narbor.tasks.replicate.arrive import Terms

MOST: Final = 4096
"""Blocks that are wanted at one time, but for what the last node looked into adds."""
_BATCH: Final = 1000
_BATCH_BYTES: Final = 4 << 20
_NODE: Final = 32 << 10  # bytes that a node is taken to have: it sets how many are in a request
_LEAF: Final = 256 << 10  # ... and a leaf of which its parent does not tell
_LARGEST: Final = dagpb.LARGEST_BLOCK
_PATIENCE: Final = 3  # times to wait for sources that failed, with nothing coming in between
_TOLD: Final = 1000  # nodes looked into between two events
_LINKING: Final = frozenset((cid.DAG_PB, *ipld.DOCUMENTS))


class SourcesAway(Unavailable):
    """None of the sources answers as it should."""


class UnkeptHash(Refused):
    """A root is named by a hash that blocks are not kept by."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """So many nodes were looked into, and so many blocks of so many bytes came so far."""

    looked: int
    blocks: int
    size: int


Event = Pulled | arrive.Event


def pull(
    library: Library,
    gatherer: Gatherer,
    root: Cid,
    name: str,
    terms: Terms,
    wait: Callable[[float], object],
) -> Generator[Event, None, None]:
    """Bring all that hangs from a root, and keep it as `name`; items of a cache are admitted.

    `wait` sleeps for so many seconds. Raises SourcesAway, UnkeptHash, DiskFull, and what the
    library raises; what came until then stays until a collection.
    """
    if not is_kept(root) and ipld.inlined(root) is None:
        raise UnkeptHash(f"{cid.text(root)}: only blocks named by SHA-256 are kept")
    with library.catalogue.admission(terms.now, terms.process):
        yield from _Pull(library, gatherer, terms, wait).all(root)
        yield from arrive.arrive(library, (), {name: root}, terms, f"ipfs://{cid.text(root)}")


class _Pull:
    """One pull: what waits, and the counts."""

    def __init__(
        self,
        library: Library,
        gatherer: Gatherer,
        terms: Terms,
        wait: Callable[[float], object],
    ) -> None:
        self._library = library
        self._store = library.blocks
        self._node = Reader(library.blocks).node
        self._gatherer = gatherer
        self._terms = terms
        self._wait = wait
        self._seen = Live(library.blocks)
        self._ahead: list[Cid] = []  # nodes that are here, to be looked into
        self._mended: set[Cid] = set()
        self._patience = _PATIENCE
        self._looked = self._blocks = self._size = 0

    def all(self, root: Cid) -> Iterator[Pulled]:
        """Bring all that lacks and can be had."""
        wanted: dict[Cid, int] = {}
        self._sort([(root, _NODE)], wanted)
        while wanted or self._ahead:
            while self._ahead and len(wanted) < MOST:
                if self._looked % _TOLD == 0:
                    yield self._told()
                self._look(self._ahead.pop(), wanted)
            if wanted:
                yield from self._bring(wanted)
                wanted = {}
        yield self._told()

    def _told(self) -> Pulled:
        return Pulled(self._looked, self._blocks, self._size)

    def _look(self, name: Cid, wanted: dict[Cid, int]) -> None:
        """Look into a node that is here, unless that was done."""
        content, id = ipld.inlined(name), None
        if content is None:
            id = self._seen.id_of(name)
            if id is None or id in self._seen:
                return
        try:
            links = _links(name, self._node(name) if content is None else content)
        except BlockDamaged:
            if name not in self._mended:
                # As good as absent; a second time it is the disk, and others will tell.
                self._mended.add(name)
                self._store.delete([name])
                wanted[name] = _NODE
            return
        except (BlockMissing, Rejected):
            links = []  # nothing is known below it; whether it should be so is said in the end
        self._looked += 1
        if id is not None:
            self._seen.add_id(id)
        self._sort(links, wanted)

    def _sort(self, links: list[tuple[Cid, int]], wanted: dict[Cid, int]) -> None:
        """Put what is here to what is looked into, and all else to what is wanted."""
        kept = {name: size for name, size in links if is_kept(name)}
        lacking = self._store.missing(kept)
        for name, _ in reversed(links):
            if cid.codec(name) in _LINKING and (
                ipld.inlined(name) is not None if name not in kept else name not in lacking
            ):
                self._ahead.append(name)
        for name, size in kept.items():
            if name in lacking:
                wanted.setdefault(name, size)

    def _bring(self, wanted: dict[Cid, int]) -> Iterator[Pulled]:
        """Gather what is wanted, as far as it can be had; durable in the end."""
        left = dict(wanted)
        generation = self._store.generation
        try:
            again = True
            while left and again:
                counts = {lane: lane.standing.count() for lane in self._gatherer.lanes}
                before = len(left)
                try:
                    for batch in _batched(self._gatherer.gather(list(left.items()))):
                        self._keep(batch)
                        for name, _ in batch:
                            del left[name]
                        yield self._told()
                except BlocksLost as error:
                    again = self._again(counts, len(left) < before, error)
        finally:
            self._store.sync()
        if self._store.generation != generation:
            raise Unavailable("blocks could not be kept: writing failed meanwhile")
        came = [name for name in wanted if name not in left and cid.codec(name) in _LINKING]
        self._ahead += reversed(came)

    def _keep(self, batch: list[Block]) -> None:
        free, least = self._library.free_bytes(), self._terms.min_free
        if free < least:
            raise DiskFull(f"the disk has {free} bytes free, and {least} must stay free (min-free)")
        self._store.put_many(batch)
        self._blocks += len(batch)
        self._size += sum(len(block) for _, block in batch)

    def _again(self, before: dict[Lane, Count], progress: bool, error: BlocksLost) -> bool:
        """Tell, after a pause, whether to ask once more for what did not come.

        Who failed, or said nothing, may have it. False: somebody answered well, and has it not.
        Raises SourcesAway.
        """
        if progress:
            self._patience = _PATIENCE
        rests: list[float] = []
        answered = False
        for lane, then in before.items():
            now = lane.standing.count()
            if now.failures == then.failures and (now.blocks, now.missing) != (
                then.blocks,
                then.missing,
            ):
                answered = True
            elif now.resting <= LONGEST_REST:
                rests.append(now.resting)
        if rests and self._patience:
            self._patience -= 1
            self._wait(min(rests))
            return True
        if not answered:
            raise SourcesAway(str(error)) from error
        return False


def _batched(groups: Iterator[list[Block]]) -> Iterator[list[Block]]:
    """Give blocks in batches worth writing. What came before a loss is given first."""
    batch: list[Block] = []
    size = 0
    try:
        for group in groups:
            batch += group
            size += sum(len(block) for _, block in group)
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except BlocksLost:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _links(name: Cid, block: bytes) -> list[tuple[Cid, int]]:
    """Return what a block links to, and about how long each is; raises Rejected."""
    if cid.codec(name) != cid.DAG_PB:
        found = ipld.targets(name, lambda _: block)
        return [(each, _NODE if cid.codec(each) in _LINKING else _LEAF) for each in found]
    try:
        names, sizes, _, _ = dagpb.split(block)
    except IndexError:
        raise dagpb.MalformedNode(f"a node that ends too early, at {len(block)}") from None
    return [
        (each, _NODE if cid.codec(each) in _LINKING else min(size or _LEAF, _LARGEST))
        for each, size in zip(names, sizes, strict=True)
    ]
