"""Where leaves and nodes live.

A store of blocks is a set: each block is found by its CID, and putting it twice is putting it once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from narbor.errors import Unavailable
from narbor.formats.exchange import Stretch
from narbor.names import cid
from narbor.names.cid import Cid


class BlockMissing(Unavailable):
    """A block that should be here is not."""

    def __init__(self, name: Cid) -> None:
        super().__init__(f"the block {cid.text(name)} is not here")
        self.name = name


class BlockDamaged(Unavailable):
    """A block is here, but its bytes are not what was written."""

    def __init__(self, name: Cid, where: str) -> None:
        super().__init__(f"the block {cid.text(name)} is damaged at {where}")
        self.name = name


class BlockStore(Protocol):
    """A set of blocks, each found by its CID. All methods may be called from several threads."""

    def get(self, name: Cid) -> bytes | None:
        """Return the block, checked by its checksum at rest; None if it is not here."""
        ...

    def get_many(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give the blocks in the order asked for; raises BlockMissing, BlockDamaged."""
        ...

    def missing(self, names: Iterable[Cid]) -> set[Cid]:
        """Return which of these are not here, in one look."""
        ...

    def put_many(self, blocks: Sequence[tuple[Cid, bytes]]) -> None:
        """Keep these blocks; durable once `sync` has returned. The CIDs are taken at their word."""
        ...

    def sync(self) -> None:
        """Make all that was put before durable."""
        ...

    def delete(self, names: Iterable[Cid]) -> None:
        """Let these blocks go; absent ones are no error."""
        ...

    def keys(self) -> Iterator[Cid]:
        """Give each block's CID once, in any order."""
        ...


class BlockSource(Protocol):
    """Someone who may have blocks. What it gives is not believed: the asker hashes."""

    @property
    def name(self) -> str:
        """The URL, without secrets, as it stands in messages and counts."""
        ...

    def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give those of these blocks that it has, in any order; the others are left out.

        Raises Unavailable when it cannot go on, Refused when it will not without credentials or
        does not speak our language, Rejected for answers that cannot be what was asked for.
        """
        ...


@runtime_checkable
class ThinSource(Protocol):
    """A source that gives blocks as differences to others, where the asker has some like them."""

    def resembling(
        self, stretches: Iterable[Stretch], get: Callable[[Cid], bytes]
    ) -> Iterator[tuple[Cid, bytes]]:
        """Give what is wanted as `BlockSource.fetch` does; `get` gives blocks of the basis."""
        ...
