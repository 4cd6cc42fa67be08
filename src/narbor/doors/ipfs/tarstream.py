"""A tree as a tar archive: directories, files and symlinks, under the name of their root.

The names in a tree may be anybody's: one with dots that leads elsewhere inside what is above it is
followed, as others do; one that leads out, or through what is not above it, ends the archive.
"""

from collections.abc import Iterator
from typing import Final

from narbor.doors.ipfs.contentpath import Blocks, need
from narbor.errors import Refused
from narbor.formats import hamt, tar, unixfs
from narbor.formats.tar import Kind
from narbor.formats.unixfs import Link, Unixfs
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from narbor.names.cidtext import Written

VERSION: Final = "narbor1"
"""Part of the archives' ETags: to be changed with what they look like."""
_DEEPEST: Final = 1000
Path = tuple[bytes, ...]


class Outside(Refused):
    """A name in a tree leads out of it, or nowhere."""


class NoTree(Refused):
    """A DAG is no tree of files and directories."""


def stream(blocks: Blocks, root: Written) -> Iterator[bytes]:
    """Give the archive piece by piece; raises Outside, NoTree, Missing, also midway.

    What is wrong with the first names is raised before the first piece.
    """
    name = cidtext.known(root)
    top = Link(name, 0, cidtext.text(root).encode())
    # Headers of directories wait for what is in them, so that a bad name is told in time.
    held = b""
    todo: list[tuple[Iterator[Link], Path]] = [(iter((top,)), ())]
    while todo:
        links, above = todo[-1]
        link = next(links, None)
        if link is None:
            todo.pop()
            continue
        path = _path(above, link.name)
        block, data = _node(blocks, link.cid)
        if data is not None and data.kind in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
            if len(path) > _DEEPEST:
                raise Outside(f"directories more than {_DEEPEST} deep")
            held += _header(path, "directory", data)
            todo.append((hamt.unsorted(block, lambda name: need(blocks, name)), path))
            continue
        yield from _leaf(blocks, path, link.cid, data, held)
        held = b""
    yield held + tar.END


def _path(above: Path, name: bytes) -> Path:
    """Return where an entry goes; raises Outside."""
    path = list(above)
    *way, last = name.split(b"/")
    for part in way:
        if part == b".." and len(path) > 1:
            path.pop()
        elif part != b".":
            break
    else:
        if last not in (b"", b".", b"..") and (path or not above):
            return (*path, last)
    shown = b"/".join((*above, name)).decode("utf-8", "backslashreplace")
    raise Outside(f"the name {shown!r} leads out of the tree, or through it")


def _node(blocks: Blocks, name: Cid) -> tuple[bytes, Unixfs | None]:
    """Return a dag-pb block and what it says; nothing of a leaf."""
    if cid.codec(name) == cid.RAW:
        return b"", None
    if cid.codec(name) != cid.DAG_PB:
        raise NoTree(f"{cid.text(name)} is neither a file nor a directory")
    block = need(blocks, name)
    data = unixfs.parse(block).data
    if data is None or data.kind == unixfs.METADATA:
        raise NoTree(f"{cid.text(name)} is neither a file nor a directory")
    return block, data


def _leaf(
    blocks: Blocks, path: Path, name: Cid, data: Unixfs | None, held: bytes
) -> Iterator[bytes]:
    """Give a file or a symlink, behind what was held."""
    if data is not None and data.kind == unixfs.SYMLINK:
        yield held + _header(path, "symlink", data, target=data.data or b"")
        return
    size = _size(blocks, name) if data is None else data.filesize
    size = len(data.data or b"") if size is None and data is not None else size or 0
    yield held + _header(path, "file", data, size)
    yield from blocks.content(name)
    yield tar.padding(size)


def _size(blocks: Blocks, name: Cid) -> int:
    size = blocks.block_size(name)
    return len(need(blocks, name)) if size is None else size


def _header(
    path: Path, kind: Kind, data: Unixfs | None, size: int = 0, target: bytes = b""
) -> bytes:
    mode, time = (None, None) if data is None else (data.mode, data.mtime)
    return tar.header(b"/".join(path), kind, size, mode, time and time[0], target)
