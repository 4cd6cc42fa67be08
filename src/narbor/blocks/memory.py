"""Blocks in a dictionary: for tests and small tools."""

from collections.abc import Iterable, Iterator, Sequence

from narbor.blocks import BlockMissing
from narbor.names.cid import Cid


class MemoryStore:
    """A BlockStore that lives as long as the process."""

    def __init__(self) -> None:
        self.blocks: dict[Cid, bytes] = {}

    def get(self, name: Cid) -> bytes | None:
        """Return the block or None."""
        return self.blocks.get(name)

    def get_many(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give the blocks in the order asked for."""
        for name in names:
            block = self.blocks.get(name)
            if block is None:
                raise BlockMissing(name)
            yield block

    def missing(self, names: Iterable[Cid]) -> set[Cid]:
        """Return which of these are not here."""
        return {name for name in names if name not in self.blocks}

    def put_many(self, blocks: Sequence[tuple[Cid, bytes]]) -> None:
        """Keep these blocks."""
        for name, block in blocks:
            self.blocks.setdefault(name, block)

    def sync(self) -> None:
        """Nothing is more durable than it is."""

    def delete(self, names: Iterable[Cid]) -> None:
        """Let these blocks go."""
        for name in names:
            self.blocks.pop(name, None)

    def keys(self) -> Iterator[Cid]:
        """Give each CID."""
        yield from list(self.blocks)
