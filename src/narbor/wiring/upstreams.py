"""What a user calls an upstream, and the ways there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from narbor.config import BadConfig, Config
from narbor.names.keys import Keyring
from narbor.net.ftp import Ftp
from narbor.net.http import Http
from narbor.net.wire import Options
from narbor.tasks.mirror.sources import Upstream
from narbor.upstream import Cache, known
from narbor.upstream.cache import HttpCache
from narbor.upstream.directory import DirectoryCache
from narbor.upstream.web import Web


def outward(config: Config) -> Options:
    """Return whom to trust and what to show of ourselves wherever we speak to others."""
    said = config.mirror
    return Options(ca_file=said.ca_file, netrc=said.netrc, tokens=said.tokens)


@contextmanager
def open_http(config: Config) -> Iterator[Http]:
    """Open the client with which all upstreams are spoken to; it is closed in the end."""
    said = config.mirror
    options = replace(outward(config), rate=said.rate * 1_000_000, connections=max(64, said.jobs))
    http = Http(options)
    try:
        yield http
    finally:
        http.close()


@contextmanager
def open_web(config: Config) -> Iterator[Web]:
    """Open the client with which source tarballs are fetched; it is closed in the end."""
    with open_http(config) as http:
        yield Web(http, Ftp())


def open_upstream(url: str, http: Http) -> Cache:
    """Return the cache that `url` names: http(s)://, file://, a folder, or a known host's name.

    Raises BadConfig for anything else.
    """
    full = upstream_url(url)
    return HttpCache(full, http) if full.startswith("http") else DirectoryCache(full)


def believed(url: str, http: Http, ring: Keyring, trusted: bool = False) -> Upstream:
    """Return a cache with whom to believe of what it says; `trusted`: it is believed itself.

    Raises BadConfig.
    """
    return Upstream(open_upstream(url, http), ring, trusted or says_trusted(url))


def upstream_url(url: str) -> str:
    """Return the full URL of a cache that may be given by its bare name; raises BadConfig."""
    if "://" in url:
        scheme = url.partition("://")[0]
        if scheme not in ("http", "https", "file"):
            raise BadConfig(f"{url}: caches are read over http, https and file, not {scheme}")
        return url
    if known.find(f"https://{url}") is not None:
        return f"https://{url}"
    if Path(url).is_dir():
        return Path(url).resolve().as_uri()
    raise BadConfig(f"{url!r} is no URL, no folder and no cache that is known by name")


def says_trusted(url: str) -> bool:
    """Tell whether a cache's URL carries Nix's parameter `trusted`, for this cache alone."""
    said = parse_qs(urlsplit(url).query).get("trusted", [""])[-1]
    return said in ("1", "true", "yes")


def store_paths(url: str, cache: Cache) -> Iterator[str]:
    """Read a list of store paths: a file of this machine, or a URL, relative to the cache's."""
    if Path(url).is_file():
        path = Path(url).resolve()
        return DirectoryCache(str(path.parent)).store_paths(path.name)
    return cache.store_paths(url)
