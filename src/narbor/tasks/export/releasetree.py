"""Releases in a folder, and the channels that point at them.

    releases/CHANNEL/RELEASE/FILE           the files of a release, `git-revision` last
    releases/CHANNEL/RELEASE/binary_cache/  with views: a cache of its own, of hard links
    channels/CHANNEL -> ../releases/CHANNEL/RELEASE

A channel points at a release that is whole, at every moment. Files keep the time at which they were
made; who copies a view together with the cache (rsync -H) copies its archives once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from narbor.catalogue import Release
from narbor.errors import NarborError
from narbor.formats.streams import checked
from narbor.library import Library
from narbor.names.file import File
from narbor.tasks.export import cachetree
from narbor.tasks.export.cachetree import INFO, Deleted, Failed
from narbor.tasks.export.tree import Tree, TreeFull

LAST: Final = "git-revision"
VIEW: Final = "binary_cache"


@dataclass(frozen=True, slots=True)
class Carried:
    """A file of a release, a link of a view, or a channel's pointer was written."""

    name: str
    size: int


class ReleaseTree:
    """The releases in a tree."""

    def __init__(
        self, library: Library, tree: Tree, info: bytes, views: bool = False, dry: bool = False
    ) -> None:
        self._library = library
        self._tree = tree
        self._info = info
        self._views = views
        self._dry = dry
        self._kept: set[str] = set()
        self._links: dict[str, set[str]] = {}

    def write(self, releases: Iterable[Release]) -> Iterator[Carried | Failed]:
        """Write these releases, and switch the channels that are at one of them."""
        for release in releases:
            folder = f"releases/{release.channel}/{release.name}"
            if not all(map(_plain, (release.channel, release.name))):
                yield Failed(folder, "this name cannot be that of a folder")
                continue
            self._kept.add(folder)
            whole = True
            for event in self._release(folder, release):
                whole = whole and not isinstance(event, Failed)
                yield event
            channel = self._library.channel(release.channel)
            if whole and channel is not None and channel.current == release.name:
                yield from self._point(release)

    def _release(self, folder: str, release: Release) -> Iterator[Carried | Failed]:
        files = self._library.files(release.channel, release.name)
        first = [file for file in files if file.name != LAST]
        last = [file for file in files if file.name == LAST]
        if not self._dry:
            self._tree.mkdir(folder)
        yield from self._all(folder, first)
        if self._views:
            yield from self._view(f"{folder}/{VIEW}", release)
        if not self._dry:
            self._tree.sync(folder)
        yield from self._all(folder, last)

    def _all(self, folder: str, files: Iterable[File]) -> Iterator[Carried | Failed]:
        for file in files:
            name = f"{folder}/{file.name}"
            if not _plain(file.name) or file.name == VIEW:
                yield Failed(name, "this name cannot be that of a file")
                continue
            if self._tree.same(name, file.seal.size, file.modified):
                continue
            try:
                if not self._dry:
                    content = checked(self._library.content(file.root), file.seal, name)
                    self._tree.place(self._tree.stage(content, file.modified), name)
            except TreeFull:
                raise
            except NarborError as error:
                yield Failed(name, str(error))
            else:
                yield Carried(name, file.seal.size)

    def _point(self, release: Release) -> Iterator[Carried]:
        name = f"channels/{release.channel}"
        self._kept.add(name)
        if self._dry:
            return
        self._tree.mkdir("channels")
        if self._tree.point(name, f"../releases/{release.channel}/{release.name}"):
            self._tree.sync("channels")
            yield Carried(name, 0)

    # --- views ---------------------------------------------------------------------------------

    def _view(self, folder: str, release: Release) -> Iterator[Carried]:
        """Link the closure of a release into a cache of its own, as far as it was exported."""
        links = self._links[folder] = {INFO}
        if self._dry:
            return
        self._tree.mkdir(f"{folder}/nar")
        self._tree.write(f"{folder}/{INFO}", self._info)
        roots = cachetree.listed(self._library, release)
        for item in cachetree.ordered(self._library, roots):
            info = f"{item.path.hash_part}.narinfo"
            url = cachetree.archive_of(self._tree, info)
            if url is None:
                continue  # it failed, and was told of
            for name in (url, info):
                links.add(name)
                if self._tree.link(self._tree.folder / name, f"{folder}/{name}"):
                    yield Carried(f"{folder}/{name}", 0)

    # --- what goes -----------------------------------------------------------------------------

    def sweep(self) -> Iterator[Deleted]:
        """Take away what was not written: pointers first, then releases, then links of views."""
        for channel in self._tree.links("channels"):
            if f"channels/{channel}" not in self._kept:
                yield self._remove(f"channels/{channel}")
        for channel in self._tree.folders("releases"):
            for name in self._tree.folders(f"releases/{channel}"):
                folder = f"releases/{channel}/{name}"
                if folder not in self._kept:
                    yield from self._cleared(folder)
            self._pruned(f"releases/{channel}")
        for folder, links in self._links.items():
            yield from self._unlinked(folder, links)

    def _cleared(self, folder: str) -> Iterator[Deleted]:
        """Take away a release: first what says that it is whole."""
        if self._tree.size(f"{folder}/{LAST}") is not None:
            yield self._remove(f"{folder}/{LAST}")
        yield from self._unlinked(f"{folder}/{VIEW}", set())
        for name in self._tree.files(folder):
            if not self._dry or name != LAST:
                yield self._remove(f"{folder}/{name}")
        self._pruned(folder)

    def _unlinked(self, folder: str, links: set[str]) -> Iterator[Deleted]:
        for name in cachetree.stale(self._tree, folder, links):
            yield self._remove(f"{folder}/{name}")
        if not links:
            if self._tree.size(f"{folder}/{INFO}") is not None:
                yield self._remove(f"{folder}/{INFO}")
            self._pruned(f"{folder}/nar")
            self._pruned(folder)

    def _remove(self, name: str) -> Deleted:
        if self._dry:
            return Deleted(name, self._tree.size(name) or 0)
        return Deleted(name, self._tree.remove(name))

    def _pruned(self, folder: str) -> None:
        if not self._dry:
            self._tree.prune(folder)


def _plain(name: str) -> bool:
    """Tell whether a name stays in its folder."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name
