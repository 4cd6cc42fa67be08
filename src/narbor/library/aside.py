"""A hash that is computed on another thread, a few chunks behind.

SHA-256 releases the interpreter lock, so the caller parses and cuts meanwhile on the other core.
"""

from collections import deque
from concurrent.futures import Executor, Future
from threading import Lock
from typing import Final

from narbor.formats.streams import Hashing

_JOB: Final = 4 << 20  # bytes handed over at once: threads cost, and frames may be small
_BEHIND: Final = 2  # jobs waiting: bounds the memory


class Aside:
    """A Hashing round another, which does the work in a pool, in order."""

    def __init__(self, function: Hashing, pool: Executor) -> None:
        self._function = function
        self._pool = pool
        self._held: list[bytes | memoryview] = []
        self._size = 0
        self._lock = Lock()
        self._waiting: deque[list[bytes | memoryview]] = deque()
        self._job: Future[None] | None = None

    def update(self, data: bytes | memoryview, /) -> None:
        """Take a chunk; waits when too many are waiting already."""
        self._held.append(data)
        self._size += len(data)
        if self._size >= _JOB:
            self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            self._waiting.append(self._held)
            behind = len(self._waiting)
            if self._job is None:
                self._job = self._pool.submit(self._drain)
            job = self._job
        self._held = []
        self._size = 0
        if behind > _BEHIND:
            job.result()

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._job = None
                    return
                batch = self._waiting.popleft()
            for data in batch:
                self._function.update(data)

    def digest(self) -> bytes:
        """Return the hash of all that was taken."""
        while (job := self._job) is not None:
            job.result()
        for data in self._held:
            self._function.update(data)
        self._held = []
        return self._function.digest()
