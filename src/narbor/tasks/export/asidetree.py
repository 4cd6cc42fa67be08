"""What stands beside the archives of a cache in a folder, as `nix copy` would write it.

    HASH.ls                            the tree of an item, where it is asked for
    log/DERIVATION                     build logs, where they are asked for
    realisations/HASH!OUTPUT.doi       what derivations turned out to be
    build-trace-v2/DERIVATION/OUTPUT.doi
    debuginfo/BUILDID.debug            which archive has the debug symbols

Only of items that stand in the folder, so it is written after them and taken away before.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Final

from narbor.errors import Refused, Unavailable
from narbor.library import Library
from narbor.library.reading import Entry
from narbor.names.item import Item
from narbor.tasks.export import cachetree
from narbor.tasks.export.cachetree import Deleted
from narbor.tasks.export.releasetree import Carried
from narbor.tasks.export.tree import Tree, TreeFull
from narbor.upstream import NotARealisation, out_path, realisation_path

Listing = Callable[[Iterable[Entry]], Iterable[bytes]]

_LISTING: Final = re.compile(r"[0-9a-z]{32}\.ls")
_WORD: Final = r"[0-9A-Za-z+=_?-][0-9A-Za-z+=_?.-]*"
_ID: Final = re.compile(rf"sha256:[0-9a-f]{{64}}!{_WORD}|[0-9a-z]{{32}}-{_WORD}\.drv/{_WORD}")
_NAMES: Final = {
    "debuginfo": re.compile(r"[0-9a-f]+\.debug"),
    "realisations": re.compile(r".+\.doi"),
    "log": re.compile(r"[0-9a-z]{32}-.+\.drv"),
}


@dataclass(frozen=True, slots=True)
class Beside:
    """What is asked for: `listing` writes trees, if they are."""

    listing: Listing | None = None
    logs: bool = False


class AsideTree:
    """The files beside archives."""

    def __init__(self, library: Library, tree: Tree, beside: Beside, dry: bool = False) -> None:
        self._library = library
        self._tree = tree
        self._beside = beside
        self._dry = dry
        self._kept: set[str] = set()

    def write(self, here: Set[str]) -> Iterator[Carried]:
        """Write what there is beside the items with these hash parts."""
        for hash_part in sorted(here) if self._beside.listing or self._beside.logs else ():
            item = self._library.find(hash_part)
            if item is not None:
                yield from self._listing(item)
                yield from self._log(item)
        for id, text in self._library.catalogue.realisations():
            if _ID.fullmatch(id) and _speaks_of(text)[:32] in here:
                yield from self._put(realisation_path(id), text)
        for id, base, member in self._library.catalogue.debug_files():
            url = self._url(base) if base[:32] in here else None
            if url is not None:
                said = json.dumps({"archive": f"../{url}", "member": member}, separators=(",", ":"))
                yield from self._put(f"debuginfo/{id}.debug", said.encode())

    def _url(self, base: str) -> str | None:
        return cachetree.archive_of(self._tree, f"{base[:32]}.narinfo")

    def _listing(self, item: Item) -> Iterator[Carried]:
        """A tree never changes: what stands there is right."""
        if self._beside.listing is None:
            return
        name = f"{item.path.hash_part}.ls"
        self._kept.add(name)
        if self._dry or self._tree.size(name) is not None:
            return
        try:
            staged = self._tree.stage(self._beside.listing(self._library.entries(item)))
        except TreeFull:
            raise
        except (Refused, Unavailable):
            return  # a name that is no text has no place in it; what is lost was told of
        self._tree.place(staged, name)
        yield Carried(name, self._tree.size(name) or 0)

    def _log(self, item: Item) -> Iterator[Carried]:
        if self._beside.logs and item.deriver is not None:
            text = self._library.log(item.deriver)
            if text is not None:
                yield from self._put(f"log/{item.deriver}", text)

    def _put(self, name: str, content: bytes) -> Iterator[Carried]:
        if name in self._kept:
            return
        self._kept.add(name)
        if self._dry:
            return
        self._tree.mkdir(name.rpartition("/")[0])
        if self._tree.write(name, content):
            yield Carried(name, len(content))

    # --- what goes -----------------------------------------------------------------------------

    def sweep(self) -> Iterator[Deleted]:
        """Take away what was not written now."""
        names = [name for name in self._tree.names() if _LISTING.fullmatch(name)]
        for folder, ours in _NAMES.items():
            names += [f"{folder}/{n}" for n in self._tree.files(folder) if ours.fullmatch(n)]
        for derivation in self._tree.folders("build-trace-v2"):
            folder = f"build-trace-v2/{derivation}"
            names += [f"{folder}/{name}" for name in self._tree.files(folder)]
        for name in names:
            if name not in self._kept:
                size = self._tree.size(name) or 0
                yield Deleted(name, size if self._dry else self._tree.remove(name))


def _speaks_of(text: bytes) -> str:
    try:
        return out_path(text)
    except NotARealisation:
        return ""
