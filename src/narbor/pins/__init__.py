"""Who keeps DAGs for us, elsewhere: by blocks (a `Holder`), or by a promise (a `Promise`).

A holder takes blocks and is then told to keep all that hangs from a root, under a name. A pinning
service is only told the root, and where the blocks can be had; it fetches them when it likes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from narbor.errors import Unavailable
from narbor.names.cid import Cid

Block = tuple[Cid, bytes]
MOST_ASKED: Final = 10_000
"""How many names may be asked for at once with `missing`."""

QUEUED: Final = "queued"
PINNING: Final = "pinning"
PINNED: Final = "pinned"
FAILED: Final = "failed"


class Incomplete(Unavailable):
    """Not all that hangs from a root is there, so it cannot be kept; give the rest first."""


class Holder(Protocol):
    """Someone else who keeps DAGs for us, block by block.

    All methods raise Unavailable (no answer now), Refused (credentials, a version, a full disk that
    someone must look at) or Rejected (what was given or answered lies), naming the target. What was
    taken before an error stays taken: asking `missing` again and giving the rest is enough.
    Identity CIDs are no blocks: they are never missing, and are passed over when they are given.
    """

    def kept(self, name: str) -> Cid | None:
        """Return the root that is kept under this name now, with all below it; None for none."""
        ...

    def missing(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which of these (at most `MOST_ASKED`) are not there; asks nobody further."""
        ...

    def inventory(self) -> Iterator[Cid] | None:
        """Give all blocks there, where that is cheaper than asking; None: ask `missing`.

        Their codec may differ from the one they were given under: compare the multihashes.
        """
        ...

    def take(self, blocks: Iterable[Block]) -> None:
        """Take blocks, in bounded memory; durable when it returns.

        They may come in any order and more than once. A block that is not what its name says is
        refused by the other side: Rejected.
        """
        ...

    def keep(self, name: str, root: Cid) -> None:
        """Keep all below `root` under this name, and let go of what the name stood for before.

        Raises Incomplete, and changes nothing, where a block is not there.
        """
        ...

    def close(self) -> None:
        """Let connections and files go."""
        ...


class Promise(Protocol):
    """Someone who fetches DAGs and keeps them; errors as with `Holder`."""

    def kept(self, name: str) -> Cid | None:
        """Return the root that is pinned under this name now; None for none."""
        ...

    def keep(self, name: str, root: Cid, origins: Sequence[str]) -> str:
        """Ask for `root` to be kept under this name, or how that stands.

        `origins` are multiaddrs where the blocks can be had. Returns QUEUED, PINNING, PINNED or
        FAILED. What the name stood for before is let go once the new root is PINNED. Asking again
        while it is QUEUED or PINNING starts nothing new; after FAILED, it is a new attempt.
        """
        ...
