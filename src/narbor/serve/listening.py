"""Where to listen, and the certificate to show."""

import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from narbor.errors import Refused, Unavailable

UNIX: Final = "unix:"
OPEN_TO_ALL: Final = 0o666


class BadAddress(Refused):
    """A text says no place to listen at."""


class BadCertificate(Refused):
    """TLS was asked for with files that cannot serve."""


class AddressTaken(Unavailable):
    """Somebody listens there already, or may not be moved to."""


@dataclass(frozen=True, slots=True)
class Address:
    """HOST:PORT, or a socket in the file system (then `host` is empty)."""

    host: str
    port: int
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; raises BadAddress."""
        if text.startswith(UNIX):
            if not text[len(UNIX) :]:
                raise BadAddress(f"{text!r} names no socket (unix:PATH)")
            return cls("", 0, Path(text[len(UNIX) :]))
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        digits = port.isascii() and port.isdigit() and len(port) <= 5
        if not bare or (":" in bare and bare == host) or not digits or int(port) > 65535:
            raise BadAddress(f"{text!r} is no address (HOST:PORT, [IPV6]:PORT or unix:PATH)")
        return cls(bare, int(port))

    def url(self, tls: bool) -> str:
        """Return what a client on this machine would call it."""
        if self.path is not None:
            return f"{UNIX}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if tls else 'http'}://{host}:{self.port}"


def claimed(address: Address) -> Address:
    """Return the address with its port chosen and nobody on it; a dead socket file is removed.

    The workers share the port, so the system would let a second server in beside the first.
    Raises AddressTaken.
    """
    with bound(address) as trial:
        if address.path is not None:
            address.path.unlink()
        return named(address, trial)


def named(address: Address, made: socket.socket) -> Address:
    """Return the address with the host and the port that a bound socket really has."""
    if address.path is not None:
        return address
    host, port = made.getsockname()[:2]
    return Address(str(host), int(port))


def bound(address: Address) -> socket.socket:
    """Return a socket that is bound and does not listen yet; a dead socket file is removed.

    A socket in the file system may be used by whoever may enter its folder, as a port may. Raises
    AddressTaken.
    """
    place: Any
    try:
        if address.path is not None:
            _clear(address.path)
            family, kind, protocol, place = socket.AF_UNIX, socket.SOCK_STREAM, 0, str(address.path)
        else:
            family, kind, protocol, _, place = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        made = socket.socket(family, kind, protocol)
        try:
            if address.path is None:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(place)
            if address.path is not None:
                address.path.chmod(OPEN_TO_ALL)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise AddressTaken(f"{address.url(False)}: {error.strerror or error}") from error
    return made


def pkcs8(key: Path) -> bytes | None:
    """Return a private key in PKCS#8 PEM, the form the HTTP server reads; None if it is already.

    Raises BadCertificate for what is no private key, or has a password.
    """
    try:
        text = key.read_bytes()
        if b"-----BEGIN PRIVATE KEY-----" in text:
            return None
        found = serialization.load_pem_private_key(text, password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"{key} is no private key without a password: {error}") from error
    return found.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _clear(path: Path) -> None:
    """Remove the socket that a dead server left behind."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise AddressTaken(f"{path} is there already and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as trial:
        if trial.connect_ex(str(path)) == 0:
            raise AddressTaken(f"somebody listens on {path} already")
    path.unlink()
