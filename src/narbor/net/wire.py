"""One HTTP exchange: connections, TLS, proxies, and what can go wrong on the way.

Over httpcore, the engine of httpx: its network backend is where the guard against slow servers
stands, and a small request costs half of what it does through httpx.

Small documents go over HTTP/2 where a server has it: hundreds of questions share one connection.
Archives go over HTTP/1.1: with HTTP/2, the window of one stream (64 KiB) would bound their speed.
HTTP/1.1 takes a connection for each exchange under way. These do not come from one pool, in which
all threads would queue for one lock and look at each other's connections.
"""

import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote
from urllib.request import getproxies_environment

import httpcore

from narbor import VERSION
from narbor.errors import Refused, Unavailable
from narbor.net import credentials, pace

USER_AGENT: Final = f"narbor/{VERSION}"
_HEAD_SECONDS: Final = 120.0
_PROXIES: Final = ("http", "https", "socks5", "socks5h")
_PLAIN: Final = "%/:=&?~#+!$,;'@()*[]"


_Place = tuple[str | None, str, str]  # proxy, scheme, host and port


class Lost(Unavailable):
    """The exchange broke off; the same may well succeed when it is tried again."""


class Untrusted(Unavailable):
    """The server cannot show that it is who it should be."""


class BadAuthority(Refused):
    """A file of certificates cannot be read."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to behave towards others. Times are in seconds, `rate` in bytes a second (0: no limit).

    `tokens` maps hosts to bearer tokens, `proxies` is None for those of the environment.
    """

    connect: float = 15.0
    read: float = 30.0
    slowest: int = 1024
    patience: float = 30.0
    attempts: int = 5
    pause: float = 0.25
    longest_pause: float = 60.0
    rate: float = 0.0
    connections: int = 64
    http2: bool = True
    ca_file: Path | None = None
    netrc: Path | None = None
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxies: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer; header names in lower case. `body` can be read once."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes]


class Address(NamedTuple):
    """Where a request goes: `host` in IDNA, `port` where one is named, `target` path and query."""

    scheme: str
    host: bytes
    port: int | None
    authority: str
    target: str


def address(url: str) -> Address:
    """Take an http or https URL apart; raises BadAddress."""
    parts = credentials.split(quote(url, _PLAIN))
    try:
        host = (parts.hostname or "").encode("idna")
        port = parts.port
    except ValueError as error:
        raise credentials.BadAddress(f"{credentials.bare(url)} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise credentials.BadAddress(f"{credentials.bare(url)} is no http or https URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.scheme, host, port, parts.netloc.rpartition("@")[2], target)


class Wire:
    """Exchanges single requests for answers, from any thread."""

    def __init__(self, options: Options, clock: pace.Clock, over: threading.Event) -> None:
        self._options = options
        self._clock = clock
        self._over = over
        self.traffic = pace.Traffic()
        self._proxies = getproxies_environment() if options.proxies is None else options.proxies
        # httpcore writes into a context what it will speak, so there are two.
        self._contexts = {http2: trust(options.ca_file) for http2 in (False, True)}
        self._shared = {
            proxy: self._pool(proxy, True, options.connections)
            for proxy in {None, self._proxy_named("https")}
        }
        self._lanes: list[httpcore.ConnectionPool] = []
        self._idle: defaultdict[_Place, list[httpcore.ConnectionPool]] = defaultdict(list)

    def close(self) -> None:
        """Close all connections."""
        for pool in (*self._shared.values(), *self._lanes):
            pool.close()

    @contextmanager
    def _connections(
        self, url: str, proxy: str | None, small: bool
    ) -> Iterator[httpcore.ConnectionPool]:
        """Lend connections to where `url` is: one of our own, or those that all share."""
        parts = credentials.split(url)
        if small and self._options.http2 and parts.scheme == "https":
            yield self._shared[proxy]
            return
        # What lists do for one element is safe among threads.
        idle = self._idle[proxy, parts.scheme, parts.netloc.rpartition("@")[2]]
        try:
            lane = idle.pop()
        except IndexError:
            lane = self._pool(proxy, False, 1)
            self._lanes.append(lane)
        try:
            yield lane
        finally:
            idle.append(lane)

    @contextmanager
    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        small: bool = True,
    ) -> Iterator[Answer]:
        """Send a request and give the head of the answer; the connection is freed on leaving.

        Raises Lost, Untrusted, BadAddress; also from the body as it is read.
        """
        shown = name = credentials.bare(url)
        proxy = self._proxy(url)
        if proxy is not None:
            name += f" (through the proxy {credentials.bare(_url(proxy))})"
        request = self._request(method, url, headers, content)
        with self._connections(url, proxy, small) as pool:
            with faults(name):
                response = pool.handle_request(request)
            try:
                stream = response.extensions.get("network_stream")
                if isinstance(stream, pace.GuardedStream):
                    stream.answered()
                yield Answer(shown, response.status, _headers(response), _body(response, name))
            finally:
                response.close()

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> httpcore.Request:
        place = address(url)
        sent = {"Host": place.authority, "User-Agent": USER_AGENT, **headers}
        if content is not None:
            sent["Content-Length"] = str(len(content))
        options = self._options
        timeout = {
            "connect": options.connect,
            "read": options.read,
            "write": options.read,
            "pool": 3600.0,
        }
        return httpcore.Request(
            method,
            httpcore.URL(
                scheme=place.scheme.encode(),
                host=place.host,
                port=place.port,
                target=place.target.encode(),
            ),
            headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            content=content or b"",
            extensions={"timeout": timeout},
        )

    def _proxy_named(self, scheme: str) -> str | None:
        return self._proxies.get(scheme) or self._proxies.get("all")

    def _proxy(self, url: str) -> str | None:
        parts = credentials.split(url)
        if _bypassed(parts.netloc.rpartition("@")[2].lower(), self._proxies.get("no", "")):
            return None
        return self._proxy_named(parts.scheme)

    def _pool(self, proxy: str | None, http2: bool, most: int) -> httpcore.ConnectionPool:
        options = self._options
        head = None if http2 else _HEAD_SECONDS
        return httpcore.ConnectionPool(
            ssl_context=self._contexts[http2],
            proxy=None if proxy is None else _via(proxy),
            max_connections=most,
            keepalive_expiry=30.0,
            http2=http2,
            network_backend=pace.Guard(
                options.slowest, options.patience, head, self._clock, self._over, self.traffic
            ),
        )


