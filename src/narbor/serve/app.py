"""ASGI <-> Request and Answer: the application that a worker gives to the HTTP server.

    hot     an answer kept in memory: two messages, no thread, no library
    plain   a look-up in a thread, then bytes
    body    an iterator read in threads, one piece ahead (bodies.py)

ASGI and not RSGI, though that is a fifth faster when hot: in granian 2.8 an RSGI stream takes
pieces without end, however slow the client; an ASGI stream makes us wait after four.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from narbor.doors import http
from narbor.doors.http import Answer, Door, Request
from narbor.errors import NarborError
from narbor.serve import ready
from narbor.serve.access import AccessLog
from narbor.serve.bodies import Body
from narbor.serve.metrics import TYPE, Metrics
from narbor.serve.ready import Kept, Message, Ready

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

log = logging.getLogger("narbor.serve")

NOTHING: Final = ready.finish(b"")
# Headers that can make an answer another than the plain one.
CONDITIONS: Final = frozenset(
    {b"range", b"if-match", b"if-none-match", b"if-range", b"if-modified-since"}
)
_name = itemgetter(0)
LOOKUPS: Final = 4
READERS: Final = 8


class Versioned(Protocol):
    """What the server itself needs of a library."""

    def version(self) -> int:
        """Return a number that changes whenever an answer might; cheap, for any thread."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class App:
    """The doors of one worker as an ASGI application. All of it runs in one event loop."""

    def __init__(
        self,
        doors: Sequence[Door],
        library: Versioned,
        metrics: Metrics,
        access: AccessLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._doors = doors
        self._library = library
        self._metrics = metrics
        self._access = access
        self._clock = clock
        self._ready = Ready()
        self._looking: asyncio.Task[None] | None = None
        # Apart, so that look-ups need not wait for the disks of streams.
        self._lookups = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="body")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the worker."""
        if scope["type"] != "http":
            await self._lifespan(receive, send)
            return
        begun = self._clock()
        kept = self._hot(scope, begun)
        if kept is None:
            status, size = await self._answer(scope, receive, send, begun)
        else:
            await send(kept.start)
            head = scope["method"] == "HEAD"
            await send(NOTHING if head else kept.body)
            status, size = kept.status, 0 if head else kept.size
            self._metrics.ready(status)
        if self._access is not None:
            self._access.write(scope, status, size, self._clock() - begun)

    def _hot(self, scope: Scope, now: float) -> Kept | None:
        """Return the answer that is kept for a plain GET or HEAD."""
        kept = self._ready.get(scope["path"], now)
        if kept is None or not _plain(scope):
            return None
        if now >= self._ready.fresh_until and self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look(now))
        return kept

    async def _look(self, at: float) -> None:
        """Look whether the library has changed, while kept answers still go out."""
        try:
            loop = asyncio.get_running_loop()
            self._ready.look(await loop.run_in_executor(self._lookups, self._library.version), at)
            self._metrics.settle()
        except NarborError as error:
            # Nothing is renewed, so in a moment requests go to the library and get its error.
            log.warning("the library's version cannot be read: %s", error)
        finally:
            self._looking = None

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, begun: float
    ) -> tuple[int, int]:
        """Answer without help of the memory; return the status and how many bytes went out."""
        plain = _plain(scope)
        request = _request(scope, plain)
        loop = asyncio.get_running_loop()
        version, answer = await loop.run_in_executor(self._lookups, self._ask, request)
        if self._keepable(answer, plain, scope) and self._ready.look(version, begun):
            assert isinstance(answer.body, bytes)
            self._ready.keep(scope["path"], ready.kept(answer, answer.body))
        if scope["method"] == "HEAD":
            answer = http.bare(answer)
        if isinstance(answer.body, bytes):
            self._metrics.answered(answer.status, self._clock() - begun)
            await send(ready.start(answer))
            await send(ready.finish(answer.body))
            return answer.status, len(answer.body)
        return await self._stream(request, answer, answer.body, receive, send, begun)

    def _ask(self, request: Request) -> tuple[int, Answer]:
        """Ask the doors, in a thread. The version is read first: what is made later is newer."""
        if request.path in OWN and request.method in http.READING:
            return 0, OWN[request.path](self)
        try:
            version = self._library.version()
        except NarborError as error:
            return 0, http.failed(error)
        return version, http.ask(self._doors, request)

    @staticmethod
    def _keepable(answer: Answer, plain: bool, scope: Scope) -> bool:
        """Tell whether the answer may be given again to whoever asks for this path.

        The server spells all paths that are not UTF-8 alike, so only ASCII can be a key.
        """
        return answer.ready and plain and isinstance(answer.body, bytes) and scope["path"].isascii()

    async def _stream(
        self,
        request: Request,
        answer: Answer,
        chunks: Iterator[bytes],
        receive: Receive,
        send: Send,
        begun: float,
    ) -> tuple[int, int]:
        """Send a body as the client takes it; an error before its first byte is an answer yet."""
        body = Body(chunks, self._readers)
        watch = asyncio.get_running_loop().create_task(_gone(receive))
        sent = 0
        try:
            piece = await body.next()
            self._metrics.answered(answer.status, self._clock() - begun)
            with self._metrics.body():
                await send(ready.start(answer))
                while piece and not watch.done():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    self._metrics.sent(len(piece))
                    sent += len(piece)
                    piece = await body.next()
                if watch.done():
                    self._metrics.short("client")
                else:
                    await send(NOTHING)
            return answer.status, sent
        except NarborError as error:
            return await self._broken(request, error, sent, send, begun), sent
        finally:
            watch.cancel()
            await body.close()

    async def _broken(
        self, request: Request, error: NarborError, sent: int, send: Send, begun: float
    ) -> int:
        """End a body that cannot go on. Without the last message it ends short, for all to see."""
        log.warning("%s: the body failed after %d bytes: %s", request.path, sent, error)
        answer = http.failed(error)
        if sent:
            self._metrics.short("library")
            return answer.status
        self._metrics.answered(answer.status, self._clock() - begun)
        await send(ready.start(answer))
        await send(ready.finish(answer.body if isinstance(answer.body, bytes) else b""))
        return answer.status

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Close the library when the worker ends."""
        while True:
            event = (await receive())["type"]
            if event == "lifespan.shutdown":
                self._metrics.settle()
                self._readers.shutdown(cancel_futures=True)
                self._lookups.shutdown(cancel_futures=True)
                self._library.close()
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    def _health(self) -> Answer:
        return http.text(200, "ok", ("cache-control", "no-store"))

    def _readiness(self) -> Answer:
        """Say whether the library answers; 503 where it does not."""
        try:
            self._library.version()
        except NarborError as error:
            return http.failed(error)
        return http.text(200, "ready", ("cache-control", "no-store"))

    def _counts(self) -> Answer:
        headers = (("content-type", TYPE), ("cache-control", "no-store"))
        return Answer(200, headers, self._metrics.text())


OWN: Final[Mapping[str, Callable[[App], Answer]]] = {
    "/healthz": App._health,
    "/readyz": App._readiness,
    "/metrics": App._counts,
}


def _plain(scope: Scope) -> bool:
    """Tell whether a request is GET or HEAD of a path and nothing more."""
    if scope["query_string"] or scope["method"] not in http.READING:
        return False
    return CONDITIONS.isdisjoint(map(_name, scope["headers"]))


def _request(scope: Scope, plain: bool) -> Request:
    """Spell a request. A plain HEAD is asked as GET, so that its answer serves both."""
    method = "GET" if plain else scope["method"]
    path = unquote_to_bytes(scope["raw_path"]).decode("utf-8", "surrogateescape")
    query = scope["query_string"].decode("latin-1")
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Request(method, path, query, headers)


async def _gone(receive: Receive) -> None:
    """Return when the client has gone away; what it may send with a GET is not read further."""
    while (await receive())["type"] != "http.disconnect":
        continue
