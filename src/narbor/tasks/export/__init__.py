"""Write what doors show into a folder that any program can carry: a plain cache, and channels.

    nix-cache-info  HASH.narinfo  nar/...           the cache (cachetree.py)
    HASH.ls  log/  realisations/  debuginfo/        what stands beside (asidetree.py)
    releases/CHANNEL/RELEASE/...  channels/CHANNEL  releases and pointers (releasetree.py)
    lastsync                                        when it was last brought up to date

Only what changed is touched, so that who copies the folder (rsync) or serves it (nginx) sees what
is new and nothing else. What others point at is written first and taken away last.
"""

from collections.abc import Generator, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from narbor.catalogue import Release
from narbor.library import Library
from narbor.names.item import Item
from narbor.tasks.export.asidetree import AsideTree, Beside
from narbor.tasks.export.cachetree import INFO, CacheTree, Deleted, Exported, Failed, Form
from narbor.tasks.export.releasetree import Carried, ReleaseTree
from narbor.tasks.export.tree import Tree

MARKS: Final = (INFO,)
STAMP: Final = "lastsync"


@dataclass(frozen=True, slots=True)
class Options:
    """How to export. `delete`: take away what is not exported (any more).

    `views`: in each release a cache of its own, of hard links. `beside`: listings and logs.
    """

    form: Form = field(default_factory=Form)
    delete: bool = False
    views: bool = False
    beside: Beside = field(default_factory=Beside)


@dataclass(frozen=True, slots=True)
class Done:
    """The end. `written` items changed, by archives of `size` bytes; `freed` were taken away."""

    items: int
    written: int
    size: int
    files: int
    failed: int
    deleted: int
    freed: int


Event: TypeAlias = Exported | Failed | Carried | Deleted | Done


def export(
    library: Library,
    tree: Tree,
    roots: Iterable[Item],
    releases: Iterable[Release],
    options: Options,
    pool: Executor,
    now: int,
) -> Generator[Event, None, None]:
    """Bring `tree` up to date with these items, all they refer to, and these releases.

    The last event is Done. The caller owns the tree (`Tree.owned`), but for a dry run, which writes
    nothing. Close the generator to give up. Raises TreeFull.
    """
    cache = CacheTree(library, tree, options.form, pool)
    shelf = ReleaseTree(library, tree, cache.info(), options.views, options.form.dry)
    aside = AsideTree(library, tree, options.beside, options.form.dry)
    count = _Count()
    try:
        for event in _steps(cache, aside, shelf, roots, releases, options.delete):
            count.add(event)
            yield event
        if not options.form.dry:
            stamp(tree, now)
    finally:
        cache.over = True
    yield count.done()


def _steps(
    cache: CacheTree,
    aside: AsideTree,
    shelf: ReleaseTree,
    roots: Iterable[Item],
    releases: Iterable[Release],
    delete: bool,
) -> Generator[Event, None, None]:
    yield from cache.write(roots)
    yield from aside.write(cache.hashes)
    yield from shelf.write(releases)
    if delete:
        yield from shelf.sweep()
        yield from aside.sweep()
        yield from cache.sweep()


def stamp(tree: Tree, now: int) -> None:
    """Write when it was brought up to date, in seconds since 1970, into the folders there are."""
    for folder in ("releases", "channels", ""):
        if (tree.folder / folder).is_dir():
            tree.write(f"{folder}/{STAMP}".lstrip("/"), str(now).encode())


@dataclass(slots=True)
class _Count:
    """The sums of events."""

    items: int = 0
    written: int = 0
    size: int = 0
    files: int = 0
    failed: int = 0
    deleted: int = 0
    freed: int = 0

    def add(self, event: Event) -> None:
        """Count one."""
        match event:
            case Exported(_, _, new, size):
                self.items += 1
                self.written += new
                self.size += size
            case Carried(_, size):
                self.files += 1
                self.size += size
            case Failed():
                self.failed += 1
            case Deleted(_, size):
                self.deleted += 1
                self.freed += size

    def done(self) -> Done:
        """Return the sums."""
        return Done(
            self.items,
            self.written,
            self.size,
            self.files,
            self.failed,
            self.deleted,
            self.freed,
        )
