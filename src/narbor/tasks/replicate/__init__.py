"""Give someone else all that hangs from a root, and see that it is there.

    walk the root ──▶ what does it lack? ──▶ take ──▶ keep under a name ──▶ check over all blocks

Left out of the walk is what hangs from the root that the other side keeps under the same name, as
far as that root is here, and what hangs from `since`, which the other side is said to have. What
was given stays there: a run that broke off is taken up by the next one.

All is held in bitmaps over the blocks of the store (blocks/sweep.Live). An admission is open
meanwhile, so that no collection takes what is being read.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from narbor.blocks.sweep import Live
from narbor.library import Library
from narbor.names.cid import Cid
from narbor.pins import Block, Holder, Incomplete
from narbor.tasks.replicate.below import Below

BATCH: Final = 2000
"""Blocks asked for, and given, at one time."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to give: a root, the name it is kept under, and what the other side has anyway."""

    name: str
    root: Cid
    since: Cid | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What only the top knows: the time, and who we are (as in an admission)."""

    now: int
    process: str


@dataclass(frozen=True, slots=True)
class Looked:
    """So many blocks were gone through, so many of them given, of `size` bytes."""

    blocks: int
    sent: int
    size: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A block that should be given is not here, or cannot be read."""

    name: Cid
    reason: str


@dataclass(frozen=True, slots=True)
class Unkept:
    """The other side does not keep the root."""

    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The other side keeps the root under this name from now on."""

    name: str
    root: Cid


@dataclass(frozen=True, slots=True)
class Lacking:
    """The check found that a block is not there; `mended`: it was given at once."""

    name: Cid
    mended: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """So many blocks have been looked for at the other side."""

    blocks: int


@dataclass(frozen=True, slots=True)
class Done:
    """The end. `blocks` were checked; `sent` of `size` bytes were given in this run.

    `lacking` are not there, `lost` are not here; `kept`: the root is kept there under its name.
    """

    root: Cid
    blocks: int
    sent: int
    size: int
    lacking: int
    lost: int
    kept: bool

    @property
    def whole(self) -> bool:
        """Tell whether the other side has all of it, and keeps it."""
        return self.kept and not self.lacking and not self.lost


Event = Looked | Lost | Unkept | Kept | Lacking | Checked | Done


def replicate(
    library: Library, holder: Holder, order: Order, at: Circumstances
) -> Generator[Event, None, None]:
    """Give `holder` what it lacks, let it keep the root, and check; the last event is Done.

    Close the generator to give up: what was given stays there. Raises what the holder raises.
    """
    # What is read meanwhile must not be taken by a collection.
    with library.catalogue.admission(at.now, at.process):
        yield from _Run(library, holder, order).give()


def check(
    library: Library, holder: Holder, order: Order, at: Circumstances
) -> Generator[Event, None, None]:
    """Only look for every block at the other side, and give nothing; the last event is Done."""
    with library.catalogue.admission(at.now, at.process):
        yield from _Run(library, holder, order).check()


class _Run:
    """One run: the counts, and what was lost."""

    def __init__(self, library: Library, holder: Holder, order: Order) -> None:
        self._store = library.blocks
        self._holder = holder
        self._order = order
        self._below = Below(library, self._lose)
        self._lost: list[Lost] = []
        self._told = self._looked = self._sent = self._size = 0

    def give(self) -> Generator[Event, None, None]:
        """Give, keep, check; what the check finds lacking is given again, once."""
        order = self._order
        old = self._holder.kept(order.name)
        kept = old == order.root
        if not kept:
            yield from self._give([] if old is None else [old])
            kept = yield from self._keep(again=old is not None)
        blocks, lacking, mended = yield from self._check(mend=True)
        if mended:
            kept = yield from self._keep(again=False)
            blocks, lacking, _ = yield from self._check(mend=False)
        yield self._done(blocks, lacking, kept)

    def check(self) -> Generator[Event, None, None]:
        """Only check."""
        kept = self._holder.kept(self._order.name) == self._order.root
        if not kept:
            yield Unkept(f"what is kept as {self._order.name} is another root, or none")
        blocks, lacking, _ = yield from self._check(mend=False)
        yield self._done(blocks, lacking, kept)

    def _done(self, blocks: int, lacking: int, kept: bool) -> Done:
        root, lost = self._order.root, len(self._lost)
        return Done(root, blocks, self._sent, self._size, lacking, lost, kept)

    def _give(self, left_out: Sequence[Cid]) -> Iterator[Event]:
        """Give what is lacking below the root, but for what hangs from these."""
        base = self._below.marked([*left_out, *self._since()])
        there = self._inventory()
        for names, lacking in self._batches(base, there):
            self._take(lacking)
            self._looked += len(names)
            yield from self._losses()
            yield Looked(self._looked, self._sent, self._size)
        yield from self._losses()

    def _keep(self, again: bool) -> Generator[Event, None, bool]:
        """Let the root be kept; where it is not all there, and `again`, give without a base."""
        order = self._order
        if self._lost:
            yield Unkept("some blocks are not here, so they could not be given")
            return False
        try:
            self._holder.keep(order.name, order.root)
        except Incomplete as error:
            if again:
                # What it had under the old root has gone meanwhile.
                yield from self._give([])
                return (yield from self._keep(again=False))
            yield Unkept(str(error))
            return False
        yield Kept(order.name, order.root)
        return True

    def _check(self, mend: bool) -> Generator[Event, None, tuple[int, int, int]]:
        """Look for all blocks; return how many there are, how many lack, and how many did."""
        base = self._below.marked(self._since())
        there = self._inventory()
        blocks = lacks = mended = 0
        for names, lacking in self._batches(base, there):
            blocks += len(names)
            if mend and lacking:
                # Who lists what it has may remember more than that: asked, it looks.
                absent = self._holder.missing(lacking)
                lacking = [name for name in lacking if name in absent]
                self._take(lacking)
            yield from (Lacking(name, mend) for name in lacking)
            mended += len(lacking) if mend else 0
            lacks += 0 if mend else len(lacking)
            yield from self._losses()
            yield Checked(blocks)
        yield from self._losses()
        return blocks, lacks, mended

    def _batches(self, base: Live, there: Live | None) -> Iterator[tuple[list[Cid], list[Cid]]]:
        """Give the names below the root batch by batch, and which of them are not there."""
        waiting = self._below.walk(self._order.root, base)
        while batch := list(islice(waiting, BATCH)):
            names = [name for _, name in batch]
            self._store.missing(names)  # saves what a running collection has condemned
            if there is None:
                absent = self._holder.missing(names)
                yield names, [name for name in names if name in absent]
            else:
                yield names, [name for id, name in batch if id not in there]

    def _inventory(self) -> Live | None:
        found = self._holder.inventory()
        return None if found is None else self._below.known(found)

    def _since(self) -> list[Cid]:
        return [] if self._order.since is None else [self._order.since]

    def _take(self, names: Sequence[Cid]) -> None:
        if names:
            self._holder.take(self._counted(names))

    def _counted(self, names: Sequence[Cid]) -> Iterator[Block]:
        for name, data in self._below.read(names):
            self._sent += 1
            self._size += len(data)
            yield name, data

    def _lose(self, name: Cid, reason: str) -> None:
        self._lost.append(Lost(name, reason))

    def _losses(self) -> Iterator[Lost]:
        """Give what was lost since the last time."""
        new = self._lost[self._told :]
        self._told = len(self._lost)
        yield from new
