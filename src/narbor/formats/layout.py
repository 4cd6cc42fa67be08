"""The balanced layout: how the parts of a file become one DAG.

All leaves stand at one depth. Nodes take `width` links; only the last of each level may have fewer,
and a node that is alone at the end of its level is wrapped all the same, never lifted up.
Specification: https://specs.ipfs.tech/unixfs/ (balanced), as Kubo and Helia do it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from narbor.formats import unixfs
from narbor.formats.unixfs import Child
from narbor.names.cid import Cid

WIDTH: Final = 1024
"""Links of a node in the profile unixfs-v1-2025."""


def balanced(
    leaves: Iterable[Child],
    put: Callable[[bytes], Cid],
    width: int = WIDTH,
    mode: int | None = None,
) -> Child:
    """Join `leaves` (CID, tsize, bytes of the file each) into one file; return its root likewise.

    Each node goes to `put`, children first. One leaf alone is the file itself, unless there is a
    `mode`, which only a node can carry. No leaf at all makes the empty file as a node.
    Memory: `width` leaves for each level.
    """
    levels: list[list[Child]] = [[]]
    for leaf in leaves:
        _add(levels, leaf, put, width)
    height = 0
    while height + 1 < len(levels):
        _add(levels, _node(levels[height], put), put, width, height + 1)
        height += 1
    top = levels[height]
    if len(levels) == 1 and len(top) == 1 and mode is None:
        return top[0]
    return _node(top, put, mode)


def _add(
    levels: list[list[Child]],
    child: Child,
    put: Callable[[bytes], Cid],
    width: int,
    height: int = 0,
) -> None:
    """Put `child` on the level `height`, and every level that is full before it on the next.

    A full level waits for the child after it: the last one is the root, which takes the mode.
    """
    while True:
        if height == len(levels):
            levels.append([])
        level = levels[height]
        if len(level) < width:
            level.append(child)
            return
        parent = _node(level, put)
        levels[height] = [child]
        child, height = parent, height + 1


def _node(children: Sequence[Child], put: Callable[[bytes], Cid], mode: int | None = None) -> Child:
    """Make one node of `children`."""
    block = unixfs.file_node(children, mode)
    tsize = len(block) + sum(tsize for _, tsize, _ in children)
    return put(block), tsize, sum(filesize for _, _, filesize in children)
