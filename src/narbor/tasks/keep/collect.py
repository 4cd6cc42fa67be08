"""Let go of what nobody asks for: items first, then the blocks that only they had.

Kept are the pins and what releases list, with all they refer to, the files of releases, roots of
any kind that are kept by name, what open admissions recorded or met, and what the caller adds. A
run that admits items bottom up opens one for the whole of it (HOLD), and spares what it finds here.
Writers go on meanwhile, so blocks go in four steps (narbor.blocks.sweep): marked, condemned, looked
at again once every admission is over that was open when the last one was condemned, and only then
deleted. A collection that is given up at any point has done no harm; the next one begins anew.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from narbor.blocks import BlockDamaged, sweep
from narbor.blocks.sweep import Live, Room
from narbor.catalogue import ADMIT, COLLECT, Admission
from narbor.dag.reach import reach
from narbor.errors import NarborError, Unavailable
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names.cid import Cid
from narbor.names.item import Item

_BATCH: Final = 500
_KEPT: Final = "the root "


class AnotherCollection(Unavailable):
    """Somebody collects already."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An admission of a process that is no more was ended."""

    admission: Admission


@dataclass(frozen=True, slots=True)
class LetGo:
    """An item that nobody asks for was taken out, or would be."""

    base: str


@dataclass(frozen=True, slots=True)
class Marked:
    """So many items have been gone through."""

    items: int


@dataclass(frozen=True, slots=True)
class Broken:
    """An item that stays has a block that cannot be read; what only that leads to may go."""

    base: str
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Admissions that must end first. Sleep before asking for the next event, or give up."""

    admissions: tuple[Admission, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """It is done, or would be. `freed` bytes are free on the disk; `later` will be after the grace.

    `room` is what the blocks took at rest.
    """

    items: int
    room: Room
    freed: int
    later: int


Event = Ended | LetGo | Marked | Broken | Waiting | Collected


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What only the top knows: the time, who we are, who else is alive.

    `grace`: seconds for which an emptied pack is left to those who may be reading from it.
    `process` and `alive` speak of processes as the library's admissions do.
    """

    now: int
    grace: int
    process: str
    alive: Callable[[str], bool]


def preview(library: Library, also: Iterable[str] = ()) -> Iterator[Event]:
    """Tell what `collect` would do now, and change nothing. The last event is Collected."""
    reached = library.catalogue.reach((*library.catalogue.listed_paths(), *also))
    gone = set()
    for base in library.catalogue.unreached(reached):
        gone.add(base)
        yield LetGo(base)
    newest = sweep.newest(library.blocks)
    live = Live(library.blocks)
    stay = (item for item in library.items() if item.path.base not in gone)
    yield from _mark(library, live, chain(_items_roots(library, stay), _other_roots(library)))
    lengths = [length for _, length in sweep.dead(library.blocks, live, newest)]
    yield Collected(len(gone), Room(len(lengths), sum(lengths)), 0, sum(lengths))


def collect(
    library: Library, at: Circumstances, also: Iterable[str] = ()
) -> Generator[Event, None, None]:
    """Take out what nobody asks for; the last event is Collected.

    `also`: base names that are kept with all they refer to. Close the generator to give up.
    Raises AnotherCollection.
    """
    catalogue = library.catalogue
    for admission in catalogue.admissions():
        if not at.alive(admission.process):
            catalogue.end_admission(admission.id)
            yield Ended(admission)
    with catalogue.admission(at.now, at.process, COLLECT) as ours:
        if any(each.id < ours for each in _open(library, COLLECT)):
            raise AnotherCollection("another collection or a backup is at work on this store")
        items = 0
        for event in _items(library, tuple(also)):
            items += 1
            yield event
        room = Room(0, 0)
        for step in _blocks(library, ours):
            if isinstance(step, Room):
                room = step
            else:
                yield step
        freed, later = _compact(library, at)
        yield Collected(items, room, freed, later)


def _open(library: Library, purpose: str) -> tuple[Admission, ...]:
    return tuple(each for each in library.catalogue.admissions() if each.purpose == purpose)


def _items(library: Library, also: tuple[str, ...]) -> Iterator[LetGo]:
    while True:
        reached = library.catalogue.reach((*library.catalogue.listed_paths(), *also))
        bases = library.catalogue.unreached(reached)
        while batch := list(islice(bases, _BATCH)):
            if not library.catalogue.sweep(reached, batch):
                break  # something was pinned meanwhile: look again what is asked for
            yield from (LetGo(base) for base in batch if library.item(base) is None)
        else:
            return


def _blocks(library: Library, ours: int) -> Iterator[Event | Room]:
    store = library.blocks
    sweep.absolve(store)
    newest = sweep.newest(store)
    horizon = library.catalogue.horizon()
    live = Live(store)
    every = _items_roots(library, library.items())
    yield from _mark(library, live, chain(every, _other_roots(library)))
    sweep.condemn(store, live, newest, ours)
    # From here on who meets a condemned block saves it. Who met one before is waited for, and
    # what came of it is marked as well.
    older = {each.id for each in _open(library, ADMIT)}
    while waiting := tuple(each for each in _open(library, ADMIT) if each.id in older):
        yield Waiting(waiting)
    saved: list[Cid] = []
    fresh = _items_roots(library, library.catalogue.items(since=horizon))
    yield from _mark(library, live, chain(fresh, _other_roots(library)), saved.append)
    sweep.reprieve(store, saved)
    yield sweep.delete(store, ours)


def _compact(library: Library, at: Circumstances) -> tuple[int, int]:
    """Free room on the disk; return the bytes freed, and those that will be after the grace."""
    store = library.blocks
    freed = sweep.purge(store, at.now - at.grace + 1)
    store.close_pack()  # our own may be as full of garbage as any
    gained = sweep.compact(store, at.now)
    if at.grace > 0:
        return freed, gained
    sweep.purge(store, at.now + 1)
    return freed + gained, 0


def _mark(
    library: Library,
    live: Live,
    all_roots: Iterable[tuple[str, Iterable[Cid]]],
    new: Callable[[Cid], None] = lambda name: None,
) -> Iterator[Marked | Broken]:
    """Add to `live` every block under these roots; `new` is told of each that was not in."""
    get = Reader(library.blocks).node
    broken: list[NarborError] = []

    def complain(name: Cid, error: NarborError) -> None:
        broken.append(error)

    done = 0
    for done, (whose, roots) in enumerate(all_roots, 1):
        for root in roots:
            for name in reach(root, get, live.add, complain):
                new(name)
        foreign = whose.startswith(_KEPT)
        # Who made a root that came from elsewhere may never have given all of it.
        lost = (e for e in broken if not foreign or isinstance(e, BlockDamaged))
        yield from (Broken(whose, str(error)) for error in lost)
        broken.clear()
        if done % _BATCH == 0:
            yield Marked(done)
    yield Marked(done)


def _items_roots(library: Library, items: Iterable[Item]) -> Iterator[tuple[str, Iterable[Cid]]]:
    for item in items:
        base = item.path.base
        roots = library.catalogue.roots(base)
        yield base, [top for root in roots for top in (root.tree, root.archive)]


def _other_roots(library: Library) -> Iterator[tuple[str, Iterable[Cid]]]:
    yield from (("a file of a release", [root]) for root in library.catalogue.file_roots())
    yield from ((f"{_KEPT}{each.name}", [each.root]) for each in library.catalogue.kept_roots())
