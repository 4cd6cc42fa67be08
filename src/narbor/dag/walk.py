"""DAG -> events: reads a tree back, whole, one entry or one path of it."""

from collections.abc import Iterator

from narbor.dag.splice import Get, Piece, read
from narbor.errors import Rejected
from narbor.formats import hamt, nar, unixfs
from narbor.names import cid
from narbor.names.cid import Cid

_EXECUTABLE = 0o111


class NotATree(Rejected):
    """A DAG is no tree that a store item could be."""


def walk(root: Cid, get: Get, name: bytes = b"") -> Iterator[nar.Event[Piece]]:
    """Give the tree under `root` as events, in the order of a NAR.

    Contents are leaves and inline bytes. Raises NotATree, or MalformedNode for junk.
    """
    block = _block(root, get)
    if block is None:
        yield from _file(root, get, name, False)
        return
    node = unixfs.parse(block)
    kind = node.data.kind if node.data else -1
    if node.data and kind == unixfs.SYMLINK:
        yield nar.Symlink(name, node.data.data or b"")
    elif node.data and kind in (unixfs.FILE, unixfs.RAW):
        yield from _file(root, get, name, bool((node.data.mode or 0) & _EXECUTABLE))
    elif kind in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
        yield nar.Directory(name)
        for link in hamt.entries(block, get):
            yield from walk(link.cid, get, link.name)
        yield nar.END
    else:
        raise NotATree(f"{cid.text(root)} is neither a file, a link nor a directory")


def find(root: Cid, get: Get, path: bytes) -> Cid | None:
    """Return the root of what stands at `path` (`b"bin/sh"`) below `root`; None if nothing does."""
    here = root
    for name in filter(None, path.split(b"/")):
        block = _block(here, get)
        node = unixfs.parse(block) if block is not None else None
        if block is None or node is None or node.data is None:
            return None
        if node.data.kind not in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
            return None
        found = hamt.find(block, name, get)
        if found is None:
            return None
        here = found.cid
    return here


def head(root: Cid, get: Get, name: bytes = b"") -> nar.File | nar.Symlink | nar.Directory:
    """Return what `root` is, without what is in it. Raises as `walk` does."""
    event = next(walk(root, get, name))
    assert isinstance(event, nar.File | nar.Symlink | nar.Directory)
    return event


def names(root: Cid, get: Get) -> list[bytes]:
    """Return the names in the directory at `root`, sorted; none if it is no directory."""
    block = _block(root, get)
    data = unixfs.parse(block).data if block is not None else None
    if block is None or data is None or data.kind not in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
        return []
    return [link.name for link in hamt.entries(block, get)]


def is_file(root: Cid, get: Get) -> bool:
    """Tell whether `root` is a regular file."""
    block = _block(root, get)
    data = unixfs.parse(block).data if block is not None else None
    return block is None or (data is not None and data.kind in (unixfs.FILE, unixfs.RAW))


def size(root: Cid, get: Get) -> int:
    """Return the length in bytes of the file whose root this is."""
    content = cid.inlined(root)
    if cid.codec(root) == cid.RAW:
        return len(get(root) if content is None else content)
    node = unixfs.parse(get(root) if content is None else content)
    if node.data is None or node.data.filesize is None:
        raise NotATree(f"{cid.text(root)} has no length")
    return node.data.filesize


def _block(root: Cid, get: Get) -> bytes | None:
    """Return the node at `root`; None for a leaf."""
    if cid.codec(root) != cid.DAG_PB:
        return None
    content = cid.inlined(root)
    return get(root) if content is None else content


def _file(root: Cid, get: Get, name: bytes, executable: bool) -> Iterator[nar.Event[Piece]]:
    yield nar.File(name, executable, size(root, get))
    for piece in read(root, get):
        yield nar.Data(piece)
