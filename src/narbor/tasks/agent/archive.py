"""An archive's bytes out of its DAG: what is here is read, what is not is gathered.

The nodes come first, level by level and for many archives at once; then the leaves that lack, some
requests ahead, while the bytes are given in order. A node is believed no further than its links add
up to what its parent said, so a DAG that lies costs no more than an archive of its size may.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Final

from narbor.blocks import BlockMissing
from narbor.blocks.packs import PackStore
from narbor.dag import splice
from narbor.dag.splice import Leaf, Piece
from narbor.errors import NarborError, Rejected
from narbor.formats import unixfs
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.tasks.agent.kin import Basis, Kin
from narbor.tasks.agent.sharing import Arriving, UnderWay
from narbor.tasks.gather import Block, BlocksLost, Gatherer, Likeness

Root = tuple[Cid, int]
"""An archive's root, and how many bytes the archive has."""

_BATCH: Final = 256  # pieces
_FIRST_BATCH: Final = 256 << 10  # bytes; the next has twice as many
_LARGEST_BATCH: Final = 2 << 20
_MOST_HELD: Final = 8 << 20
_FEWEST: Final = 64  # nodes that any archive may have; and one more for so many bytes
_USUAL: Final = 1 << 10
_SPARE: Final = 1 << 20  # bytes that the nodes of an archive may have more than the archive


class LyingRoot(Rejected):
    """A DAG is not what an archive of that size would be."""


class Archives:
    """Reads archives out of a store of blocks that may lack some."""

    def __init__(self, store: PackStore, gatherer: Gatherer, clock: Callable[[], float]) -> None:
        self._store = store
        self._gatherer = gatherer
        self._under_way = UnderWay()
        self._clock = clock

    def nodes(self, roots: Sequence[Root], kin: Mapping[Cid, Kin]) -> None:
        """Have the nodes of these archives here, as far as they can be had.

        `kin` has relatives of some, by the root. What lacks in the end is found out by who reads.
        Blocks are kept under an admission that the caller has open.
        """
        level, budget = dict(roots), dict.fromkeys((root for root, _ in roots), 0)
        owner = {root: root for root, _ in roots}
        limits = {root: size + _SPARE for root, size in roots}
        while level:
            self._bring(level, {name: kin[owner[name]] for name in level if owner[name] in kin})
            below: dict[Cid, int] = {}
            for name, size in level.items():
                root = owner[name]
                block = self._node(name)
                if block is None:
                    continue
                budget[root] += len(block)
                if budget[root] > limits[root]:
                    continue
                for child, share in _nodes_below(block, name, size):
                    below[child] = share
                    owner.setdefault(child, root)
            level = below

    def _bring(self, level: dict[Cid, int], kin: Mapping[Cid, Kin]) -> None:
        names = [name for name in level if cid.inlined(name) is None]
        lacking = self._store.missing(names)
        wanted = [(name, 0) for name in names if name in lacking]
        basis = {name: each.nodes for name, each in kin.items()}
        blocks = dict(chain.from_iterable(each.blocks.items() for each in kin.values()))
        likeness = Likeness(basis, partial(self._alike, blocks))
        try:
            for came in self._gatherer.gather(wanted, likeness) if wanted else ():
                self._store.put_many(came)
        except BlocksLost:
            return  # others of the level are here, and other archives need them

    def _alike(self, blocks: Mapping[Cid, bytes], name: Cid) -> bytes:
        block = blocks.get(name)
        return self._need(name) if block is None else block

    def _node(self, name: Cid) -> bytes | None:
        content = cid.inlined(name)
        return self._store.get(name) if content is None else content

    def pieces(self, root: Root) -> list[Piece]:
        """Return the whole splice of an archive whose nodes are here.

        Raises BlockMissing where they are not, LyingRoot, MalformedNode.
        """
        out: list[Piece] = []
        size, left = 0, _FEWEST + root[1] // _USUAL

        def node(name: Cid) -> bytes:
            nonlocal left
            left -= 1
            if left < 0:
                raise LyingRoot(f"{cid.text(root[0])} has more nodes than an archive may")
            return self._need(name)

        for piece in splice.read(root[0], node):
            length = len(piece) if isinstance(piece, bytes) else piece.size
            size += length
            if size > root[1] or length == 0:
                break
            out.append(piece)
        else:
            if size == root[1]:
                return out
        raise LyingRoot(f"{cid.text(root[0])} is no archive of {root[1]} bytes")

    def _need(self, name: Cid) -> bytes:
        block = self._node(name)
        if block is None:
            raise BlockMissing(name)
        return block

    def lacking(self, pieces: Iterable[Piece]) -> dict[Cid, int]:
        """Return the leaves that are not here, in order, with their sizes."""
        leaves = {piece.cid: piece.size for piece in pieces if isinstance(piece, Leaf)}
        absent = self._store.missing(leaves)
        return {name: size for name, size in leaves.items() if name in absent}

    def read(
        self, pieces: Sequence[Piece], lacking: dict[Cid, int], basis: Basis
    ) -> Iterator[bytes]:
        """Give the bytes that a splice stands for; leaves that lack are gathered meanwhile.

        `basis` says what is here and like some of them.

        Raises BlocksLost, and what the store raises.
        """
        arriving = Arriving(
            *(self._store, self._gatherer, self._under_way),
            *(lacking, Likeness(basis, self._need), self._clock),
        )
        with closing(arriving):
            held = _Held()
            for batch in _batches(pieces):
                names = [piece.cid for piece in batch if isinstance(piece, Leaf)]
                for came in arriving.until(names):
                    held.add(came)
                here = held.pick(names)
                blocks = self._store.get_many([name for name in names if name not in here])
                yield b"".join(
                    piece
                    if isinstance(piece, bytes)
                    else here[piece.cid]
                    if piece.cid in here
                    else next(blocks)
                    for piece in batch
                )


class _Held:
    """Blocks that came and are needed soon: they need not be read from the disk again."""

    def __init__(self) -> None:
        self._blocks: dict[Cid, bytes] = {}
        self._size = 0

    def add(self, group: Sequence[Block]) -> None:
        """Hold blocks, as far as there is room; all are in the store."""
        for name, block in group:
            if self._size < _MOST_HELD and name not in self._blocks:
                self._blocks[name] = block
                self._size += len(block)

    def pick(self, names: Iterable[Cid]) -> dict[Cid, bytes]:
        """Let go of those of these blocks that are held, and return them."""
        found = {name: block for name in names if (block := self._blocks.get(name)) is not None}
        for name, block in found.items():
            del self._blocks[name]
            self._size -= len(block)
        return found


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Cut a splice into batches of a few megabytes at most; the first ones are small."""
    batch: list[Piece] = []
    size, most = 0, _FIRST_BATCH
    for piece in pieces:
        batch.append(piece)
        size += len(piece) if isinstance(piece, bytes) else piece.size
        if size >= most or len(batch) >= _BATCH:
            yield batch
            batch, size, most = [], 0, min(2 * most, _LARGEST_BATCH)
    if batch:
        yield batch


def _nodes_below(block: bytes, name: Cid, size: int) -> Iterator[tuple[Cid, int]]:
    """Give the nodes that a node links to, with their sizes; none where it is no sound node."""
    if cid.codec(name) != cid.DAG_PB:
        return
    try:
        links = unixfs.file_links(block)
    except NarborError:
        return  # a node with content of its own, or junk: `pieces` tells
    if sum(share for _, share in links) != size:
        return
    for child, share in links:
        if cid.codec(child) == cid.DAG_PB and share > 0:
            yield child, share
