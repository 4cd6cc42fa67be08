"""Following symbolic links inside items, and from one item into another.

As a kernel would, with the store mounted where it says it is: links are followed in every part of a
path, `..` leads out of an item into the store, and what lies outside of the store is not known.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from narbor.library.reading import Entry
from narbor.names.item import Item

MOST: Final = 40
"""Links that are followed for one path, as in Linux (MAXSYMLINKS)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to; it may lie in another item. `entry` is no symlink."""

    item: Item
    entry: Entry


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A path leads to where this store cannot look: an item that is not here, or no store path."""

    target: bytes


class Items(Protocol):
    """What is needed of a library."""

    store: str

    def item(self, base: str) -> Item | None:
        """Return the item with this base name."""
        ...

    def entry(self, item: Item, path: bytes) -> Entry | None:
        """Return what stands at a path inside, no link followed."""
        ...


def follow(library: Items, item: Item, path: bytes) -> Found | Elsewhere | None:
    """Return what `path` in `item` leads to; None if a link dangles, or leads round in a circle."""
    store = [part for part in library.store.encode().split(b"/") if part]
    left = deque([*store, item.path.base.encode(), *path.split(b"/")])
    here: list[bytes] = []
    links = 0
    while left:
        part = left.popleft()
        if part in (b"", b"."):
            continue
        if part == b"..":
            here = here[:-1]
            continue
        here.append(part)
        found = _look(library, store, here)
        if found is None or (isinstance(found, Elsewhere) and _inside(store, here)):
            return found
        if isinstance(found, Found) and found.entry.kind == "symlink":
            links += 1
            if links > MOST:
                return None
            target = found.entry.target
            here = [] if target.startswith(b"/") else here[:-1]
            left.extendleft(reversed(target.split(b"/")))
    return _look(library, store, here)


def _inside(store: list[bytes], here: list[bytes]) -> bool:
    return here[: len(store)] == store and len(here) > len(store)


def _look(library: Items, store: list[bytes], here: list[bytes]) -> Found | Elsewhere | None:
    """Look at one place of the file system, as far as this store knows it."""
    if not _inside(store, here):
        return Elsewhere(b"/" + b"/".join(here))
    base, *inside = here[len(store) :]
    item = library.item(base.decode("utf-8", "replace"))
    if item is None:
        return Elsewhere(b"/" + b"/".join(here))
    entry = library.entry(item, b"/".join(inside))
    return None if entry is None else Found(item, entry)
