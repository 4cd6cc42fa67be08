"""A hash that is computed on another thread, a few chunks behind.

SHA-256 releases the interpreter lock, so the caller parses and cuts meanwhile on the other core.
"""

from collections import deque
from concurrent.futures import Executor, Future
from threading import Lock
from typing import Final

from narbor.formats.streams import Hashing

_BEHIND: Final = 8  # chunks: bounds the memory


class Aside:
    """A Hashing round another, which does the work in a pool, in order."""

    def __init__(self, function: Hashing, pool: Executor) -> None:
        self._function = function
        self._pool = pool
        self._lock = Lock()
        self._waiting: deque[bytes | memoryview] = deque()
        self._job: Future[None] | None = None

    def update(self, data: bytes | memoryview, /) -> None:
        """Take a chunk; waits when too many are waiting already."""
        with self._lock:
            self._waiting.append(data)
            behind = len(self._waiting)
            if self._job is None:
                self._job = self._pool.submit(self._drain)
            job = self._job
        if behind > _BEHIND:
            job.result()

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._job = None
                    return
                batch = list(self._waiting)
                self._waiting.clear()
            for data in batch:
                self._function.update(data)

    def digest(self) -> bytes:
        """Return the hash of all that was taken."""
        while (job := self._job) is not None:
            job.result()
        return self._function.digest()
