"""What a provider of blocks says of itself: where it is, and which blocks it owns up to.

Specification: https://github.com/multiformats/multiaddr
"""

import re
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from narbor.errors import Refused

Announce: TypeAlias = Literal["roots", "entities", "all", "none"]

_MULTIADDR: Final = re.compile(
    r"/(?:dns|dns4|dns6|ip4|ip6)/[0-9A-Za-z.:_-]+/tcp/[0-9]{1,5}(?:/tls(?:/sni/[^/\s]+)?)?/https?"
    r"(?:/http-path/[^/\s]+)?",
    re.ASCII,
)
_IP4: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)


class BadAddress(Refused):
    """A URL cannot be written as a multiaddr."""


def multiaddr(url: str) -> str:
    """Write the address of an HTTP server as a multiaddr; raises BadAddress.

    `https://cache.example` is `/dns/cache.example/tcp/443/tls/http`. A path cannot be told so.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadAddress(f"{url} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.path not in ("", "/"):
        raise BadAddress(f"{url} is not http(s)://HOST[:PORT] alone")
    if ":" in host:
        where = f"/ip6/{host}"
    else:
        where = f"/ip4/{host}" if _IP4.fullmatch(host) else f"/dns/{host}"
    secure = parts.scheme == "https"
    return f"{where}/tcp/{port or (443 if secure else 80)}{'/tls' if secure else ''}/http"


def public(text: str) -> str:
    """Return a multiaddr that is told to others: as it is, or of a URL; raises BadAddress."""
    if not text.startswith("/"):
        return multiaddr(text)
    if _MULTIADDR.fullmatch(text) is None:
        raise BadAddress(f"{text} is no multiaddr of an HTTP server (/dns/HOST/tcp/443/tls/http)")
    return text


def host(address: str) -> str:
    """Return the host of a multiaddr, as a Host header names it."""
    _, kind, name, *_ = address.split("/")
    return f"[{name}]" if kind == "ip6" else name
