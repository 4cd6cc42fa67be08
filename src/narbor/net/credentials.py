"""Who we say we are: bearer tokens and netrc, by host. Secrets never stand in a message."""

import base64
import netrc
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from narbor.errors import Refused


class BadCredentials(Refused):
    """A file of passwords cannot be read."""


class BadAddress(Refused):
    """A URL cannot be asked for anything."""


class Credentials:
    """What to send to which host. `tokens` maps `HOST` or `HOST:PORT` to a bearer token."""

    def __init__(self, file: Path | None, tokens: Mapping[str, str]) -> None:
        self._tokens = tokens
        self._netrc: netrc.netrc | None = None
        if file is not None:
            try:
                self._netrc = netrc.netrc(str(file))
            except OSError as error:
                raise BadCredentials(f"{file} cannot be read: {error}") from error
            except netrc.NetrcParseError as error:
                # The parser's own message may quote a password.
                raise BadCredentials(f"{file}, line {error.lineno}: is no netrc") from None

    def header(self, url: str) -> str | None:
        """Return the value of Authorization for this URL; None where nothing is known.

        What stands in the URL itself comes first, then a token, then netrc.
        """
        parts = split(url)
        if parts.username is not None:
            return _basic(unquote(parts.username), unquote(parts.password or ""))
        host = parts.hostname or ""
        token = self._tokens.get(parts.netloc) or self._tokens.get(host)
        if token is not None:
            return f"Bearer {token}"
        found = self._netrc.authenticators(host) if self._netrc is not None else None
        if found is None:
            return None
        return _basic(found[0], found[2] or "")


def split(url: str) -> SplitResult:
    """Take a URL apart; raises BadAddress."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadAddress(f"{url!r} is no URL: {error}") from error


def bare(url: str) -> str:
    """Return the URL without user and password, as it may be shown."""
    parts = split(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
