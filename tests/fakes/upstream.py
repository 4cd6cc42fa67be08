"""A binary cache on 127.0.0.1 that serves what it is given, counts, and fails as it is told."""

import itertools
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Status:
    """Answer with this status instead."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Instead:
    """Answer with this body instead, as if it were right."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reset:
    """Send so many bytes of the body, then end the connection.

    A hard end (TCP RST) may take some of the bytes with it that were sent already.
    """

    after: int
    hard: bool = False


@dataclass(frozen=True)
class Stall:
    """Send so many bytes of the body, then nothing until the client has gone."""

    after: int


@dataclass(frozen=True)
class Drip:
    """Send one byte after the other, for ever: of the body, or of the head."""

    head: bool = False


@dataclass(frozen=True)
class Mute:
    """Accept the request and never answer."""


@dataclass(frozen=True)
class NoRange:
    """Ignore `Range`: answer 200 with the whole."""


@dataclass(frozen=True)
class WrongRange:
    """Answer a range with one that begins elsewhere."""


@dataclass(frozen=True)
class Chunked:
    """Send the body in chunks, without saying its length."""


Fault = Status | Instead | Reset | Stall | Drip | Mute | NoRange | WrongRange | Chunked


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FakeCache:
    """Files by path. `fail` plans what goes wrong when a path is asked for next."""

    def __init__(self, certificate: Path | None = None) -> None:
        """With `certificate`, a PEM file with its key, it speaks TLS."""
        self.files: dict[str, bytes] = {"/nix-cache-info": b"StoreDir: /nix/store\nPriority: 40\n"}
        self.headers: dict[str, dict[str, str]] = {}
        self.asked: list[Asked] = []
        self.stopping = threading.Event()
        self._plans: dict[str, Iterator[Fault]] = {}
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._news: Counter[str] = Counter()
        self._server = _Server(self)
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, path: str, *faults: Fault, always: bool = False) -> None:
        """Let the next requests for `path` (or for any with no plan, `*`) meet these faults."""
        plan: Iterable[Fault] = itertools.cycle(faults) if always else faults
        with self._lock:
            self._plans[path] = iter(plan)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return self.counts()[path]

    def counts(self) -> Counter[str]:
        """How often each path was asked for."""
        with self._lock:
            return Counter(asked.path for asked in self.asked)

    def wait_for(self, path: str) -> None:
        """Wait until `path` has been asked for since the last wait for it."""
        with self._came:
            self._came.wait_for(lambda: self._news[path] > 0)
            self._news[path] = 0

    def note(self, asked: Asked) -> Fault | None:
        """Write a request down; return the fault planned for it."""
        with self._came:
            self.asked.append(asked)
            self._news[asked.path] += 1
            self._came.notify_all()
            plan = self._plans.get(asked.path) or self._plans.get("*")
            return next(plan, None) if plan is not None else None


class _Server(ThreadingHTTPServer):
    # Handlers that stall are let go when the fake stops.
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, cache: FakeCache) -> None:
        self.cache = cache
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Take every method of HTTP the same way: `do_GET`, `do_HEAD`, `do_PUT`, `do_POST`."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, self.rfile.read(length))
        fault = self.server.cache.note(asked)
        body = self.server.cache.files.get(self.path)
        match fault:
            case Status():
                self._send(fault.code, fault.headers, fault.body)
            case Instead():
                self._send(200, fault.headers, fault.body)
            case Mute():
                self._wait()
            case Drip(head=True):
                self._drip(b"HTTP/1.1 200 OK\r\nX-Filler: ")
            case _ if body is None:
                self._send(404, {}, b"404 not found\n")
            case _:
                self._file(body, fault)

    def _file(self, body: bytes, fault: Fault | None) -> None:
        headers = {"Accept-Ranges": "bytes", **self.server.cache.headers.get(self.path, {})}
        start = 0
        ranged = self.headers.get("Range", "")
        tag = self.headers.get("If-Range")
        fresh = tag is None or tag == headers.get("ETag")
        if ranged and fresh and not isinstance(fault, NoRange):
            start = int(ranged.removeprefix("bytes=").partition("-")[0])
            said = start + isinstance(fault, WrongRange)
            headers["Content-Range"] = f"bytes {said}-{len(body) - 1}/{len(body)}"
        self._send(206 if "Content-Range" in headers else 200, headers, body[start:], fault)

    def _send(
        self, code: int, headers: dict[str, str], body: bytes, fault: Fault | None = None
    ) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if isinstance(fault, Chunked):
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        match fault:
            case Reset(after, hard):
                self.wfile.write(body[:after])
                self.wfile.flush()
                self._end(hard)
            case Stall(after):
                self.wfile.write(body[:after])
                self._wait()
            case Drip():
                self._drip(b"")
            case Chunked():
                for at in range(0, len(body), 1000):
                    piece = body[at : at + 1000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            case _:
                self.wfile.write(body)

    def _wait(self) -> None:
        self.wfile.flush()
        self.server.cache.stopping.wait()
        self.close_connection = True

    def _drip(self, start: bytes) -> None:
        self.wfile.write(start)
        while not self.server.cache.stopping.wait(0.001):
            self.wfile.write(b"x")
            self.wfile.flush()
        self.close_connection = True

    def _end(self, hard: bool) -> None:
        if hard:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        self.close_connection = True
