"""What in an older archive is likely to resemble what is new in another.

Archives list their files by name, so two versions of an item have their leaves in the same order.
Leaves that both have once are anchors; what is new between two anchors is a changed form of what
is old between them. Nothing need be known of paths: a file whose name has its version in it is met
by its forerunner all the same.

    old   A  p q r  B  s  C
    new   A  P Q    B     C  T         P Q resemble p q r; T resembles nothing
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from narbor.dag.splice import Leaf
from narbor.names.cid import Cid

ROOM: Final = 8 << 20
"""Bytes of new leaves that are looked at together; of old ones there may be twice as many."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Leaves that are wanted, and the old ones (none, perhaps) that are likely to resemble them."""

    wanted: tuple[Leaf, ...]
    basis: tuple[Leaf, ...]


def align(
    old: Sequence[Leaf], new: Sequence[Leaf], here: Container[Cid], room: int = ROOM
) -> Iterator[Stretch]:
    """Give the leaves of `new` that are not `here`, each once, in order, with what to build on.

    Only what is here is built on: of old leaves that are not, nothing is expected.
    """
    old = [leaf for leaf in old if leaf.cid in here]
    met: set[Cid] = set()
    ends = ((-1, -1), *_anchors(old, new), (len(old), len(new)))
    for (before, from_), (behind, to) in pairwise(ends):
        wanted = []
        for leaf in new[from_ + 1 : to]:
            if leaf.cid not in here and leaf.cid not in met:
                met.add(leaf.cid)
                wanted.append(leaf)
        if wanted:
            yield from _cut(wanted, tuple(dict.fromkeys(old[before + 1 : behind])), room)


def _anchors(old: Sequence[Leaf], new: Sequence[Leaf]) -> list[tuple[int, int]]:
    """Return places (old, new) of the leaves that both have once, as many as keep one order."""
    count_old, count_new = Counter(old), Counter(new)
    place = {leaf: at for at, leaf in enumerate(old) if count_old[leaf] == 1}
    both = [
        (place[leaf], at) for at, leaf in enumerate(new) if count_new[leaf] == 1 and leaf in place
    ]
    return _rising(both)


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest run of pairs in which the first members rise too (patience sorting)."""
    smallest: list[int] = []  # of all runs of each length, the smallest last member
    last: list[int] = []
    before: list[int | None] = []
    for at, (first, _) in enumerate(pairs):
        length = bisect_left(smallest, first)
        smallest[length : length + 1] = [first]
        last[length : length + 1] = [at]
        before.append(last[length - 1] if length else None)
    found = []
    at_ = last[-1] if last else None
    while at_ is not None:
        found.append(pairs[at_])
        at_ = before[at_]
    return found[::-1]


def _cut(wanted: Sequence[Leaf], basis: Sequence[Leaf], room: int) -> Iterator[Stretch]:
    """Cut a long gap into stretches, each over the part of the basis that lies where it does."""
    total, old = _size(wanted), _size(basis)
    done = 0
    while wanted:
        count = _fitting(wanted, room)
        part, wanted = wanted[:count], wanted[count:]
        size = _size(part)
        low = done * old // total - room // 2
        high = (done + size) * old // total + room // 2
        done += size
        yield Stretch(tuple(part), tuple(_between(basis, low, high)))


def _fitting(leaves: Sequence[Leaf], room: int) -> int:
    """Return how many leaves, one at the least, fit into the room."""
    for count, leaf in enumerate(leaves):
        room -= leaf.size
        if room < 0:
            return max(1, count)
    return len(leaves)


def _between(leaves: Sequence[Leaf], low: int, high: int) -> Iterator[Leaf]:
    at = 0
    for leaf in leaves:
        if at + leaf.size > low and at < high:
            yield leaf
        at += leaf.size


def _size(leaves: Sequence[Leaf]) -> int:
    return sum(leaf.size for leaf in leaves)
