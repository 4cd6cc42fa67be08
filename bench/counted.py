"""A TCP line to a server that counts every byte in both directions, heads and all."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final

_PIECE: Final = 1 << 16


class Counted:
    """A line to `port` of 127.0.0.1; as a context it takes connections from begin to end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._size = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Counted":
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def taken(self) -> int:
        """Return how many bytes passed since the last call."""
        with self._lock:
            size, self._size = self._size, 0
        return size

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                with self._lock:
                    self._size += len(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
