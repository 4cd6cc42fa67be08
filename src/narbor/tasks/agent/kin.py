"""Relatives of an item that are here: what is new in it is fetched as a difference to them.

A relative is another build or version of the same package and output: in the own store, or in the
local Nix store, where it is cut and named as it would be here, which gives the same blocks that
whoever serves it has.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from narbor.blocks import BlockMissing
from narbor.dag import splice
from narbor.dag.align import align
from narbor.dag.reach import reach
from narbor.dag.splice import Leaf, Piece
from narbor.errors import NarborError
from narbor.formats.narinfo import Narinfo
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.item import Item
from narbor.tasks.agent.seeds import Seeds, family

_REMEMBERED: Final = 4  # items of a family
_LARGEST: Final = 1 << 30  # bytes of a NAR in the local store that are read for its outline
_MOST_NODES: Final = 200  # of a relative's archive

Basis = Mapping[Cid, tuple[Cid, ...]]
"""For blocks that are wanted: those that are here and are likely to resemble them."""


@dataclass(frozen=True, slots=True)
class Kin:
    """A relative: the nodes of its archive, and its leaves in order.

    Of one in the local Nix store `seed` is the base name, and `blocks` has its nodes.
    """

    nodes: tuple[Cid, ...]
    leaves: tuple[Leaf, ...]
    seed: str | None = None
    blocks: Mapping[Cid, bytes] = field(default_factory=dict)

    def resembling(self, pieces: Iterable[Piece], lacking: Mapping[Cid, int]) -> Basis:
        """Return for leaves that lack those of the relative that stand in their place."""
        new = [piece for piece in pieces if isinstance(piece, Leaf)]
        here = {leaf.cid for leaf in (*self.leaves, *new)} - lacking.keys()
        found: dict[Cid, tuple[Cid, ...]] = {}
        for stretch in align(self.leaves, new, here):
            basis = tuple(leaf.cid for leaf in stretch.basis)
            if basis:
                found |= dict.fromkeys((leaf.cid for leaf in stretch.wanted), basis)
        return found


class Family:
    """Who is related to whom. For any number of threads."""

    def __init__(self, library: Library, seeds: Seeds | None) -> None:
        self._library = library
        self._seeds = seeds
        self._lock = threading.Lock()
        self._known: defaultdict[tuple[str, str], deque[str]] = defaultdict(_few)
        for item in library.items():
            self.add(item.path.base)

    def add(self, base: str) -> None:
        """Note an item of the own store."""
        with self._lock:
            self._known[family(base[33:])].appendleft(base)

    def near(self, claim: Narinfo) -> Kin | None:
        """Return a relative in the own store; None where there is none."""
        with self._lock:
            bases = tuple(self._known.get(family(claim.path.name), ()))
        # Of the same name first: builds differ less than versions do.
        for base in sorted(bases, key=lambda base: base[33:] != claim.path.name):
            item = self._library.item(base) if base != claim.path.base else None
            if item is not None:
                try:
                    return self._outline(item)
                except NarborError:
                    continue
        return None

    def of(self, claim: Narinfo) -> Kin | None:
        """Return a relative in the own store, or else in the local Nix store."""
        near = self.near(claim)
        if near is not None or self._seeds is None:
            return near
        for base in self._seeds.relatives(claim):
            try:
                return self._seeded(base)
            except NarborError:
                continue
        return None

    def _outline(self, item: Item) -> Kin:
        def node(name: Cid) -> bytes:
            block = self._library.blocks.get(name)
            if block is None:
                raise BlockMissing(name)
            return block

        pieces = splice.read(item.archive, node)
        leaves = tuple(piece for piece in pieces if isinstance(piece, Leaf))
        return Kin(tuple(_nodes(item.archive, node)), leaves)

    def _seeded(self, base: str) -> Kin | None:
        assert self._seeds is not None
        if self._seeds.size(base) > _LARGEST:
            return None
        archive, blocks = self._seeds.outline(base)
        pieces = splice.read(archive, blocks.__getitem__)
        leaves = tuple(piece for piece in pieces if isinstance(piece, Leaf))
        nodes = tuple(_nodes(archive, blocks.__getitem__))
        return Kin(nodes, leaves, base, {name: blocks[name] for name in nodes})


def _few() -> deque[str]:
    return deque(maxlen=_REMEMBERED)


def _nodes(root: Cid, get: splice.Get) -> list[Cid]:
    """Return the nodes below a root, as many as are worth naming."""
    found = []
    for name in reach(root, get, lambda name: cid.codec(name) == cid.DAG_PB):
        found.append(name)
        if len(found) >= _MOST_NODES:
            break
    return found
