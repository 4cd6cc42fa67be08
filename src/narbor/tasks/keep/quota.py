"""Which releases must go so that the rest takes no more room than it may.

All is measured in one walk: first what stays in any case is marked, and the frames that it takes at
rest are added up; then one release after the other, the last to go first, with what only it adds.
What two releases share is counted once, with the one that stays longer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from narbor.blocks.sweep import Live
from narbor.catalogue import Release
from narbor.dag.reach import reach
from narbor.errors import NarborError
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names import release as names
from narbor.names.cid import Cid


@dataclass(frozen=True, slots=True)
class Over:
    """A release that must go, and the bytes at rest that only it, and those that go later, have."""

    channel: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class TooMuch:
    """All that may go does not suffice: the rest takes `size` bytes."""

    size: int


def excess(
    library: Library, quota: int, pinned: Callable[[Release], bool] = lambda release: False
) -> Iterator[Over | TooMuch]:
    """Give the releases that must go for all to take at most `quota` bytes, the first to go first.

    What channels are at never goes, nor what is `pinned`, nor what is in the making. Nothing is
    changed: the caller takes them out, and collects.
    """
    if library.blocks.index.count()[1] <= quota:
        return
    gone_first = leaving(library, pinned)
    count = _Count(library)
    count.base(gone_first)
    steps = [(release, count.release(release)) for release in reversed(gone_first)]
    size, kept = count.size - sum(more for _, more in steps), 0
    if size > quota:
        yield TooMuch(size)
    for _, more in steps:
        if size + more > quota:
            break
        size, kept = size + more, kept + 1
    yield from (Over(each.channel, each.name, more) for each, more in reversed(steps[kept:]))


def leaving(library: Library, pinned: Callable[[Release], bool]) -> list[Release]:
    """Return all releases that may go, in the order in which they would.

    In a channel that is the order of versions; among channels, whoever was published first.
    """
    queues = [
        _leaving_channel(library.releases(channel.name), channel.current, pinned)
        for channel in library.channels()
    ]
    out = []
    while queues := [queue for queue in queues if queue]:
        out.append(min(queues, key=lambda queue: queue[0].published or 0).pop(0))
    return out


def _leaving_channel(
    releases: Sequence[Release], current: str | None, pinned: Callable[[Release], bool]
) -> list[Release]:
    may = [e for e in releases if e.published is not None and e.name != current and not pinned(e)]
    return sorted(may, key=lambda each: names.order(names.parse(each.name).version))


class _Count:
    """Blocks that are marked, and the bytes of their frames."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._live = Live(library.blocks)
        self._reader = Reader(library.blocks)
        self._left: set[str] = set()
        self.size = 0

    def base(self, without: Iterable[Release]) -> None:
        """Count what stays though these releases go."""
        catalogue, gone = self._library.catalogue, {(e.channel, e.name) for e in without}
        stay = [e for e in catalogue.releases() if (e.channel, e.name) not in gone]
        listed = [base for e in stay for base in catalogue.release_paths(e.channel, e.name)]
        for revision, _ in catalogue.revisions():
            listed += catalogue.checkouts_of(revision)
        self._left = set(catalogue.unreached(catalogue.reach(listed)))
        for item in self._library.items():
            if item.path.base not in self._left:
                self._item(item.path.base)
        for each in stay:
            self._files(each)
        for tarball in catalogue.tarballs():
            self._root(tarball.root)
        for kept in catalogue.kept_roots():
            self._root(kept.root)

    def release(self, release: Release) -> int:
        """Count a release; return what it adds."""
        before = self.size
        ahead = list(self._library.catalogue.release_paths(release.channel, release.name))
        while ahead:
            base = ahead.pop()
            item = self._library.item(base) if base in self._left else None
            self._left.discard(base)
            if item is not None:
                self._item(base)
                ahead += item.references
        self._files(release)
        return self.size - before

    def _files(self, release: Release) -> None:
        for file in self._library.files(release.channel, release.name):
            self._root(file.root)

    def _item(self, base: str) -> None:
        for root in self._library.catalogue.roots(base):
            for top in (root.tree, root.archive):
                self._root(top)

    def _root(self, root: Cid) -> None:
        new = list(reach(root, self._reader.node, self._live.add, _pass_over))
        self.size += sum(place.length for place in self._library.blocks.places(new))


def _pass_over(name: Cid, error: NarborError) -> None:
    """What is lost `verify` tells, and it takes no room."""
