"""A body read in threads: pieces of even size, one piece ahead of the client.

The iterators of the library block (disk, decompression), so each step runs in a pool. While a piece
is on its way to the client the next is being made; no more than these two are held here, and the
HTTP server holds five more at most.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final

from narbor.doors import http

PIECE: Final = 512 << 10


def gather(chunks: Iterator[bytes], size: int = PIECE) -> bytes:
    """Return the next piece, of at least `size` bytes if there are so many; b"" at the end."""
    held: list[bytes] = []
    length = 0
    for chunk in chunks:
        held.append(chunk)
        length += len(chunk)
        if length >= size:
            break
    return held[0] if len(held) == 1 else b"".join(held)


class Body:
    """One body on its way out. `next` begins it and goes on; `close` lets all go."""

    def __init__(self, chunks: Iterator[bytes], pool: Executor, size: int = PIECE) -> None:
        self._chunks = chunks
        self._pool = pool
        self._size = size
        self._ahead: asyncio.Future[bytes] | None = None

    async def next(self) -> bytes:
        """Return the next piece, b"" at the end; raises what the iterator raises."""
        # Shielded: a thread cannot be called back, and the iterator is busy until it is done.
        piece = await asyncio.shield(self._ahead or self._read())
        self._ahead = self._read() if piece else None
        return piece

    async def close(self) -> None:
        """Wait for the thread that is reading, then close the iterator."""
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            # Taken out, or asyncio reports an error that nobody asked for.
            self._ahead.exception()
        await asyncio.get_running_loop().run_in_executor(self._pool, http.close, self._chunks)

    def _read(self) -> "asyncio.Future[bytes]":
        loop = asyncio.get_running_loop()
        self._ahead = loop.run_in_executor(self._pool, gather, self._chunks, self._size)
        return self._ahead
