"""A body read in threads: pieces of even size, one piece ahead of the client.

The iterators of the library block (disk, decompression), so each step runs in a pool. While a piece
is on its way to the client the next is being made; no more than these two are held here, and four
more by granian where it speaks to the client. A step costs a change of threads, so a body that is
one piece takes none but the one in which it was looked up.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final

from narbor.doors import http
from narbor.errors import Unavailable

PIECE: Final = 256 << 10  # at least; the library gives twice as much at once


class EndedEarly(Unavailable):
    """An iterator gave fewer bytes than were promised."""


class Body:
    """One body of `size` bytes on its way out; `left` of them are still to be made.

    Where nobody knows the size it is None, and so is `left` until the iterator has ended.
    `read` makes a piece where it is called, `ahead` has it made in the pool; `close` lets all go.
    """

    def __init__(
        self, chunks: Iterator[bytes], size: int | None, pool: Executor, piece: int = PIECE
    ) -> None:
        self.left = size
        self._chunks = chunks
        self._pool = pool
        self._piece = piece
        self._ahead: asyncio.Future[bytes] | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to be made."""
        return self.left is not None and self.left <= 0

    def read(self) -> bytes:
        """Return the next piece, of at least `piece` bytes if there are so many; b"" at the end.

        Raises EndedEarly, and what the iterator raises.
        """
        held: list[bytes] = []
        length, wanted = 0, self._piece if self.left is None else min(self._piece, self.left)
        while length < wanted:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            held.append(chunk)
            length += len(chunk)
        if self.left is None:
            self.left = 0 if length < wanted else None
            return b"".join(held)
        if length < wanted and not length:
            raise EndedEarly(f"{self.left} bytes less than were promised")
        self.left -= length
        if self.left <= 0:
            # Its last lines may have something to put in order.
            next(self._chunks, None)
        return held[0] if len(held) == 1 else b"".join(held)

    def ahead(self) -> "asyncio.Future[bytes] | None":
        """Have the next piece made; None when there is no more.

        To be awaited before the next call; raises what `read` raises.
        """
        if self.done:
            return None
        loop = asyncio.get_running_loop()
        self._ahead = loop.run_in_executor(self._pool, self.read)
        # Shielded: a thread cannot be called back, and the iterator is busy until it is done.
        return asyncio.shield(self._ahead)

    async def close(self) -> None:
        """Wait for the thread that is reading, then close the iterator."""
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            # Taken out, or asyncio reports an error that nobody asked for.
            self._ahead.exception()
        if not self.done:
            await asyncio.get_running_loop().run_in_executor(self._pool, http.close, self._chunks)
        else:
            http.close(self._chunks)
