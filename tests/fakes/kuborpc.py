"""Kubo's RPC over HTTP, as its server speaks it: the wire under `tests.fakes.kubo`."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

DENIED = (
    "Kubo RPC Access Denied: Please provide a valid authorization token as defined in the "
    "API.Authorizations configuration.\n"
)
Query = dict[str, list[str]]
File = Iterator[bytes] | None


class Daemon(Protocol):
    """What the server asks of a daemon; see `FakeKubo`."""

    asked: Counter[str]
    cut: int | None
    hold: threading.Event | None
    instead: dict[str, tuple[int, bytes]]
    late: dict[str, str]
    secret: str | None

    def command(self, name: str) -> Callable[[Query, File], Iterator[Any]] | None:
        """Find a command."""
        ...


class Fail(Exception):
    """What the daemon says when it cannot do something."""


class Refuse(Exception):
    """An answer in plain text, before any command has run."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Late:
    """A value that cannot be written: the answer has begun by then."""

    def __init__(self, text: str) -> None:
        self.text = text


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, kubo: Daemon) -> None:
        self.kubo = kubo
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """As the real one, for safety from browsers."""
        self._plain(405, "405 - Method Not Allowed\n")

    def do_POST(self) -> None:
        """Answer a command."""
        kubo, url = self.server.kubo, urlsplit(self.path)
        name = url.path.removeprefix("/api/v0/")
        self._ended = self.headers.get("Content-Length") == "0"
        self._left = self._body()
        kubo.asked[name] += 1
        if kubo.hold is not None:
            kubo.hold.wait()
        command = kubo.command(name)
        try:
            if kubo.secret is not None and self.headers.get("Authorization") != kubo.secret:
                raise Refuse(403, DENIED)
            if self.headers.get("Origin") is not None:
                raise Refuse(403, "403 - Forbidden\n")
            if name in kubo.instead:
                self._raw(*kubo.instead[name])
            elif command is None:
                raise Refuse(404, "404 page not found\n")
            else:
                file = self._file() if "Content-Type" in self.headers else None
                self._answer(name, command(parse_qs(url.query), file))
        except Refuse as error:
            self._plain(error.status, str(error))
        except _Cut:
            self.close_connection = True
            self.connection.close()

    def _answer(self, name: str, values: Iterator[Any]) -> None:
        """Send values as they come; an error before the first of them is a status."""
        late = self.server.kubo.late.get(name, "")
        try:
            first = next(values, None)
        except Fail as error:
            said = {"Message": str(error), "Code": 0, "Type": "error"}
            self._head(500, "application/json")
            self._chunk(_json(said))
            self._end("")
            return
        self._head(200, "application/vnd.ipld.raw" if name == "block/get" else "application/json")
        try:
            while first is not None:
                if isinstance(first, Late):
                    late = first.text
                else:
                    self._chunk(first if isinstance(first, bytes) else _json(first))
                first = next(values, None)
        except Fail as error:
            late = str(error)
        self._end(late)

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Trailer", "X-Stream-Error")
        self.send_header("Transfer-Encoding", "chunked")
        if not self._ended:
            self.send_header("Connection", "close")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end(self, late: str) -> None:
        trailer = f"X-Stream-Error: {late}\r\n" if late else ""
        self.wfile.write(f"0\r\n{trailer}\r\n".encode())
        self.wfile.flush()

    def _plain(self, status: int, text: str) -> None:
        self._raw(status, text.encode())

    def _raw(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _body(self) -> Iterator[bytes]:
        """Give the body of the request, and cut the connection where that is planned."""
        kubo = self.server.kubo
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                data = self.rfile.read(size)
                self.rfile.readline()
                if kubo.cut is not None:
                    kubo.cut -= size
                    if kubo.cut < 0:
                        kubo.cut = None
                        raise _Cut
                yield data
            self.rfile.readline()
        else:
            yield self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._ended = True

    def _file(self) -> Iterator[bytes]:
        """Give the content of the one file in the form."""
        kind, _, boundary = self.headers["Content-Type"].partition("; boundary=")
        assert kind == "multipart/form-data", kind
        held = b""
        while b"\r\n\r\n" not in held:
            held += next(self._left)
        head, held = held.split(b"\r\n\r\n", 1)
        first, *fields = head.decode().split("\r\n")
        assert first == f"--{boundary}", first
        assert any(each.startswith('Content-Disposition: form-data; name="') for each in fields)
        end = f"\r\n--{boundary}--\r\n".encode()
        for piece in self._left:
            held += piece
            if len(held) > len(end):
                yield held[: -len(end)]
                held = held[-len(end) :]
        assert held.endswith(end), held
        if held != end:
            yield held.removesuffix(end)


class _Cut(Exception):
    """The connection ends here."""


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
