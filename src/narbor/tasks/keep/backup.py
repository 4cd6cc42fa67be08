"""A copy of a store that is whole, made while others write to it.

The order is that of durability the other way round (docs/decisions/0006): first the catalogue is
copied, then the index, then the packs up to where the index knows them. Whatever the copied
catalogue lists was indexed before, and whatever was indexed was in the packs. Collections are kept
away meanwhile, since they alone take anything out.

A second copy into the same folder brings what is new: packs only grow. They are linked where nobody
appends to them any more, else copied from where the last copy ended. The folder is a home at every
moment: databases are put in place when all that they speak of is there.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from narbor.blocks.index import Index
from narbor.blocks.packs import LARGEST_PACK
from narbor.catalogue import COLLECT
from narbor.errors import Unavailable
from narbor.library import Library
from narbor.tasks.export.tree import Tree

CATALOGUE: Final = "catalogue.sqlite"
INDEX: Final = "index.sqlite"
STAMP: Final = "lastbackup"
SETTINGS: Final = ("narbor.toml", "keys")
_PIECE: Final = 4 << 20


class Collecting(Unavailable):
    """A collection is at work, or another copy is made."""


class ShortPack(Unavailable):
    """A pack holds less than the index says: `narbor verify` tells what is lost."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What only the top knows. `alive` tells of processes as the library's admissions name them.

    `copy`: link nothing, so that the copy shares no bytes with the store. Packs of `settled` bytes
    and more are never appended to by whoever opens them.
    """

    now: int
    process: str
    alive: Callable[[str], bool]
    copy: bool = False
    settled: int = LARGEST_PACK // 2


@dataclass(frozen=True, slots=True)
class Moved:
    """So many bytes more were copied, of `whole` bytes that packs take."""

    size: int
    whole: int


@dataclass(frozen=True, slots=True)
class Copied:
    """A file is brought up to date, by `size` bytes that were copied; `linked`: it is shared."""

    name: str
    size: int
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """A pack is no longer needed."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Done:
    """The copy stands: items in it, bytes of packs copied now, and bytes that all packs take."""

    items: int
    copied: int
    packs: int


Event: TypeAlias = Moved | Copied | Removed | Done


def backup(
    library: Library, home: Path, tree: Tree, at: Circumstances
) -> Generator[Event, None, None]:
    """Bring the copy in `tree`, which the caller owns, up to date; the last event is Done.

    `library` is the one in `home`, open for writing. Raises Collecting, TreeFull.
    """
    with _alone(library, at):
        staged = _Databases(tree.reserve(), tree.reserve())
        library.catalogue.copy(staged.catalogue)
        library.blocks.index.copy(staged.index)
        items = library.sizes().items
        tree.mkdir("packs")
        needed = _packs(library)
        copied = 0
        for event in _all_packs(library, home, tree, at, needed):
            copied += event.size if isinstance(event, Moved) else 0
            yield event
        yield from _settings(home, tree)
    _put(tree, staged)
    for name in tree.names("packs"):
        if name.endswith(".pack") and name not in needed:
            yield Removed(name, tree.remove(f"packs/{name}"))
    tree.write(STAMP, str(at.now).encode())
    yield Done(items, copied, sum(needed.values()))


@dataclass(frozen=True, slots=True)
class _Databases:
    """Copies that nobody sees yet."""

    catalogue: Path
    index: Path


@contextmanager
def _alone(library: Library, at: Circumstances) -> Iterator[None]:
    """Keep collections away, in the way in which they keep each other away."""
    catalogue = library.catalogue
    with catalogue.admission(at.now, at.process, COLLECT) as ours:
        for each in catalogue.admissions():
            if each.purpose == COLLECT and each.id < ours:
                if at.alive(each.process):
                    raise Collecting("a collection or another backup is at work; try again later")
                catalogue.end_admission(each.id)
        yield


def _packs(library: Library) -> dict[str, int]:
    """Return the packs that have blocks, and how far they are indexed; that is durable."""
    index = library.blocks.index
    found = index.packs()
    return {name: end for id, (name, end) in found.items() if end and not index.is_retired(id)}


def _all_packs(
    library: Library, home: Path, tree: Tree, at: Circumstances, needed: dict[str, int]
) -> Iterator[Moved | Copied]:
    marks = _marks(tree)
    starts = {name: _start(tree, name, marks) for name in needed}
    whole = sum(max(end - starts[name], 0) for name, end in needed.items())
    for name, end in needed.items():
        place, source, start = f"packs/{name}", home / "packs" / name, starts[name]
        linked = tree.is_same(place, source)
        if (linked and not at.copy) or (start >= end and not linked):
            continue
        if not at.copy and not start and end >= at.settled and tree.try_link(source, place):
            yield Copied(place, 0, linked=True)
            continue
        content = _content(library, name, 0 if linked else start, end)
        if start and not linked:
            for size in tree.extend(place, start, content):
                yield Moved(size, whole)
        else:
            tree.place(tree.stage(content), place)
            yield Moved(end, whole)
        yield Copied(place, end - start)
    tree.sync("packs")


def _start(tree: Tree, name: str, marks: dict[str, int]) -> int:
    """Return up to where a pack is here. Behind the mark anything may stand after a power cut."""
    return min(marks.get(name, 0), tree.size(f"packs/{name}") or 0)


def _content(library: Library, name: str, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _PIECE):
        wanted = min(_PIECE, end - at)
        data = library.blocks.files.read(name, at, wanted)
        if len(data) != wanted:
            raise ShortPack(f"the pack {name} ends at {at + len(data)}, its index says {end}")
        yield data


def _marks(tree: Tree) -> dict[str, int]:
    """Return how far packs were durable when the last copy was finished."""
    if tree.size(INDEX) is None:
        return {}
    with closing(Index(tree.folder / INDEX, False)) as index:
        return dict(index.packs().values())


def _settings(home: Path, tree: Tree) -> Iterator[Copied]:
    """Copy the configuration and the keys, readable for whom they are in the home."""
    for top in SETTINGS:
        folder = home / top
        files = sorted(folder.iterdir()) if folder.is_dir() else [folder]
        for path in files:
            if path.is_file():
                name = str(path.relative_to(home))
                tree.mkdir(str(Path(name).parent))
                content = path.read_bytes()
                if tree.read(name, len(content)) != content:
                    staged = tree.stage([content], mode=path.stat().st_mode & 0o777)
                    tree.place(staged, name)
                    yield Copied(name, len(content))


def _put(tree: Tree, staged: _Databases) -> None:
    """Put the databases in place. Between the two the index is behind, as after a power cut."""
    for path, name in ((staged.catalogue, CATALOGUE), (staged.index, INDEX)):
        # What waits in the old log is not of the new file.
        for suffix in ("-wal", "-shm"):
            tree.remove(name + suffix)
        tree.place(path, name)
    tree.sync()
