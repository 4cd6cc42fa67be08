"""Files over FTP (RFC 959), as some old sources are still given: passive, anonymous, as they are.

A transfer that breaks off goes on where it was, if the server can (REST), as over HTTP.
"""

import ftplib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import unquote, urlsplit

from narbor.errors import Refused, Rejected
from narbor.net.http import Failing, Gone
from narbor.net.wire import Lost

_PIECE: Final = 1 << 16
_MISSING: Final = ("550", "553")


class BadFtpAddress(Refused):
    """A text is no ftp:// address of a file."""


class WrongReply(Rejected):
    """A server speaks no FTP."""


class Ftp:
    """A client for any number of threads; each transfer has a connection of its own."""

    def __init__(
        self,
        seconds: float = 30.0,
        attempts: int = 3,
        pause: float = 1.0,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Wait `seconds` for a server at most, and try so often, with pauses between."""
        self._seconds = seconds
        self._attempts = attempts
        self._pause = pause
        self._sleep = sleep
        self._over = threading.Event()

    @contextmanager
    def abandoned(self) -> Iterator[None]:
        """Let all that is under way raise Lost at its next piece, for as long as this lasts."""
        self._over.set()
        try:
            yield
        finally:
            self._over.clear()

    def body(self, url: str) -> Iterator[bytes]:
        """Give the bytes of a file; raises Gone, Lost, Failing, WrongReply, BadFtpAddress."""
        came, failures = 0, 0
        while True:
            try:
                for chunk in self._once(url, came):
                    came += len(chunk)
                    yield chunk
                return
            except (OSError, EOFError, ftplib.error_temp) as error:
                failures += 1
                if failures >= self._attempts or self._over.is_set():
                    raise Lost(f"{url}: {error} ({failures} attempts)") from error
                self._sleep(self._pause * 2 ** (failures - 1))

    def _once(self, url: str, start: int) -> Iterator[bytes]:
        host, port, path = _parts(url)
        with ftplib.FTP(timeout=self._seconds, encoding="latin-1") as ftp:
            try:
                ftp.connect(host, port)
                ftp.login()
                ftp.voidcmd("TYPE I")
                with ftp.transfercmd(f"RETR {path}", start or None) as data:
                    while chunk := data.recv(_PIECE):
                        if self._over.is_set():
                            raise Lost(f"{url}: given up")
                        yield chunk
                # Without this word the end of the data may as well be a broken connection.
                ftp.voidresp()
            except ftplib.error_perm as error:
                family = Gone if str(error).startswith(_MISSING) else Failing
                raise family(f"{url}: {error}") from error
            except (ftplib.error_proto, ftplib.error_reply) as error:
                raise WrongReply(f"{url}: {error}") from error


def _parts(url: str) -> tuple[str, int, str]:
    """Return host, port and path. What would end an FTP command cannot be in a path."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or ftplib.FTP_PORT
    except ValueError as error:
        raise BadFtpAddress(f"{url}: {error}") from error
    path = unquote(parts.path, "latin-1")
    if parts.scheme != "ftp" or not host or len(path) < 2 or not path.isprintable():
        raise BadFtpAddress(f"{url!r} is no ftp:// address of a file")
    return host, port, path