def _bypassed(host: str, rules: str) -> bool:
    """Tell whether `no_proxy` names this `HOST[:PORT]`: itself, a parent domain, or `*`."""
    names = [rule.strip().lstrip("*").lstrip(".").lower() for rule in rules.split(",")]
    alone = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return any(
        here == name or here.endswith(f".{name}")
        for name in names
        if name
        for here in (host, alone)
    ) or "*" in (rule.strip() for rule in rules.split(","))


def _url(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _via(proxy: str) -> httpcore.Proxy:
    parts = credentials.split(_url(proxy))
    if parts.scheme not in _PROXIES:
        raise credentials.BadAddress(
            f"the proxy {credentials.bare(proxy)} is none that we speak to: {', '.join(_PROXIES)}"
        )
    auth = (parts.username, parts.password or "") if parts.username is not None else None
    try:
        url = httpcore.URL(
            scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target="/"
        )
        return httpcore.Proxy(url, auth)
    except ValueError as error:
        raise credentials.BadAddress(
            f"the proxy {credentials.bare(proxy)} is no URL: {error}"
        ) from error


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Trust what the system trusts (or SSL_CERT_FILE says), and `ca_file` beside it.

    Raises BadAuthority.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise BadAuthority(f"{ca_file} holds no certificates: {error}") from error
    return context


def _headers(response: httpcore.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    pairs: Sequence[tuple[bytes, bytes]] = response.headers
    for name, value in pairs:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())
    return headers


def _body(response: httpcore.Response, name: str) -> Iterator[bytes]:
    with faults(name):
        yield from response.iter_stream()


@contextmanager
def faults(name: str) -> Iterator[None]:
    """Turn each of httpcore's errors into one of ours, which names the URL."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.RemoteProtocolError,
    ) as error:
        # httpcore cuts the cause off, and leaves the context.
        reason = error.__context__
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Untrusted(
                f"{name}: the certificate is no good: {reason.verify_message}"
            ) from error
        raise Lost(f"{name}: {_words(error)}") from error
    except (httpcore.LocalProtocolError, httpcore.ProxyError) as error:
        raise Lost(f"{name}: {_words(error)}") from error
    except httpcore.UnsupportedProtocol as error:
        raise credentials.BadAddress(f"{name}: {error}") from error


def _words(error: Exception) -> str:
    """Say what happened, also where the error has no text of its own."""
    return str(error) or {
        "ConnectTimeout": "the connection timed out",
        "ReadTimeout": "nothing came for too long",
        "WriteTimeout": "nothing could be sent for too long",
        "PoolTimeout": "no connection became free",
    }.get(type(error).__name__, type(error).__name__)
