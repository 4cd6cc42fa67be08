"""One request and its answer over HTTP/1.1, as h11 reads and writes them: bytes, no sockets."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

import h11

from narbor.errors import Refused

Scope: TypeAlias = Mapping[str, Any]
LARGEST_HEAD: Final = 32 << 10
READING: Final = (b"GET", b"HEAD")
# A body in chunks must not be in so many of them that taking it apart costs more than it holds.
MANY_PARTS: Final = 64
SMALLEST_PART: Final = 512
_FRAMING: Final = frozenset(
    (b"connection", b"content-length", b"transfer-encoding", b"upgrade", b"expect")
)
_SPECIAL: Final = frozenset((b"connection", b"transfer-encoding", b"date", b"upgrade", b"trailer"))
# As h11 takes them (RFC 9110, 5.5 and 5.6.2).
_LINES: Final = re.compile(
    rb"(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+: (?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?\r\n)+"
)
_name = itemgetter(0)


class BadRequest(Refused):
    """What came is no request. `answer` is what to say, before the connection is closed."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        status = status if status in (413, 414, 431, 501, 505) else 400
        body = f"{message}\n".encode("utf-8", "backslashreplace")
        self.answer = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: text/plain\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        ).encode() + body


class Exchange:
    """One request that is read, then one answer that is written."""

    def __init__(self) -> None:
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._start: Mapping[str, Any] = {}
        self._head = b""
        self._past = False  # whether an answer was written past h11
        self.request: h11.Request | None = None
        self.open = False  # whether more of a body may come
        self._parts = 0
        self._size = 0

    def read(self, data: bytes) -> bool:
        """Take in bytes; tell whether the head of the request is whole. Raises BadRequest."""
        try:
            self._wire.receive_data(data)
            event = self._wire.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(str(error), error.error_status_hint) from error
        if isinstance(event, h11.Request):
            self.request = event
            self.open = event.method not in READING
        return self.request is not None

    def go_on(self) -> bytes:
        """Return what tells a client to send the body, where it waits to be told."""
        if not self._wire.they_are_waiting_for_100_continue:
            return b""
        return self._wire.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """Take in bytes of the body; return what is new of it, and whether more is to come.

        Raises BadRequest for a body that is none.
        """
        parts = []
        try:
            if data:
                self._wire.receive_data(data)
            while self.open and (event := self._wire.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Data):
                    parts.append(bytes(event.data))
                    self._count(len(parts[-1]))
                else:
                    self.open = False
        except h11.RemoteProtocolError as error:
            self.open = False
            raise BadRequest(str(error), error.error_status_hint) from error
        return b"".join(parts), self.open

    def _count(self, size: int) -> None:
        self._parts += 1
        self._size += size
        if self._parts > MANY_PARTS + self._size // SMALLEST_PART:
            self.open = False
            raise BadRequest("the body comes in too many chunks", 400)

    def write(self, message: Mapping[str, Any], date: str) -> list[bytes]:
        """Return what an ASGI message is on the wire. The head goes out with the first body.

        Raises h11.LocalProtocolError for an answer that contradicts itself.
        """
        if message["type"] == "http.response.start":
            self._start = message
            return []
        if self._start:
            head = self._plain_head(message, date)
            if head is not None:
                self._past = True
                return [head, message["body"]]
            self._begin(date)
        parts = [self._head] if self._head else []
        self._head = b""
        if message["body"]:
            parts += self._wire.send_with_data_passthrough(h11.Data(data=message["body"])) or ()
        if not message["more_body"]:
            parts += self._wire.send_with_data_passthrough(h11.EndOfMessage()) or ()
        return parts

    def _begin(self, date: str) -> None:
        """Have h11 write the head."""
        status = self._start["status"]
        headers = [*self._start["headers"], (b"date", date.encode())]
        self._start = {}
        reason = HTTPStatus(status).phrase.encode()
        sent = self._wire.send(h11.Response(status_code=status, headers=headers, reason=reason))
        self._head = sent or b""

    def _plain_head(self, message: Mapping[str, Any], date: str) -> bytes | None:
        """Return the head of an answer that leaves nothing to decide; None for all others.

        A plain GET of a connection that stays, and a body that is whole and has a length: h11 would
        write the same, and take longer for it than all the rest.
        """
        request, body, start = self.request, message["body"], self._start
        if request is None or message["more_body"] or start["status"] != 200 or not body:
            return None
        if request.method != b"GET" or request.http_version != b"1.1" or self._says(request):
            return None
        headers = start["headers"]
        lengths = [value for name, value in headers if name == b"content-length"]
        if lengths != [b"%d" % len(body)] or not _SPECIAL.isdisjoint(map(_name, headers)):
            return None
        lines = b"".join([b"%b: %b\r\n" % each for each in headers])
        if lines.count(b"\n") != len(headers) or _LINES.fullmatch(lines) is None:
            return None  # a value that would be a header of its own, or is none: h11 refuses it
        self._start = {}
        return b"HTTP/1.1 200 OK\r\n%bdate: %b\r\n\r\n" % (lines, date.encode())

    def _says(self, request: h11.Request) -> bool:
        """Tell whether a request has a body, or wants its connection to be another."""
        return any(
            name in _FRAMING and (name, value) != (b"connection", b"keep-alive")
            for name, value in request.headers
        )

    @property
    def tunnel(self) -> str | None:
        """Where a client wants a tunnel to, HOST:PORT; None where it asks for something."""
        if self.request is None or self.request.method != b"CONNECT":
            return None
        return self.request.target.decode("latin-1")

    @property
    def beyond(self) -> bytes:
        """What came already through the tunnel that was asked for."""
        return self._wire.trailing_data[0]

    @property
    def whole(self) -> bool:
        """Whether all of the answer was written."""
        return self._past or self._wire.our_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    def rest(self, data: bytes) -> bytes | None:
        """Return what came after this request, `data` being the last of it.

        None when another cannot follow: the client said so, or its body has not all come.
        """
        try:
            if data:
                self._wire.receive_data(data)
            while self._wire.their_state is h11.SEND_BODY:
                if self._wire.next_event() is h11.NEED_DATA:
                    return None
        except h11.RemoteProtocolError:
            return None
        ours = h11.DONE if self._past else self._wire.our_state
        if ours is not h11.DONE or self._wire.their_state is not h11.DONE:
            return None
        return self._wire.trailing_data[0]


def scope_of(request: h11.Request, client: str | None) -> dict[str, Any]:
    """Spell a request as ASGI does."""
    target, headers = request.target, list(request.headers)
    if not target.startswith(b"/"):
        # The absolute form, as proxies are asked: its host counts (RFC 9112, 3.2.2).
        _, _, behind = target.partition(b"://")
        host, _, path = behind.partition(b"/")
        host, mark, query = host.partition(b"?")
        target = b"/" + path + mark + query if behind else target
        if host:
            headers = [(b"host", host), *(each for each in headers if each[0] != b"host")]
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "method": request.method.decode("ascii"),
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "http_version": request.http_version.decode("ascii"),
        "client": (client, 0) if client else None,
    }
