"""Every block that hangs from a root."""

from collections.abc import Callable, Iterator

from narbor.dag.splice import Get
from narbor.formats import unixfs
from narbor.names import cid
from narbor.names.cid import Cid


def reach(root: Cid, get: Get, enter: Callable[[Cid], bool]) -> Iterator[Cid]:
    """Give each block under `root`, parents first, that `enter` says yes to.

    `enter` is asked once for every link met: where it says no (seen before, say), nothing below is
    visited either. Identity CIDs are no blocks and are not given, but what they link to is.
    Leaves are not read.
    """
    ahead = [root]
    while ahead:
        here = ahead.pop()
        content = cid.inlined(here)
        if content is None:
            if not enter(here):
                continue
            yield here
        if cid.codec(here) != cid.DAG_PB:
            continue
        node = unixfs.parse(get(here) if content is None else content)
        ahead.extend(link.cid for link in reversed(node.links))
