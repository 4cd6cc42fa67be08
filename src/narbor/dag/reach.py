"""Every block that hangs from a root, of any codec."""

from collections.abc import Callable, Iterator, Sequence

from narbor.dag.splice import Get
from narbor.errors import NarborError
from narbor.formats import ipld
from narbor.names import cid
from narbor.names.cid import Cid

Complain = Callable[[Cid, NarborError], None]


def reach(
    root: Cid, get: Get, enter: Callable[[Cid], bool], complain: Complain | None = None
) -> Iterator[Cid]:
    """Give each block under `root`, parents first, that `enter` says yes to.

    `enter` is asked once for every link met: where it says no (seen before, say), nothing below is
    visited either. Identity CIDs are no blocks and are not given, but what they link to is.
    Leaves are not read, nor blocks of codecs that are not known here: they count as leaves.

    What is wrong with a block (missing, damaged, not of its codec) is raised; with `complain`, that
    is told instead, and the walk goes on with the others.
    """
    ahead = [root]
    while ahead:
        here = ahead.pop()
        if not is_inline(here):
            if not enter(here):
                continue
            yield here
        ahead.extend(reversed(_targets(here, get, complain)))


def is_inline(name: Cid) -> bool:
    """Tell whether a CID is its own content."""
    return (name[2] == cid.IDENTITY) if name[1] < 128 else ipld.inlined(name) is not None


def _targets(name: Cid, get: Get, complain: Complain | None) -> Sequence[Cid]:
    try:
        return ipld.targets(name, get)
    except NarborError as error:
        if complain is None:
            raise
        complain(name, error)
        return ()
