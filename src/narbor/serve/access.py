"""The access log: one line an answer, in the common format with the seconds behind.

127.0.0.1 - - [21/Nov/2026:14:00:00 +0000] "GET /x.narinfo HTTP/1.1" 200 512 0.0003 "Nix/2.34"
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from narbor.errors import Refused

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), 34, 92, *range(127, 160))}


class BadAccessLog(Refused):
    """The access log cannot be written where it should be."""


class AccessLog:
    """Writes to a file that several processes may share: one write a line, at its end."""

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.time) -> None:
        self._descriptor = descriptor
        self._clock = clock

    @classmethod
    def open(cls, where: str) -> "AccessLog":
        """Open the file `where`, or standard error for `-`; raises BadAccessLog."""
        if where == "-":
            return cls(2)
        try:
            return cls(os.open(Path(where), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640))
        except OSError as error:
            raise BadAccessLog(f"no log can be written to {where}: {error.strerror}") from error

    def write(self, scope: Mapping[str, Any], status: int, size: int, seconds: float) -> None:
        """Note one answer. Nothing a client says can begin a line of its own."""
        client = scope.get("client")
        agent = next((v for name, v in scope["headers"] if name == b"user-agent"), b"-")
        query = scope["query_string"].decode("latin-1")
        path = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(self._clock()))
        asked = f"{scope['method']} {path}".translate(_CONTROLS)
        line = (
            f"{client[0] if client else '-'} - - [{stamp}] "
            f'"{asked} HTTP/{scope["http_version"]}" {status} {size} {seconds:.4f} '
            f'"{agent.decode("latin-1").translate(_CONTROLS)}"\n'
        )
        os.write(self._descriptor, line.encode("utf-8"))
