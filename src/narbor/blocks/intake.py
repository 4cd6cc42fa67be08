"""The way in for one item's blocks: named, compressed and appended on other threads, in batches.

Hashing and zstd release the interpreter lock, so a pool keeps all cores busy while the caller cuts.
What is here already is found before it is compressed.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final

from narbor.blocks.packs import PackStore
from narbor.names import cid
from narbor.names.cid import Cid

_BATCH: Final = 2 << 20  # bytes in one job: large enough for small leaves to share its price
_SMALL: Final = 64 << 10  # bytes that are kept sooner than another thread has woken up
_AHEAD: Final = 4  # jobs under way for one item: bounds the memory


class Intake:
    """A sink (narbor.dag.build.Sink) that ends in packs."""

    def __init__(self, store: PackStore, pool: Executor) -> None:
        self._store = store
        self._pool = pool
        self._held: list[bytes] = []
        self._size = 0
        self._jobs: deque[Future[list[Cid]]] = deque()
        self._leaves: list[Cid] = []
        self._taken = 0
        self._nodes: list[tuple[Cid, bytes]] = []
        self._nodes_size = 0
        self._writes: deque[Future[None]] = deque()

    def leaf(self, content: bytes) -> int:
        """Take a leaf; return its number."""
        self._held.append(content)
        self._size += len(content)
        if self._size >= _BATCH:
            self._submit()
        self._taken += 1
        return self._taken - 1

    def _submit(self) -> None:
        if len(self._jobs) >= _AHEAD:
            self._leaves += self._jobs.popleft().result()
        self._jobs.append(self._pool.submit(self._keep_leaves, self._held))
        self._held = []
        self._size = 0

    def _keep_leaves(self, contents: list[bytes]) -> list[Cid]:
        names = [cid.raw(content) for content in contents]
        self._store.put_many(list(zip(names, contents, strict=True)))
        return names

    def leaves(self) -> Sequence[Cid]:
        """Name all leaves taken so far, in order."""
        if self._held and not self._jobs and self._size < _SMALL:
            self._leaves += self._keep_leaves(self._held)
            self._held, self._size = [], 0
        elif self._held:
            self._submit()
        while self._jobs:
            self._leaves += self._jobs.popleft().result()
        return self._leaves

    def node(self, block: bytes) -> Cid:
        """Take a node; it may be written later, but before `finish` returns."""
        name = cid.node(block)
        self._nodes.append((name, block))
        self._nodes_size += len(block)
        if self._nodes_size >= _BATCH:
            self._write_nodes()
        return name

    def _write_nodes(self) -> None:
        if len(self._writes) >= _AHEAD:
            self._writes.popleft().result()
        self._writes.append(self._pool.submit(self._store.put_many, self._nodes))
        self._nodes = []
        self._nodes_size = 0

    def finish(self) -> None:
        """Wait until every block is in the store; raises what went wrong on the way."""
        self.leaves()
        if self._nodes and not self._writes and self._nodes_size < _SMALL:
            self._store.put_many(self._nodes)
            self._nodes, self._nodes_size = [], 0
        elif self._nodes:
            self._write_nodes()
        while self._writes:
            self._writes.popleft().result()

    def abandon(self) -> None:
        """Wait for what is under way, whatever becomes of it: the item is not to be."""
        jobs: list[Future[Any]] = [*self._jobs, *self._writes]
        for job in jobs:
            job.cancel()
        for job in jobs:
            if not job.cancelled():
                job.exception()
