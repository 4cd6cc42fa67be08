"""A TCP line between a client and a server, on which something happens in the middle of an answer.

It changes no byte. It notes what was asked, and when one answer has grown past a given size it
calls back, once: there a test kills the server, at a moment that does not depend on the clock.
"""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

_PIECE = 65536


class Line:
    """The line; as a context it takes connections from begin to end."""

    def __init__(self, port: int, after: int, then: Callable[[], None]) -> None:
        """Lead to `port`; call `then` when an answer passes `after` bytes for the first time."""
        self._port = port
        self._after = after
        self._then = then
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen)]
        self._lock = threading.Lock()
        self._asked = bytearray()
        self._calls = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Line":
        """Begin to take connections."""
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take no more connections, and wait until those that are open have ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def calls(self) -> int:
        """Say how often `then` was called: 0 or 1."""
        return self._calls

    def asked(self, pattern: bytes) -> int:
        """Count what matches the pattern in all that clients sent so far."""
        with self._lock:
            return len(re.findall(pattern, bytes(self._asked), re.IGNORECASE))

    def _listen(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._lead, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _lead(self, client: socket.socket) -> None:
        """Lead one connection to the server; where there is none, it ends at once."""
        with client, socket.socket() as server:
            # With little room in between, the server cannot have sent what has not been passed on.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
            if server.connect_ex(("127.0.0.1", self._port)) != 0:
                return
            passed = [0]
            back = threading.Thread(target=self._answer, args=(server, client, passed))
            back.start()
            with suppress(OSError):
                while piece := client.recv(_PIECE):
                    passed[0] = 0
                    with self._lock:
                        self._asked += piece
                    server.sendall(piece)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answer(self, server: socket.socket, client: socket.socket, passed: list[int]) -> None:
        """Pass answers on until the server or the client has ended."""
        with suppress(OSError):
            while piece := server.recv(_PIECE):
                passed[0] += len(piece)
                if passed[0] > self._after:
                    self._call()
                client.sendall(piece)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _call(self) -> None:
        """Call back, the first time."""
        with self._lock:
            first, self._calls = self._calls == 0, 1
        if first:
            self._then()
