"""The balanced layout: how the parts of a file become one DAG.

All leaves stand at one depth. Nodes take `width` links; only the last of each level may have fewer,
and a node that is alone at the end of its level is wrapped all the same, never lifted up.
Specification: https://specs.ipfs.tech/unixfs/ (balanced), as Kubo and Helia do it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
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
    Memory: `width` leaves, and the nodes of one level.
    """
    rest = iter(leaves)
    level = list(islice(rest, width + 1))  # one more than a node takes tells that there are more
    if len(level) == 1 and mode is None:
        return level[0]
    while len(level) > width:
        level = list(_nodes(chain(level, rest), put, width))
    return _node(level, put, mode)


def _nodes(children: Iterator[Child], put: Callable[[bytes], Cid], width: int) -> Iterator[Child]:
    """Make nodes of `width` children each; the last has what is left."""
    while part := list(islice(children, width)):
        yield _node(part, put)


def _node(children: Sequence[Child], put: Callable[[bytes], Cid], mode: int | None = None) -> Child:
    """Make one node of `children`."""
    block = unixfs.file_node(children, mode)
    tsize = len(block) + sum(tsize for _, tsize, _ in children)
    return put(block), tsize, sum(filesize for _, _, filesize in children)
