"""Which blocks of a DAG a CAR brings: the way, then what stands at its end, depth first.

    block    the block at the end
    entity   all of one file, or what it takes to list a directory; of other blocks, the block
    all      everything below

A range of bytes (`entity-bytes`) takes of a file only what holds these bytes; blocks beside it need
not be here. Identity CIDs are no blocks: what they hold is not sent, what it links to is.
Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from narbor.doors.ipfs.contentpath import Blocks, Place, need
from narbor.errors import Refused
from narbor.formats import ipld, unixfs
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from narbor.names.cidtext import Written

SCOPES: Final = ("block", "entity", "all")
_RANGE: Final = re.compile(r"(-?[0-9]{1,19}):(-?[0-9]{1,19}|\*)", re.ASCII)
_BATCH: Final = 64

Found = Iterator[tuple[Written, bytes]]
_New = Callable[[Written], bool]


class BadSelection(Refused):
    """A request for a CAR cannot be understood."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted. `start` and `last` count bytes, from the end where negative; None: the end.

    `twice`: blocks are sent as often as they are met.
    """

    scope: str = "all"
    start: int | None = None
    last: int | None = None
    twice: bool = False

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise BadSelection(f"dag-scope={self.scope} is not known (block, entity, all)")


def select(scope: str | None, span: str | None, twice: bool) -> Selection:
    """Read what a request says; a range of bytes implies an entity. Raises BadSelection."""
    if span is None:
        return Selection(scope or "all", twice=twice)
    match = _RANGE.fullmatch(span)
    if match is None:
        raise BadSelection(f"entity-bytes={span} is not FROM:TO")
    Selection(scope or "all")
    start, last = int(match[1]), None if match[2] == "*" else int(match[2])
    if last is not None and (start < 0) == (last < 0) and last < start:
        raise BadSelection(f"entity-bytes={span} ends before it begins")
    return Selection("entity", start, last, twice)


def blocks(source: Blocks, place: Place, wanted: Selection) -> Found:
    """Give the blocks with their CIDs as they stand; raises Missing, also midway."""
    seen: set[Cid] = set()

    def new(written: Written) -> bool:
        name = cidtext.known(written)
        if wanted.twice:
            return True
        if name in seen:
            return False
        seen.add(name)
        return True

    for written in place.way:
        if new(written):
            yield written, need(source, written)
    walk = _Walk(source, new)
    if wanted.scope == "all":
        yield from walk.whole([place.written])
        return
    block = need(source, place.written)
    if new(place.written):
        yield place.written, block
    if wanted.scope == "entity" and cid.codec(place.cid) == cid.DAG_PB:
        yield from walk.entity(block, wanted)


class _Walk:
    """Goes through a DAG. `new` says which blocks are still to be sent, and is told by asking."""

    def __init__(self, source: Blocks, new: _New) -> None:
        self._source = source
        self._new = new

    def whole(self, ahead: list[Written]) -> Found:
        """Give these blocks, the last one first, each with all below it."""
        while ahead:
            if leaves := self._leaves(ahead):
                names = [cidtext.known(leaf) for leaf in leaves]
                yield from zip(leaves, self._source.blocks(names), strict=True)
                continue
            written = ahead.pop()
            if not self._new(written):
                continue
            block = need(self._source, written)
            yield written, block
            ahead += reversed(ipld.links(cidtext.known(written), block))

    def _leaves(self, ahead: list[Written]) -> list[Written]:
        """Take raw blocks from the end of a list, those that are new, to be read in one go."""
        leaves: list[Written] = []
        while ahead and len(leaves) < _BATCH and ahead[-1].startswith(_LEAF):
            leaf = ahead.pop()
            if self._new(leaf):
                leaves.append(leaf)
        return leaves

    def entity(self, block: bytes, wanted: Selection) -> Found:
        """Give what belongs to the entity whose root is `block`, which was given."""
        node = unixfs.parse(block)
        if node.data is None:
            return
        if node.data.kind == unixfs.HAMT_SHARD:
            yield from self._shards(block)
        elif node.data.kind not in (unixfs.FILE, unixfs.RAW):
            return
        elif wanted.start is None:
            yield from self.whole(list(reversed(_children(block))))
        else:
            size = node.data.filesize
            size = len(node.data.data or b"") if size is None else size
            low, high = _span(wanted.start, wanted.last, size)
            if low <= high:
                yield from self._part(block, low, high)

    def _shards(self, block: bytes) -> Found:
        """Give the shards below one, not the entries."""
        ahead = [(block, self._below(block))]
        while ahead:
            written = next(ahead[-1][1], None)
            if written is None:
                ahead.pop()
            elif self._new(written):
                shard = need(self._source, written)
                yield written, shard
                ahead.append((shard, self._below(shard)))

    @staticmethod
    def _below(block: bytes) -> Iterator[Written]:
        node = unixfs.parse(block)
        fanout = node.data.fanout if node.data is not None else None
        width = len(f"{(fanout or 256) - 1:X}")
        children = _children(block)
        return (
            child
            for child, link in zip(children, node.links, strict=True)
            if len(link.name) == width
        )

    def _part(self, block: bytes, low: int, high: int) -> Found:
        """Give the blocks below that hold a byte of [low, high]."""
        ahead = self._holding(block, 0, low, high)
        while ahead:
            written, at = ahead.pop()
            child = need(self._source, written)
            if self._new(written):
                yield written, child
            if cid.codec(cidtext.known(written)) == cid.DAG_PB:
                ahead += self._holding(child, at, low, high)

    @staticmethod
    def _holding(block: bytes, at: int, low: int, high: int) -> list[tuple[Written, int]]:
        """Return the children that hold a byte of [low, high], the last one first."""
        node = unixfs.parse(block)
        found = []
        if node.data is not None and len(node.data.blocksizes) == len(node.links):
            at += len(node.data.data or b"")
            for child, size in zip(_children(block), node.data.blocksizes, strict=True):
                if at <= high and at + size > low:
                    found.append((child, at))
                at += size
        return found[::-1]


_LEAF: Final = bytes((1, cid.RAW, cid.SHA256))


def _children(block: bytes) -> list[Written]:
    return ipld.links(_ANY_NODE, block)


_ANY_NODE: Final = cid.node(b"")


def _span(start: int, last: int | None, size: int) -> tuple[int, int]:
    """Return the first and the last byte that are meant, of a file of `size` bytes."""
    low = max(size + start, 0) if start < 0 else start
    high = size - 1 if last is None else size + last if last < 0 else last
    return low, min(high, size - 1)
