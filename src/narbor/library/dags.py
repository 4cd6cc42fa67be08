"""The blocks of a store by themselves, whatever they are of, and records of names.

What the IPFS door knows of a library.

A block is found by its hash: where the codec that is asked for is not the one it was kept under,
the common ones are tried as well, as other block stores do that know no codecs.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from narbor.blocks import BlockMissing
from narbor.blocks.index import Place
from narbor.blocks.packs import PackStore
from narbor.dag import splice
from narbor.dag.splice import Leaf
from narbor.formats import ipld
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid

_BATCH: Final = 256
_CODECS: Final = (cid.RAW, cid.DAG_PB, cid.DAG_CBOR)


class Dags:
    """All blocks of a library. Safe for threads."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._store: PackStore = library.blocks

    def block(self, name: Cid) -> bytes | None:
        """Return a block, also one that stands in its CID; None if it is not here."""
        content = ipld.inlined(name)
        if content is not None:
            return content
        for each in _names(name):
            block = self._store.get(each)
            if block is not None:
                return block
        return None

    def block_size(self, name: Cid) -> int | None:
        """Return the length of a block without reading it; None if it is not here."""
        content = ipld.inlined(name)
        if content is not None:
            return len(content)
        place = self._place(name)
        return None if place is None else place.size

    def _place(self, name: Cid) -> Place | None:
        for each in _names(name):
            try:
                return self._store.places([each])[0]
            except BlockMissing:
                continue
        return None

    def blocks(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give blocks in the order asked for; raises BlockMissing, BlockDamaged.

        Those before one that is not here are given first.
        """
        found = self._store.get_many(names)
        try:
            first = next(found, None)
        except BlockMissing:
            # Found out before any of them is read.
            yield from map(self._need, names)
            return
        if first is not None:
            yield first
            yield from found

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes [start, stop) of the UnixFS file at `root`.

        Of a part only the blocks that hold it are read, and no other need be here.
        """
        if start == 0 and stop is None:
            return self._library.content(root)
        return self._part(root, start, stop)

    def is_root(self, name: Cid) -> bool:
        """Tell whether a block is the root of an item, a file, or what is published or kept."""
        at = cid.read_varint(name, 1)[1]
        return name[at] == cid.SHA256 and self._library.catalogue.is_root(name[at + 2 :])

    def record(self, name: Cid) -> bytes | None:
        """Return the IPNS record that is kept of a name."""
        return self._library.catalogue.record_of(name)

    def _part(self, root: Cid, start: int, stop: int | None) -> Iterator[bytes]:
        cuts = splice.pieces(root, self._need, start, stop)
        while batch := list(islice(cuts, _BATCH)):
            leaves = [cut.piece.cid for cut in batch if isinstance(cut.piece, Leaf)]
            found = self._store.get_many(leaves)
            for cut in batch:
                data = next(found) if isinstance(cut.piece, Leaf) else cut.piece
                yield data[cut.start : cut.stop]

    def _need(self, name: Cid) -> bytes:
        block = self.block(name)
        if block is None:
            raise BlockMissing(name)
        return block


def _names(name: Cid) -> Iterator[Cid]:
    """Give the names under which a block may be kept: none, where its hash is not one of ours."""
    codec, at = cid.read_varint(name, 1)
    if name[at] != cid.SHA256:
        return
    yield name
    for other in _CODECS:
        if other != codec:
            yield Cid(bytes((1, other)) + name[at:])
