"""What fake servers stand on: a server that runs for a context, and plans of what goes wrong.

`Running` begins and ends any server; a `Handler` of HTTP belongs to its fake and says nothing.
`Planned` notes what is asked and knows which fault is next; a `Faulty` handler obeys it.
"""

import itertools
import socket
import socketserver
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

from tests.fakes.faults import (
    Asked,
    Chunked,
    Drip,
    Fault,
    Instead,
    Mute,
    Reset,
    Slow,
    Stall,
    Status,
)

ANY = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")
Owner = TypeVar("Owner")


class Running:
    """Serves on 127.0.0.1 from the beginning of a context to its end."""

    def __init__(self, server: socketserver.TCPServer) -> None:
        self.place = f"127.0.0.1:{server.server_address[1]}"
        self.url = f"http://{self.place}"
        self.stopping = threading.Event()
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def let_go(self) -> None:
        """End what waits."""
        self.stopping.set()


class HttpServer(ThreadingHTTPServer):
    """A server of HTTP on a free port, which any number of clients may leave in the midst."""

    request_queue_size = 128

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """A client that went away is no error of ours; all others are."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler, Generic[Owner]):
    """One connection to a fake. `methods` are served; all others meet 501."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def __init__(
        self,
        fake: Owner,
        request: socket.socket,
        client_address: tuple[str, int],
        server: HttpServer,
    ) -> None:
        self.fake = fake
        super().__init__(request, client_address, server)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Serve all methods the same way: `do_GET`, `do_PUT` and so on."""
        if name.startswith("do_") and name.removeprefix("do_") in self.methods:
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        """Answer one request."""
        raise NotImplementedError

    def asked(self) -> Asked:
        """Read the request to its end."""
        length = int(self.headers.get("Content-Length", "0"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(self.command, self.path, headers, self.rfile.read(length))

    def head(self, code: int, headers: Mapping[str, str]) -> None:
        """Send the status and the head."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer."""
        self.head(code, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def chunk(self, data: bytes) -> None:
        """Send one chunk of a body that is sent in chunks."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


class Planned(Running):
    """Notes what is asked. `fail` plans what goes wrong when a path is asked for next."""

    def __init__(self, server: socketserver.TCPServer) -> None:
        super().__init__(server)
        self.asked: list[Asked] = []
        self._plans: dict[str, Iterator[Fault]] = {}
        self._came = threading.Condition()
        self._news: Counter[str] = Counter()

    def fail(self, path: str, *faults: Fault, always: bool = False) -> None:
        """Let the next requests for `path` (or for any with no plan, `*`) meet these faults."""
        plan: Iterable[Fault] = itertools.cycle(faults) if always else faults
        with self._came:
            self._plans[path] = iter(plan)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return self.counts()[path]

    def counts(self) -> Counter[str]:
        """How often each path was asked for, its query included."""
        with self._came:
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


Plan = TypeVar("Plan", bound=Planned)


class Faulty(Handler[Plan]):
    """Meets the faults that are planned; `answer` is what it says otherwise."""

    def serve(self) -> None:
        """Answer, unless a fault stands in the place of all answers."""
        fault = self.fake.note(self.asked())
        match fault:
            case Status():
                self.give(fault.code, fault.headers, fault.body)
            case Instead():
                self.give(200, fault.headers, fault.body)
            case Mute():
                self._wait()
            case Drip(head=True):
                self._drip(b"HTTP/1.1 200 OK\r\nX-Filler: ")
            case Slow():
                self.fake.stopping.wait(fault.seconds)
                self.answer(None)
            case _:
                self.answer(fault)

    def answer(self, fault: Fault | None) -> None:
        """Answer as the real one does; pass the fault on to `give`."""
        raise NotImplementedError

    def give(
        self, code: int, headers: Mapping[str, str], body: bytes, fault: Fault | None = None
    ) -> None:
        """Send an answer, and let its body meet a fault."""
        chunked = isinstance(fault, Chunked)
        size = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
        self.head(code, {**headers, **size})
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
                    self.chunk(body[at : at + 1000])
                self.wfile.write(b"0\r\n\r\n")
            case _:
                self.wfile.write(body)

    def _wait(self) -> None:
        self.wfile.flush()
        self.fake.stopping.wait()
        self.close_connection = True

    def _drip(self, start: bytes) -> None:
        self.wfile.write(start)
        while not self.fake.stopping.wait(0.001):
            self.wfile.write(b"x")
            self.wfile.flush()
        self.close_connection = True

    def _end(self, hard: bool) -> None:
        if hard:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        self.close_connection = True
