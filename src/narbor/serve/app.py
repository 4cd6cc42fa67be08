"""ASGI <-> Request and Answer: the application that a worker gives to the HTTP server.

    hot     an answer kept in memory: two messages, no thread, no library
    plain   a look-up in a thread; its bytes, or the first piece of its body, come along
    body    the rest of an iterator, read in threads, one piece ahead (bodies.py)

ASGI and not RSGI: docs/decisions/0010.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from narbor.doors import http
from narbor.doors.http import Answer, Door, Request
from narbor.doors.ipfs.hosts import Hosts, bare
from narbor.errors import NarborError
from narbor.serve import ready
from narbor.serve.access import AccessLog
from narbor.serve.bodies import Body
from narbor.serve.metrics import TYPE, Metrics
from narbor.serve.ready import Kept, Message, Ready
from narbor.serve.uploads import Uploads

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

log = logging.getLogger("narbor.serve")

NOTHING: Final = ready.finish(b"")
PIECE: Final = "http.response.body"
# Headers that can make an answer another than the plain one.
CONDITIONS: Final = frozenset(
    {b"range", b"if-match", b"if-none-match", b"if-range", b"if-modified-since"}
)
_name = itemgetter(0)
_HOST: Final = re.compile(rb"\n(host|x-forwarded-host):[ \t]*([^\r\n]*)", re.IGNORECASE)
LOOKUPS: Final = 8
# Streamed bodies up to this size are kept in memory when they are whole: most NARs are small.
SMALL: Final = 256 << 10


class Versioned(Protocol):
    """What the server itself needs of a library."""

    def version(self) -> int:
        """Return a number that changes whenever an answer might; cheap, for any thread."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Service(Protocol):
    """What opens and closes with an application."""

    async def open(self) -> None:
        """Begin."""
        ...

    async def close(self) -> None:
        """End, when what is on its way is finished."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking the doors at a version of the library.

    A streamed body has its first piece made; `body` makes the rest, None where that was all.
    """

    version: int
    answer: Answer
    first: bytes = b""
    body: Body | None = None

    @property
    def data(self) -> bytes:
        """The whole body, where it is in memory."""
        return self.answer.body if isinstance(self.answer.body, bytes) else self.first


