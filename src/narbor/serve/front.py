"""HTTP/1.1 without TLS, in the event loop of a worker: the short way for what is kept in memory.

    a plain GET or HEAD whose answer is kept   one look, one write; no task, no thread
    any other request                          read by h11, answered by the application
    the preface of HTTP/2                      the connection is handed through to granian

Only what is beyond doubt takes the short way: a whole request, no header that could make it
another, nothing unfinished before it.
"""

import asyncio
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast

import h11

from narbor.serve.exchange import BadRequest, Exchange, Scope, scope_of
from narbor.serve.ready import Kept

log = logging.getLogger("narbor.serve")

Message: TypeAlias = dict[str, Any]
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TUNNEL: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
LARGEST_WAITING: Final = 64 << 10  # bytes of requests taken in before their turn
HIGH_WATER: Final = 64 << 10  # bytes that wait for a client before we do
SWEEP: Final = 15.0  # seconds; who asked nothing during five sweeps is let go
LINGER: Final = 2.0  # seconds; a closed connection is read so long, or the answer might get lost
BACKLOG: Final = 1024
TRIALS: Final = 200
PAUSE: Final = 0.02
_PLAIN: Final = re.compile(rb"(GET|HEAD) (/[!$&-;=@-Z_a-z~]*) HTTP/1\.1\r\n")
_SPECIAL: Final = re.compile(
    rb"[\r\n](?:range|if-|content-|transfer-|connection(?!: keep-alive\r)|expect|upgrade|te\b)",
    re.IGNORECASE,
)
_AGENT: Final = re.compile(rb"\nuser-agent: *([^\r\n]*)", re.IGNORECASE)


class Application(Protocol):
    """What stands behind a front."""

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request, as ASGI."""
        ...

    def elsewhere(self, held: bytes, end: int) -> bool:
        """Tell whether a request, whose head ends there, names a host with answers of its own."""
        ...

    def tunnels(self, target: str, here: str) -> bool:
        """Tell whether a client may ask for a tunnel to us under that name."""
        ...

    def hot(self, path: str) -> Kept | None:
        """Return the answer that is kept for a plain GET or HEAD of a path."""
        ...

    def gave(self, kept: Kept, scope: Callable[[], Scope], head: bool) -> None:
        """Take note that such an answer went out."""
        ...


class Front:
    """All connections of one worker. `inner` is where granian listens."""

    def __init__(self, app: Application, listener: socket.socket, inner: Path) -> None:
        self.app = app
        self._inner = inner
        self.connections: set[Connection] = set()
        self.closing = False
        self.round = 0
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._date = (0, "", b"")

    async def open(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        made: Any = (
            loop.create_unix_server
            if self._listener.family == socket.AF_UNIX
            else loop.create_server
        )
        self._server = await made(lambda: Connection(self), sock=self._listener, backlog=BACKLOG)
        self._sweeper = loop.create_task(self._sweep())

    async def close(self) -> None:
        """Accept nobody new, let those go who wait, finish what is on its way."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self.connections):
            connection.end()
        while self.connections:
            await asyncio.sleep(0.02)

    async def reach(self, made: Callable[[], asyncio.Protocol]) -> asyncio.Transport | None:
        """Connect to granian; None when it cannot be reached."""
        loop = asyncio.get_running_loop()
        # It opens a moment later than we do.
        for _ in range(TRIALS):
            try:
                through, _ = await loop.create_unix_connection(made, str(self._inner))
                return through
            except OSError as error:
                log.debug("granian is not there yet: %s", error)
                await asyncio.sleep(PAUSE)
        log.warning("HTTP/2 cannot be handed on: nobody listens at %s", self._inner)
        return None

    def date(self) -> tuple[str, bytes]:
        """Return the time as answers say it, and as a header line with the empty line behind."""
        now = int(time.time())
        if now != self._date[0]:
            text = formatdate(now, usegmt=True)
            self._date = (now, text, f"date: {text}\r\n\r\n".encode())
        return self._date[1:]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self.round += 1
            for connection in tuple(self.connections):
                connection.sweep(self.round - 5)


