"""A whole binary cache as one directory, which any gateway can serve to any Nix.

    nix-cache-info             a leaf
    HASH.narinfo               a leaf: Compression none, URL nar/..., CID of the archive
    nar/NARHASH.nar            the archive's root: its bytes are the NAR, its leaves the tree's
    items/HASH-NAME            the tree's root
    channels/CHANNEL/FILE      a file of the release that a channel is at
    releases/CHANNEL/RELEASE/FILE

Folders without entries are left out. Content alone decides the root: not the order of arrival, and
not what was there in between. See docs/formats/cache-directory.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from narbor.dag.splice import Get, Put
from narbor.formats import hamt, ipld, narinfo, unixfs
from narbor.formats.unixfs import Link
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.item import Item

INFO: Final = b"nix-cache-info"
ARCHIVES: Final = b"nar"
TREES: Final = b"items"
TOP: Final = b""
FOLDERS: Final = (ARCHIVES, TREES)
CHANNELS: Final = b"channels"
RELEASES: Final = b"releases"
FIELD: Final = "CID"
"""The field of a narinfo that names its archive's root. Nix passes over what it does not know."""

_EMPTY: Final = unixfs.directory_node(())
Changes = Mapping[bytes, Mapping[bytes, Link | None]]
"""By folder (TOP, ARCHIVES, TREES): names, and the links they get; None takes a name out."""


@dataclass(frozen=True, slots=True)
class Names:
    """What an item is called in the directory."""

    narinfo: bytes
    archive: bytes
    tree: bytes


def names(item: Item) -> Names:
    """Return what an item is called."""
    return Names(
        f"{item.path.hash_part}.narinfo".encode(),
        f"{item.seal.digest.nix32}.nar".encode(),
        item.path.base.encode(),
    )


def info(store: str, priority: int) -> bytes:
    """Write nix-cache-info."""
    return f"StoreDir: {store}\nWantMassQuery: 1\nPriority: {priority}\n".encode()


def claim(item: Item, signatures: tuple[str, ...]) -> bytes:
    """Write an item's narinfo; signatures are sorted, since they come in any order."""
    said = with_root(replace(item, extra=tuple(sorted(item.extra))))
    url, digest, size = f"nar/{item.seal.digest.nix32}.nar", item.seal.digest, item.seal.size
    return narinfo.of_item(said, url, "none", digest, size, sorted(set(signatures)))


def with_root(item: Item) -> Item:
    """Return an item whose narinfo says, last of all, the root of its archive in FIELD.

    What another cache said there is left out: its archive may be cut otherwise than ours.
    """
    others = (pair for pair in item.extra if pair[0] != FIELD)
    return replace(item, extra=(*others, (FIELD, cid.text(item.archive))))


def weigh(root: Cid, get: Get) -> int:
    """Return the bytes of a block and all below it, as its links tell."""
    content = ipld.inlined(root)
    block = get(root) if content is None else content
    if cid.codec(root) != cid.DAG_PB:
        return len(block)
    return len(block) + sum(link.tsize for link in unixfs.parse(block).links)


def update(root: Cid | None, changes: Changes, get: Get, put: Put) -> Cid:
    """Change a cache's directory, or make one where `root` is None; return the new root."""
    block = _EMPTY if root is None else get(root)
    top: dict[bytes, Link | None] = dict(changes.get(TOP, {}))
    for folder in FOLDERS:
        inside = changes.get(folder)
        if not inside:
            continue
        old = hamt.find(block, folder, get)
        made, tsize = hamt.update(_EMPTY if old is None else get(old.cid), inside, get, put)
        top[folder] = None if made == cid.node(_EMPTY) else Link(made, tsize, folder)
    return hamt.update(block, top, get, put)[0]


Shelf = Mapping[bytes, "Shelf | Cid"]
"""A small directory that is made anew each time: names, and what they lead to."""


def shelve(shelf: Shelf, get: Get, put: Put) -> Link | None:
    """Make a directory of directories of files; None where nothing is in it."""
    links = []
    for name, what in shelf.items():
        if isinstance(what, Mapping):
            link = shelve(what, get, put)
            if link is not None:
                links.append(Link(link.cid, link.tsize, name))
        else:
            links.append(Link(what, weigh(what, get), name))
    return Link(*hamt.directory(links, put), b"") if links else None


def entries(root: Cid, folder: bytes, get: Get) -> list[Link]:
    """Return what is in a folder, by name."""
    found = hamt.find(get(root), folder, get)
    return [] if found is None else list(hamt.entries(get(found.cid), get))


def find(root: Cid, folder: bytes, name: bytes, get: Get) -> Link | None:
    """Return an entry of a folder (TOP: of the directory itself)."""
    inside = root
    if folder:
        found = hamt.find(get(root), folder, get)
        if found is None:
            return None
        inside = found.cid
    return hamt.find(get(inside), name, get)
