"""What the agent has done, in numbers: whence bytes came, and what stock Nix would have fetched."""

import threading
from collections import Counter
from typing import Final

from narbor.formats.narinfo import Narinfo

WAYS: Final = ("seed", "blocks", "nar")


class Counts:
    """Sums since the start. For any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: Counter[str] = Counter()

    def add(self, **more: int) -> None:
        """Add to sums by name."""
        with self._lock:
            self._sums.update(more)

    def made(self, way: str, claim: Narinfo) -> None:
        """Count an item that was made; `plain` is what its NAR would have cost, as it is served.

        FileSize is not signed: it counts for no more than the archive has.
        """
        size = claim.seal.size
        plain = min(claim.file_size or size, size)
        self.add(items=1, plain=plain, made=size, **{f"{way}_items": 1, f"{way}_bytes": size})

    def seeded(self, size: int) -> None:
        """Count leaves that came out of the local store."""
        self.add(seed_leaves=size)

    def sums(self) -> dict[str, int]:
        """Return all sums."""
        with self._lock:
            return dict(self._sums)