class Connection(asyncio.Protocol):
    """One client. Its requests are answered one after the other."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._held = b""
        self._busy = False
        self._lingering = False
        self._round = front.round
        self._exchange: Exchange | None = None
        self._through: asyncio.Transport | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._arrived = asyncio.Event()
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Not all event loops make theirs of asyncio's own class.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else None
        self._front.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._front.connections.discard(self)
        self._gone.set()
        self._drained.set()
        self._arrived.set()
        if self._through is not None:
            self._through.close()

    def pause_writing(self) -> None:
        """Stop giving: the client is slow."""
        self._drained.clear()
        if self._through is not None:
            self._through.pause_reading()

    def resume_writing(self) -> None:
        """Go on giving."""
        self._drained.set()
        if self._through is not None:
            self._through.resume_reading()
        elif not self._busy:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Take in what a client says."""
        if self._through is not None:
            self._through.write(data)
        elif not self._lingering:
            self._held = self._held + data if self._held else data
            if not self._busy:
                self._go_on()
            else:
                self._arrived.set()
            if len(self._held) > LARGEST_WAITING:
                self.transport.pause_reading()

    def end(self) -> None:
        """Close as soon as what is on its way is finished."""
        if not self._busy:
            self.transport.close()

    def sweep(self, before: int) -> None:
        """Close if nothing was asked since that round."""
        if not self._busy and self._round < before:
            self.transport.close()

    def _go_on(self) -> None:
        """Answer what has come, in order, until something takes time or is not whole."""
        while self._held and not self._busy and self._drained.is_set():
            if self._exchange is None:
                if self._at_once():
                    continue
                if PREFACE.startswith(self._held[: len(PREFACE)]):
                    if len(self._held) >= len(PREFACE):
                        self._busy = True
                        asyncio.get_running_loop().create_task(self._hand_through())
                    return
                self._exchange = Exchange()
            data, self._held = self._held, b""
            try:
                whole = self._exchange.read(data)
            except BadRequest as error:
                self.transport.write(error.answer)
                self._linger()
                return
            if whole and not self._tunnelled(self._exchange):
                self._busy = True
                asyncio.get_running_loop().create_task(self._serve(self._exchange))

    def _tunnelled(self, exchange: Exchange) -> bool:
        """Give a client the tunnel it asks for, if it leads to us: what follows is asked of us."""
        target = exchange.tunnel
        here = self.transport.get_extra_info("sockname")
        address = here[0] if isinstance(here, tuple) else ""
        if target is None or not self._front.app.tunnels(target, address):
            return False
        self.transport.write(TUNNEL)
        self._held, self._exchange = exchange.beyond, None
        return True

    def _at_once(self) -> bool:
        """Answer the next request out of memory, if that can be done."""
        held = self._held
        plain = _PLAIN.match(held)
        end = held.find(b"\r\n\r\n") if plain is not None else -1
        if plain is None or end < 0 or _SPECIAL.search(held, 0, end + 2) is not None:
            return False
        if self._front.app.elsewhere(held, end):
            return False
        kept = self._front.app.hot(plain[2].decode("ascii"))
        if kept is None:
            return False
        head = plain[1] == b"HEAD"
        self.transport.write(kept.head + self._front.date()[1] + (b"" if head else kept.data))
        self._round = self._front.round
        self._held = held[end + 4 :]

        def scope() -> Scope:
            agent = _AGENT.search(held, 0, end)
            return {
                "client": (self._client, 0) if self._client else None,
                "method": "HEAD" if head else "GET",
                "raw_path": plain[2],
                "query_string": b"",
                "http_version": "1.1",
                "headers": [(b"user-agent", agent[1])] if agent else [],
            }

        self._front.app.gave(kept, scope, head)
        return True

    async def _serve(self, exchange: Exchange) -> None:
        """Have the application answer, then look at what came meanwhile."""
        assert exchange.request is not None

        async def send(message: Message) -> None:
            if not self._gone.is_set():
                self.transport.writelines(exchange.write(message, self._front.date()[0]))
                await self._drained.wait()

        async def receive() -> Message:
            return await self._receive(exchange)

        try:
            await self._front.app(scope_of(exchange.request, self._client), receive, send)
        except h11.LocalProtocolError as error:
            log.error("%s: an answer that is none: %s", exchange.request.target, error)
        finally:
            self._served(exchange)

    async def _receive(self, exchange: Exchange) -> Message:
        """Give the next part of a body, and in the end that the client has gone.

        Nothing is read before it is asked for. Raises BadRequest for a body that is none.
        """
        while exchange.open and not self._gone.is_set():
            if told := exchange.go_on():
                self.transport.write(told)
            self._arrived.clear()
            held, self._held = self._held, b""
            part, more = exchange.take(held)
            if part or not more:
                return {"type": "http.request", "body": part, "more_body": more}
            self.transport.resume_reading()
            await self._arrived.wait()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def _served(self, exchange: Exchange) -> None:
        self._exchange = None
        self._round = self._front.round
        held, self._held = self._held, b""
        if self.transport.is_closing():
            return  # the client has gone; it needs nothing more said
        if not exchange.whole:
            # It ends short of its length, for all to see.
            self.transport.close()
            return
        rest = exchange.rest(held)
        if rest is None or self._front.closing:
            self._linger()
            return
        self._held, self._busy = rest, False
        self.transport.resume_reading()
        self._go_on()

    def _linger(self) -> None:
        """Close once the answer is out, and let a client that still talks read it."""
        self._busy = self._lingering = True
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER, self.transport.close)

    async def _hand_through(self) -> None:
        """Join this connection with one to granian."""
        through = await self._front.reach(lambda: _Through(self.transport))
        if through is None:
            self.transport.close()
            return
        self._through = through
        through.write(self._held)
        self._held = b""
        if self._gone.is_set():
            through.close()


class _Through(asyncio.Protocol):
    """The other end of a connection that is handed through."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        """Give on."""
        self._client.write(data)

    def pause_writing(self) -> None:
        """Stop taking in."""
        self._client.pause_reading()

    def resume_writing(self) -> None:
        """Go on taking in."""
        self._client.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._client.close()
