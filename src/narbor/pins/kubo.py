"""A Kubo daemon as a holder.

Blocks go over as CARs of a bounded size, so that what broke off goes on with what is not there
yet. Kubo has one recursive pin a root, with one name; so where a root is pinned already, by someone
else or under another name, the name is given to a small block that links to it, a sign:
docs/formats/kept-elsewhere.md. Pins that do not bear the name are never touched.

Before a root is pinned the daemon is asked, offline, whether all is there, for an online daemon
would search the network for what is not. From one root to the next of the same name only what
differs is walked, by us as by the daemon. Until a root is pinned, a daemon that collects garbage
may take its blocks away again: `keep` finds that, and says Incomplete.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from narbor.errors import Refused
from narbor.formats import car, dagcbor, dagpb, ipld, unixfs
from narbor.formats.dagcbor import Link
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.net.kubo import LONGEST_NAME, MOST_WEIGHED, Kubo, Pin
from narbor.net.kuborpc import Failing, NotThere
from narbor.pins import Block, Incomplete

BATCH: Final = 64 << 20
"""Bytes of blocks in one CAR: what may have to be sent again."""

_DIRECTORIES: Final = frozenset({unixfs.DIRECTORY, unixfs.HAMT_SHARD})


class BadName(Refused):
    """A name that no pin can have."""


class KuboHolder:
    """A `Holder` over one daemon. With `announce`, the network is told of each root it keeps."""

    def __init__(self, kubo: Kubo, announce: bool = False, batch: int = BATCH) -> None:
        """`kubo` is closed with this. Raises Unsupported for a version that is too old."""
        kubo.version()
        self._kubo = kubo
        self._announce = announce
        self._batch = batch

    def close(self) -> None:
        """Close all connections."""
        self._kubo.close()

    def kept(self, name: str) -> Cid | None:
        """Return what is kept under this name; where there are two, one of them."""
        for pin in self._held(name):
            root = self._root(pin)
            if root is not None:
                return root
        return None

    def missing(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which of these are not there."""
        return self._kubo.absent([name for name in names if ipld.inlined(name) is None])

    def inventory(self) -> Iterator[Cid]:
        """Give all blocks of the daemon, each as if it were raw."""
        return self._kubo.inventory()

    def take(self, blocks: Iterable[Block]) -> None:
        """Send blocks, one CAR after the other."""
        source = iter(blocks)
        for first in source:
            batch = _Batch(first, source, self._batch)
            count = self._kubo.load(car.write((), batch))
            if count != batch.count:
                raise Failing(f"{self._kubo.name}: {batch.count} blocks went, {count} came")

    def keep(self, name: str, root: Cid) -> None:
        """Pin all below `root` under this name, and unpin what it stood for."""
        held = self._held(name)
        kept = next((pin.root for pin in held if self._root(pin) == root), None)
        if kept is None:
            kept = self._pin(name, root, held)
            if self._announce:
                # It is kept all the same; a daemon that can tell nobody now tells later by itself.
                with suppress(Failing):
                    self._kubo.provide([root])
        for pin in held:
            if pin.root != kept:
                self._kubo.unpin(pin.written)

    def _held(self, name: str) -> list[Pin]:
        if not 0 < len(name.encode()) <= LONGEST_NAME:
            raise BadName(f"{name[:80]!r} is no name of 1 to {LONGEST_NAME} bytes")
        return sorted(pin for pin in self._kubo.pins(name) if pin.name == name)

    def _root(self, pin: Pin) -> Cid | None:
        """Return what a pin of ours stands for; None where that cannot be read any more."""
        if cid.codec(pin.root) != cid.DAG_CBOR:
            return pin.root
        try:
            said = dagcbor.decode(self._kubo.block(pin.root), strict=False)
        except NotThere:
            return None
        except dagcbor.MalformedCbor:
            return pin.root
        kept = said.get("kept") if isinstance(said, dict) else None
        if isinstance(kept, Link) and said == {"kept": kept, "name": pin.name}:
            return cid.check(kept.cid)
        return pin.root

    def _pin(self, name: str, root: Cid, held: Sequence[Pin]) -> Cid:
        """Give the name to `root`, or to a block that links to it where it is pinned already.

        Return what has the name now.
        """
        old = next((pin for pin in held if self._root(pin) == pin.root), None)
        try:
            self._prove(None if old is None else old.root, root)
        except NotThere as error:
            raise Incomplete(f"{cid.text(root)} cannot be kept: {error}") from error
        if self._kubo.pin_of(root) is not None:
            block = dagcbor.encode({"kept": Link(root), "name": name})
            sign = Cid(bytes((1, cid.DAG_CBOR)) + cid.raw(block)[2:])
            self.take([(sign, block)])
            self._kubo.pin(sign, name)
            return sign
        if old is None:
            self._kubo.pin(root, name)
        else:
            self._kubo.repin(old.written, root)
        return root

    def _prove(self, old: Cid | None, new: Cid) -> None:
        """See that all below `new` is there that is not below `old`; raises NotThere.

        Directories are compared entry by entry; what is new in them is left to the daemon to walk.
        """
        fresh: list[Cid] = []
        ahead = [(old, new)]
        while ahead:
            before, after = ahead.pop()
            if before is None or not self._alike(before, after, ahead):
                fresh.append(after)
            if len(fresh) >= MOST_WEIGHED or (fresh and not ahead):
                self._kubo.weigh(fresh)
                fresh.clear()

    def _alike(self, before: Cid, after: Cid, ahead: list[tuple[Cid | None, Cid]]) -> bool:
        """Compare two directories, and add to `ahead` what differs; False for anything else."""
        new = self._entries(after)
        if new is None:
            return False
        try:
            old = self._entries(before)
        except NotThere:
            old = None
        if old is None:
            return False
        known = {link.cid for link in old}
        by_name = {link.name: link.cid for link in old}
        ahead.extend((by_name.get(link.name), link.cid) for link in new if link.cid not in known)
        return True

    def _entries(self, name: Cid) -> Sequence[dagpb.Link] | None:
        """Return the links of a directory or of a part of one; None for all else."""
        if cid.codec(name) != cid.DAG_PB:
            return None
        content = ipld.inlined(name)
        block = self._kubo.block(name) if content is None else content
        try:
            node = unixfs.parse(block)
        except unixfs.MalformedNode:
            return None
        return node.links if node.data is not None and node.data.kind in _DIRECTORIES else None


class _Batch:
    """Blocks until they are `most` bytes or more; what is not taken stays in `source`."""

    def __init__(self, first: Block, source: Iterator[Block], most: int) -> None:
        self.count = 0
        self._first = first
        self._source = source
        self._most = most

    def __iter__(self) -> Iterator[Block]:
        block: Block | None = self._first
        size = 0
        while block is not None:
            if ipld.inlined(block[0]) is None:
                self.count += 1
                size += len(block[1])
                yield block
            block = next(self._source, None) if size < self._most else None
