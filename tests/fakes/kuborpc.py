"""Kubo's RPC over HTTP, as its server speaks it: the wire under `tests.fakes.kubo`."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.fakes import server

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


class Handler(server.Handler[Daemon]):
    """Speaks for a daemon; what it says goes out at once."""

    methods = ("GET", "POST")
    wbufsize = 0

    def serve(self) -> None:
        """Answer a command; to GET say as the real one does, for safety from browsers."""
        if self.command == "GET":
            self._plain(405, "405 - Method Not Allowed\n")
            return
        kubo, url = self.fake, urlsplit(self.path)
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
        late = self.fake.late.get(name, "")
        try:
            first = next(values, None)
        except Fail as error:
            said = {"Message": str(error), "Code": 0, "Type": "error"}
            self._begin(500, "application/json")
            self.chunk(_json(said))
            self._end("")
            return
        self._begin(200, "application/vnd.ipld.raw" if name == "block/get" else "application/json")
        try:
            while first is not None:
                if isinstance(first, Late):
                    late = first.text
                elif first != b"":  # which would end the answer
                    self.chunk(first if isinstance(first, bytes) else _json(first))
                first = next(values, None)
        except Fail as error:
            late = str(error)
        self._end(late)

    def _begin(self, status: int, kind: str) -> None:
        headers = {
            "Content-Type": kind,
            "Trailer": "X-Stream-Error",
            "Transfer-Encoding": "chunked",
        }
        self.head(status, headers if self._ended else {**headers, "Connection": "close"})

    def _end(self, late: str) -> None:
        trailer = f"X-Stream-Error: {late}\r\n" if late else ""
        self.wfile.write(f"0\r\n{trailer}\r\n".encode())
        self.wfile.flush()

    def _plain(self, status: int, text: str) -> None:
        self._raw(status, text.encode())

    def _raw(self, status: int, body: bytes) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
        self.send(status, headers, body)
        self.close_connection = True

    def _body(self) -> Iterator[bytes]:
        """Give the body of the request, and cut the connection where that is planned."""
        kubo = self.fake
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
