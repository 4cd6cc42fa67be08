"""HTTP/1.1 with long bodies in both directions, down to the trailers.

`wire` asks small questions, or has long answers. Here a request may be a stream, of which nobody
knows the length; an answer that comes before the request is through ends the request; and the
trailers behind an answer are read, in which some servers say what went wrong with it (RFC 9112,
7.1.2). So h11 is driven directly, over the connections that `pace` opens. Proxies are not used:
what is spoken to like this is a program of one's own.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import h11
import httpcore

from narbor.net import pace
from narbor.net.credentials import Credentials, bare
from narbor.net.wire import USER_AGENT, Address, Lost, Options, address, faults, trust

LONGEST_HEAD: Final = 64 << 10
_PIECE: Final = 64 << 10
_PORTS: Final = {"http": 80, "https": 443}
_STREAM: Final = {"Transfer-Encoding": "chunked"}
_NOTHING: Final = {"Content-Length": "0"}


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer; header names in lower case. `body` can be read once.

    `whole` tells whether the request had been sent to its end before the answer came. `trailers`
    is empty until the body has been read to its end.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes]
    whole: bool
    trailers: dict[str, str] = field(default_factory=dict)


class Duplex:
    """Long exchanges, for any number of threads. Connections that are idle are used again."""

    def __init__(self, options: Options, over: threading.Event | None = None) -> None:
        """Raises BadAuthority, BadCredentials. Once `over` is set, all that waits is Lost."""
        self._options = options
        # How long an answer may take is for the caller of each exchange to say.
        over = over or threading.Event()
        self._guard = pace.Guard(0, float("inf"), None, time.monotonic, over)
        self._rate = pace.Rate(options.rate, time.monotonic, over.wait)
        self._context = trust(options.ca_file)
        self._credentials = Credentials(options.netrc, options.tokens)
        self._idle: defaultdict[tuple[str, str], list[_Line]] = defaultdict(list)

    def close(self) -> None:
        """Close all idle connections."""
        for lines in self._idle.values():
            while lines:
                lines.pop().close()

    @contextmanager
    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: Iterable[bytes] | None = None,
        silence: float | None = None,
    ) -> Iterator[Reply]:
        """Send a request, `content` as it comes, and give the head of the answer.

        `silence` is how many seconds may pass without a byte of the answer, or until bytes of the
        request are taken; None: as for all reading. Raises Lost, Untrusted, BadAddress, also from
        the body as it is read; and what `content` raises.
        """
        place, shown = address(url), bare(url)
        said = {"Host": place.authority, "User-Agent": USER_AGENT, **headers}
        said |= _NOTHING if content is None else _STREAM
        secret = self._credentials.header(url)
        if secret:
            said["Authorization"] = secret
        line = self._line(shown, place)
        try:
            wait = self._options.read if silence is None else silence
            line.begin(
                shown,
                wait,
                h11.Request(method=method, target=place.target, headers=list(said.items())),
            )
            whole = line.pour(self._metered(content or ()))
            yield line.answer(whole)
        finally:
            if line.again():
                self._idle[place.scheme, place.authority].append(line)
            else:
                line.close()

    def _metered(self, content: Iterable[bytes]) -> Iterator[bytes]:
        for piece in content:
            self._rate.take(len(piece))
            yield piece

    def _line(self, name: str, place: Address) -> "_Line":
        """Find an idle connection that still stands, or open one."""
        # What lists do for one element is safe among threads.
        idle = self._idle[place.scheme, place.authority]
        while True:
            try:
                line = idle.pop()
            except IndexError:
                break
            if not line.answered():
                return line
            line.close()  # nothing was asked: this is its end
        host, connect = place.host.decode("ascii"), self._options.connect
        with faults(name):
            port = place.port or _PORTS[place.scheme]
            stream = self._guard.connect_tcp(host, port, connect)
            if place.scheme == "https":
                stream = stream.start_tls(self._context, host, connect)
        return _Line(stream, place.scheme == "https")


class _Line:
    """One connection and the exchange on it."""

    def __init__(self, stream: httpcore.NetworkStream, secure: bool) -> None:
        self._stream = stream
        self._secure = secure
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        self._name = ""
        self._wait = 0.0

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def answered(self) -> bool:
        """Tell whether there is something to be read, if only the end."""
        return bool(self._stream.get_extra_info("is_readable"))

    def again(self) -> bool:
        """Make ready for another exchange; False where this one did not come to its end."""
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
            return True
        return False

    def begin(self, name: str, wait: float, request: h11.Request) -> None:
        """Send the head of a request."""
        self._name, self._wait = name, wait
        self._send(request)

    def pour(self, content: Iterable[bytes]) -> bool:
        """Send a body, until it ends or the answer begins; tell whether it ended."""
        for piece in content:
            # Within TLS, bytes may come that are no answer.
            if not self._secure and self.answered():
                return False
            if piece and not self._send(h11.Data(data=piece)):
                return False
        return self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> bool:
        """Send; False where the other side takes no more, which it may be about to explain."""
        data = self._state.send(event)
        with faults(self._name):
            try:
                self._stream.write(data or b"", self._wait)
            except httpcore.WriteError:
                return False
        return True

    def answer(self, whole: bool) -> Reply:
        """Read the head of the answer."""
        while True:
            event = self._event()
            if isinstance(event, h11.Response):
                break
            if not isinstance(event, h11.InformationalResponse):
                raise Lost(f"{self._name}: the connection ended without an answer")
        trailers: dict[str, str] = {}
        headers = _fields(event.headers)
        body = self._body(trailers)
        return Reply(self._name, event.status_code, headers, body, whole, trailers)

    def _body(self, trailers: dict[str, str]) -> Iterator[bytes]:
        while True:
            event = self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers.update(_fields(event.headers))
                return
            else:
                raise Lost(f"{self._name}: the connection ended in the middle of the answer")

    def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        over = False
        while True:
            try:
                event = self._state.next_event()
            except h11.RemoteProtocolError as error:
                why = "the connection ended too early" if over else str(error)
                raise Lost(f"{self._name}: {why}") from error
            if isinstance(event, h11.Event) or event is h11.PAUSED:
                return event
            with faults(self._name):
                data = self._stream.read(_PIECE, self._wait)
            over = not data
            self._state.receive_data(data)


def _fields(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Read header fields; of those that stand twice, the first."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())
    return fields
