"""What comes with a request: read whole, bounded in size, in time and in how much is held at once.

    too large, packed, malformed     413, 415, 400; the rest of it is not read
    slower than `slowest`            408
    no room for so long as `wait`    503: what all bodies may take together is `room`

Room is taken before the first byte is read, by what the head says of the length, and given back
when the door has answered.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.errors import Refused

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]

ROOM: Final = 64 << 20
WAIT: Final = 20.0  # seconds
GRACE: Final = 20.0  # seconds before the speed counts
SLOWEST: Final = 32 << 10  # bytes a second
_CLOSE: Final = ("connection", "close")


class Uploads:
    """The bodies of all requests of one worker."""

    def __init__(
        self, room: int = ROOM, wait: float = WAIT, grace: float = GRACE, slowest: int = SLOWEST
    ) -> None:
        self._room = room
        self._wait = wait
        self._grace = grace
        self._slowest = slowest
        self._free = room
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def taken(
        self, request: Request, limit: int, receive: Receive
    ) -> AsyncIterator[bytes | Answer]:
        """Give the body of a request, or the answer that says why it is not taken."""
        size = _announced(request, limit)
        if isinstance(size, Answer):
            yield size
            return
        if not await self._take(size):
            yield http.text(503, "too much is being sent here; try again", ("retry-after", "5"))
            return
        try:
            yield await self._read(size, receive)
        finally:
            await self._give_back(size)

    async def _take(self, size: int) -> bool:
        """Take room; tell whether there was any in time."""
        try:
            async with asyncio.timeout(self._wait), self._changed:
                await self._changed.wait_for(lambda: self._free >= min(size, self._room))
                self._free -= size
        except TimeoutError:
            return False
        return True

    async def _give_back(self, size: int) -> None:
        async with self._changed:
            self._free += size
            self._changed.notify_all()

    async def _read(self, size: int, receive: Receive) -> bytes | Answer:
        parts: list[bytes] = []
        came = 0
        begun = asyncio.get_running_loop().time() + self._grace
        try:
            async with asyncio.timeout_at(begun) as patience:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return http.text(400, "the body ended early")
                    part = message.get("body", b"")
                    parts.append(part)
                    came += len(part)
                    if came > size:
                        return _too_large(size)
                    if not message.get("more_body", False):
                        return b"".join(parts)
                    patience.reschedule(begun + came / self._slowest)
        except TimeoutError:
            return http.text(408, f"the body came slower than {self._slowest} bytes/s", _CLOSE)
        except Refused as error:
            return http.text(400, str(error), _CLOSE)


def _announced(request: Request, limit: int) -> int | Answer:
    """Return how long the body may be at most, by what the head says of it."""
    packing = request.headers.get("content-encoding", "identity")
    if packing.strip().lower() not in ("", "identity"):
        return http.text(415, f"bodies are not taken in as {packing}, only as they are")
    length = request.headers.get("content-length")
    if length is None:
        return limit
    # What is no number, the server has refused before.
    if not (length.isascii() and length.isdigit()) or len(length) > 18 or int(length) > limit:
        return _too_large(limit)
    return int(length)


def _too_large(limit: int) -> Answer:
    return http.text(413, f"the body is longer than the {limit} bytes that are taken here")
