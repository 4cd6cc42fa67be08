"""How fast others may be: too slow is a failure, too fast is held back.

A server that sends one byte now and then never trips a plain read timeout. `Guard` stands between
HTTP and the sockets, so that whatever arrives (a TLS record, a header, a body) comes with a least
speed, or the connection is given up. Only the time spent waiting for bytes counts: a reader may
take as long as it likes over what it has.
"""

import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

Clock = Callable[[], float]
Sleep = Callable[[float], object]

_SLICE = 1.0
_CREDIT = 0.25
_SHORTEST = 0.005


class Traffic:
    """How many bytes went over a client's connections, heads and all; TLS's own are not seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.sent = 0

    def count(self, received: int = 0, sent: int = 0) -> None:
        """Count bytes, from any thread."""
        with self._lock:
            self.received += received
            self.sent += sent


class Guard(httpcore.NetworkBackend):
    """Opens connections that end when they bring less than `slowest` bytes/s over `patience` s.

    `head` bounds the seconds between a request and the end of the answer's head; None: no bound.
    """

    def __init__(
        self,
        slowest: int,
        patience: float,
        head: float | None,
        clock: Clock,
        over: threading.Event,
        traffic: Traffic | None = None,
    ) -> None:
        self._inner = httpcore.SyncBackend()
        self.traffic = traffic or Traffic()
        self.over = over
        self.slowest = slowest
        self.patience = patience
        self.head = head
        self.clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect; raises what httpcore's own backend raises."""
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return GuardedStream(stream, self)


class GuardedStream(httpcore.NetworkStream):
    """One connection under guard."""

    def __init__(self, inner: httpcore.NetworkStream, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard
        self._waited = 0.0
        self._came = 0
        self._asked: float | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there; raises httpcore.ReadTimeout when it comes too slowly."""
        guard = self._guard
        begun = guard.clock()
        if guard.head and self._asked is not None and begun - self._asked > guard.head:
            raise httpcore.ReadTimeout(f"no complete answer within {guard.head:g} s")
        data = self._read(max_bytes, timeout)
        self._waited += guard.clock() - begun
        self._came += len(data)
        guard.traffic.count(received=len(data))
        if self._waited >= guard.patience:
            if self._came < guard.slowest * self._waited:
                raise httpcore.ReadTimeout(
                    f"{self._came} bytes in {self._waited:.0f} s; {guard.slowest}/s are due"
                )
            self._waited, self._came = 0.0, 0
        return data

    def _read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Wait in slices, so that giving up is noticed."""
        left = timeout
        while not self._guard.over.is_set():
            try:
                return self._inner.read(max_bytes, _SLICE if left is None else min(left, _SLICE))
            except httpcore.ReadTimeout:
                if left is not None:
                    left -= _SLICE
                    if left <= 0:
                        raise
        raise httpcore.ReadError("given up")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of `buffer`; a new request begins a new measurement."""
        self._waited, self._came = 0.0, 0
        self._asked = self._guard.clock()
        self._inner.write(buffer, timeout)
        self._guard.traffic.count(sent=len(buffer))

    def answered(self) -> None:
        """Note that the head of the answer is there."""
        self._asked = None

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Shake hands, and go on under the same guard."""
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return GuardedStream(inner, self._guard)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore wants to know of the socket."""
        return self._inner.get_extra_info(info)


class Rate:
    """Holds back all threads together to `limit` bytes a second; 0: no limit."""

    def __init__(self, limit: float, clock: Clock, sleep: Sleep) -> None:
        self._limit = limit
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._due = clock()

    def take(self, size: int) -> None:
        """Count `size` bytes that came, and sleep for as long as they came too early."""
        if not self._limit:
            return
        with self._lock:
            now = self._clock()
            # A sleep that took too long, or a short silence, may be made up for.
            self._due = max(self._due, now - _CREDIT) + size / self._limit
            wait = self._due - now
        if wait > _SHORTEST:
            self._sleep(wait)
