"""A binary cache over HTTP or HTTPS."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from narbor.formats import listing, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.net import credentials
from narbor.net.http import Document, Http, WrongAnswer
from narbor.upstream import (
    LONGEST_INFO,
    LONGEST_LOG,
    LONGEST_REALISATION,
    CacheInfo,
    NotACache,
    build_trace,
    parse_info,
    pathlist,
    realisation_path,
)

_PAGE_KINDS: Final = frozenset({"text/html", "application/xhtml+xml"})


class HttpCache:
    """The cache at `url`. Store parameters behind a `?` are no part of where it is."""

    def __init__(self, url: str, http: Http) -> None:
        self._base = url.partition("?")[0].rstrip("/") + "/"
        self._http = http
        self._name = credentials.bare(self._base).rstrip("/")

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return self._name

    @property
    def url(self) -> str:
        """Where it is, with user and password if these were given."""
        return self._base.rstrip("/")

    def info(self) -> CacheInfo:
        """Read `/nix-cache-info`; raises NotACache where there is none."""
        document = self._read("nix-cache-info", LONGEST_INFO)
        if document is None:
            raise NotACache(f"{self.name} has no nix-cache-info: it is no binary cache")
        return parse_info(document.content, self.name)

    def narinfo(self, hash_part: str) -> bytes | None:
        """Read `/HASH.narinfo`."""
        document = self._read(f"{hash_part}.narinfo", narinfo.LONGEST)
        return None if document is None else document.content

    def address(self, narinfo: Narinfo) -> str:
        """Resolve the archive's URL against the cache's own, as a browser would."""
        return credentials.bare(self._resolved(narinfo.url))

    def archive(self, narinfo: Narinfo) -> Iterator[bytes]:
        """Give the bytes of the archive as they are served."""
        return self._http.body(self._resolved(narinfo.url))

    def log(self, name: str) -> bytes | None:
        """Read `/log/NAME`."""
        document = self._read(f"log/{quote(name)}", LONGEST_LOG)
        return None if document is None else document.content

    def listing(self, hash_part: str) -> bytes | None:
        """Read `/HASH.ls`."""
        document = self._read(f"{hash_part}.ls", listing.LONGEST)
        return None if document is None else document.content

    def realised(self, narinfo: Narinfo) -> Iterator[str]:
        """Name what can be told from a claim: that in the build trace of Nix 2.35.

        Older ones lie under a hash of the derivation, and HTTP has no listing.
        """
        name = build_trace(narinfo)
        if name is not None:
            yield name

    def realisation(self, name: str) -> bytes | None:
        """Read `/realisations/HASH!OUTPUT.doi` or `/build-trace-v2/DERIVATION/OUTPUT.doi`."""
        document = self._read(quote(realisation_path(name), "/!"), LONGEST_REALISATION)
        return None if document is None else document.content

    def store_paths(self, url: str) -> Iterator[str]:
        """Read the list at `url`, which may be relative to the cache."""
        return pathlist.read(self._http.body(self._resolved(url)), credentials.bare(url))

    def abandoned(self) -> AbstractContextManager[None]:
        """Give up all requests under way, those of other caches over the same client too."""
        return self._http.abandoned()

    def _read(self, path: str, limit: int) -> Document | None:
        """Get a document; a web page in its place is a captive portal or a parked domain."""
        document = self._http.document(self._base + path, limit)
        if document is not None and _is_page(document):
            raise NotACache(
                f"{self.name}/{path}: {document.url} answers with a web page ({document.kind})"
            )
        return document

    def _resolved(self, url: str) -> str:
        try:
            full = urljoin(self._base, url)
            parts = urlsplit(full)
        except ValueError as error:
            raise WrongAnswer(f"{self.name} says that an archive lies at {url!r}") from error
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise WrongAnswer(f"{self.name} says that an archive lies at {url!r}")
        return full


def _is_page(document: Document) -> bool:
    start = document.content[:200].lstrip().lower()
    return start.startswith((b"<!doctype", b"<html", b"<?xml")) or (
        document.kind in _PAGE_KINDS and start.startswith(b"<")
    )
