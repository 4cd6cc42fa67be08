"""Blocks that are here and not given: by their hash, whatever codec they are asked for under.

A root that is withheld is not given under any path that leads to it or through it. A file is looked
at by its root alone: leaves are withheld one by one, not from the files that hold them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from narbor.doors.ipfs.contentpath import Blocks
from narbor.errors import Refused
from narbor.names import cid
from narbor.names.cid import Cid


class Denied(Refused):
    """What was asked for is not given, here or ever; 410."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """The blocks of a store but for some. `hashes` are multihashes; see `hash_of`."""

    blocks_here: Blocks
    hashes: frozenset[bytes]

    def block(self, name: Cid) -> bytes | None:
        """Return a block; raises Denied."""
        self._check(name)
        return self.blocks_here.block(name)

    def block_size(self, name: Cid) -> int | None:
        """Return the length of a block; raises Denied."""
        self._check(name)
        return self.blocks_here.block_size(name)

    def blocks(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give blocks in the order asked for; raises Denied."""
        for name in names:
            self._check(name)
        return self.blocks_here.blocks(names)

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes [start, stop) of the file at `root`; raises Denied."""
        self._check(root)
        return self.blocks_here.content(root, start, stop)

    def _check(self, name: Cid) -> None:
        if hash_of(name) in self.hashes:
            raise Denied(f"{cid.text(name)} is not given here")


def hash_of(name: Cid) -> bytes:
    """Return the multihash of a CID: all but version and codec."""
    return name[cid.read_varint(name, 1)[1] :]