class App:
    """The doors of one worker as an ASGI application. All of it runs in one event loop."""

    def __init__(
        self,
        doors: Sequence[Door],
        library: Versioned,
        metrics: Metrics,
        access: AccessLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        uploads: Uploads | None = None,
        threads: int = LOOKUPS,
        hosts: Hosts | None = None,
    ) -> None:
        """Open `doors` to a library; `threads` look things up, and as many read bodies."""
        self._doors = doors
        self._library = library
        self._metrics = metrics
        self._access = access
        self._clock = clock
        self._uploads = uploads or Uploads()
        self._hosts = hosts or Hosts()
        self._ready = Ready()
        self._looking: asyncio.Task[None] | None = None
        self._front: Service | None = None
        # Apart, so that look-ups wait for no more of a stream than its first piece.
        self._lookups = ThreadPoolExecutor(threads, thread_name_prefix="lookup")
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="body")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the worker."""
        if scope["type"] != "http":
            await self._lifespan(receive, send)
            return
        begun = self._clock()
        kept = self.hot(scope["path"]) if self._plain(scope) else None
        if kept is not None:
            head = scope["method"] == "HEAD"
            await send(kept.start)
            await send(NOTHING if head else kept.body)
            self.gave(kept, lambda: scope, head)
            return
        status, size = await self._answer(scope, receive, send, begun)
        if self._access is not None:
            self._access.write(scope, status, size, self._clock() - begun)

    def attach(self, front: Service) -> None:
        """Let a front open and close with this application."""
        self._front = front

    def elsewhere(self, held: bytes, end: int) -> bool:
        """Tell whether a request, whose head ends there, names a host with answers of its own."""
        if not self._hosts:
            return False
        named = _HOST.findall(held, 0, end)
        return self._hosts.special({n.lower().decode(): v.decode("latin-1") for n, v in named})

    def tunnels(self, target: str, here: str) -> bool:
        """Tell whether a client may ask for a tunnel to HOST:PORT: it leads to nobody but us.

        `here` is the address it came to.
        """
        host = bare(target.lower())
        return bool(self._hosts) and (host == here or self._hosts.ours(host))

    def _plain(self, scope: Scope) -> bool:
        """Tell whether a request is GET or HEAD of a path and nothing more."""
        if not _plain(scope):
            return False
        if not self._hosts:
            return True
        named = ((name.decode("latin-1"), value) for name, value in scope["headers"])
        return not self._hosts.special({name: value.decode("latin-1") for name, value in named})

    def hot(self, path: str) -> Kept | None:
        """Return the answer that is kept for a plain GET or HEAD of a path."""
        now = self._clock()
        kept = self._ready.get(path, now)
        if kept is not None and now >= self._ready.fresh_until and self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look(now))
        return kept

    def gave(self, kept: Kept, scope: Callable[[], Scope], head: bool) -> None:
        """Take note that a kept answer went out; `scope` is made where it is wanted."""
        size = 0 if head else kept.size
        self._metrics.ready(kept.status, size)
        if self._access is not None:
            self._access.write(scope(), kept.status, size, 0.0)

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
        plain = self._plain(scope)
        request, head = _request(scope, plain), scope["method"] == "HEAD"
        limit = 0 if plain else http.takes(self._doors, request)
        if limit:
            asked = await self._taken(request, limit, receive)
        else:
            loop = asyncio.get_running_loop()
            asked = await loop.run_in_executor(self._lookups, self._ask, request, head)
        answer = asked.answer
        if _keepable(asked, plain, scope) and self._ready.look(asked.version, begun):
            self._ready.keep(scope["path"], ready.kept(answer, asked.data))
        self._metrics.answered(answer.status, self._clock() - begun)
        if asked.body is not None:
            return await self._stream(request, asked, asked.body, receive, send)
        if head:
            answer = http.bare(answer)
        data = b"" if head else asked.data
        await send(ready.start(answer))
        await send(ready.finish(data))
        self._metrics.sent(len(data))
        return answer.status, len(data)

    async def _taken(self, request: Request, limit: int, receive: Receive) -> Asked:
        """Ask the doors with the body of a request."""
        async with self._uploads.taken(request, limit, receive) as content:
            if isinstance(content, Answer):
                return Asked(0, content)
            whole = replace(request, content=content)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._lookups, self._ask, whole, False)

    def _ask(self, request: Request, head: bool) -> Asked:
        """Ask the doors, in a thread. The version is read first: what is made later is newer."""
        own = request.path in OWN and request.method in http.READING
        if own and not (self._hosts and self._hosts.special(request.headers)):
            return Asked(0, OWN[request.path](self))
        try:
            version = self._library.version()
        except NarborError as error:
            return Asked(0, http.failed(error))
        answer = http.ask(self._doors, request)
        if head or isinstance(answer.body, bytes):
            return Asked(version, answer)
        return self._begun(request, version, answer, answer.body)

    def _begun(
        self, request: Request, version: int, answer: Answer, chunks: Iterator[bytes]
    ) -> Asked:
        """Make the first piece of a body; an error before it is an answer yet."""
        size = answer.header("content-length")
        body = Body(chunks, None if size is None else int(size), self._readers)
        try:
            first = body.read()
        except NarborError as error:
            http.close(chunks)
            log.warning("%s: the body could not begin: %s", request.path, error)
            return Asked(version, http.failed(error))
        if body.done:
            http.close(chunks)
            return Asked(version, answer, first)
        return Asked(version, answer, first, body)

    async def _stream(
        self, request: Request, asked: Asked, body: Body, receive: Receive, send: Send
    ) -> tuple[int, int]:
        """Send a body as the client takes it, and the rest of it as it is made."""
        watch = asyncio.get_running_loop().create_task(_gone(receive))
        sent, piece = 0, asked.first
        try:
            with self._metrics.body():
                await send(ready.start(asked.answer))
                while not watch.done():
                    ahead = body.ahead()
                    more = ahead is not None
                    await send({"type": PIECE, "body": piece, "more_body": more})
                    self._metrics.sent(len(piece))
                    sent += len(piece)
                    if ahead is None:
                        break
                    piece = await ahead
                else:
                    self._metrics.short("client")
        except NarborError as error:
            # Without the last message it ends short, for all to see.
            log.warning("%s: the body failed after %d bytes: %s", request.path, sent, error)
            self._metrics.short("library")
        finally:
            watch.cancel()
            await body.close()
        return asked.answer.status, sent

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Open the front when the worker begins; close it and the library when it ends."""
        while True:
            event = (await receive())["type"]
            if event == "lifespan.startup" and self._front is not None:
                await self._front.open()
            if event == "lifespan.shutdown":
                if self._front is not None:
                    await self._front.close()
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
    """Tell whether a request is GET or HEAD of a path and nothing more, whatever its host."""
    if scope["query_string"] or scope["method"] not in http.READING:
        return False
    return CONDITIONS.isdisjoint(map(_name, scope["headers"]))


def _keepable(asked: Asked, plain: bool, scope: Scope) -> bool:
    """Tell whether the answer may be given again to whoever asks for this path.

    The server spells all paths that are not UTF-8 alike, so only ASCII can be a key. A streamed
    body must be here, whole and small; for HEAD it is not.
    """
    if not (asked.answer.ready and plain and scope["path"].isascii()):
        return False
    return isinstance(asked.answer.body, bytes) or (
        asked.body is None and 0 < len(asked.first) <= SMALL
    )


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
