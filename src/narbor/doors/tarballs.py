"""Source tarballs, for Nix's `hashed-mirrors = http://HOST/tarballs/` and for people.

    /tarballs/ALGORITHM/HASH        md5, sha1, sha256, sha512; hex, as Nix asks, Nix base 32,
                                    or base64; SRI too
    /tarballs//SRI                  what nixpkgs' own fetchurl asks for where a hash is SRI
    /tarballs/by-name/REV/NAME      the same by what a revision calls it
    /tarballs/revisions/REV/HEX     ... by its sha512, and `log`: what could not be had, and why
    /tarballs/[by-name/[REV/]]      pages that lead there

Nix tries a mirror before the source's own addresses, so that what is not here is 404, quickly.
"""

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import quote

from narbor.doors import http, routes
from narbor.doors.http import Answer, Entity, Request
from narbor.names import digest
from narbor.names.cid import Cid
from narbor.names.digest import Digest, MalformedDigest
from narbor.names.tarball import Tarball, Unfetched

BYTES: Final = "application/octet-stream"
KEPT: Final = "public, max-age=300"
MISS_SECONDS: Final = 10


class Shelf(Protocol):
    """What this door asks of the library. All of it may raise Unavailable."""

    def tarball(self, digest: Digest, revision: str | None = None) -> Tarball | None:
        """Return the tarball with this hash; with `revision`, if that one has it."""
        ...

    def tarball_named(self, revision: str, name: str) -> Tarball | None:
        """Return the tarball that a revision calls `name`."""
        ...

    def revisions(self) -> tuple[tuple[str, int], ...]:
        """Return all revisions, with a time each."""
        ...

    def tarballs_of(self, revision: str) -> tuple[tuple[str, Tarball], ...]:
        """Return the tarballs of a revision, by name."""
        ...

    def unfetched(self, revision: str) -> tuple[Unfetched, ...]:
        """Return what a revision could not get."""
        ...

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return the bytes [start, stop) of a file."""
        ...


@dataclass(frozen=True, slots=True)
class TarballDoor:
    """Files by their hash."""

    library: Shelf

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for a path that is not under `/tarballs`."""
        return routes.read(ROUTES, self, request, request.path)

    def by_hash(self, request: Request, algorithm: str, spelt: str) -> Answer:
        """Give the file with a hash."""
        try:
            wanted = digest.parse(spelt if "-" in spelt else f"{algorithm}:{spelt}")
        except MalformedDigest:
            return ABSENT
        if algorithm not in ("", wanted.algorithm):
            return ABSENT
        return self._give(request, self.library.tarball(wanted), http.IMMUTABLE)

    def by_name(self, request: Request, revision: str, name: str) -> Answer:
        """Give the file that a revision calls so; a later run may give the name to another."""
        return self._give(request, self.library.tarball_named(revision, name), KEPT)

    def of_revision(self, request: Request, revision: str, spelt: str) -> Answer:
        """Give the file with a sha512, if a revision has it."""
        wanted = Digest("sha512", bytes.fromhex(spelt))
        return self._give(request, self.library.tarball(wanted, revision), http.IMMUTABLE)

    def log(self, request: Request, revision: str) -> Answer:
        """Say what a revision could not get: hash, name, reason, with tabs between."""
        if not self._knows(revision):
            return ABSENT
        text = "".join(each.line for each in self.library.unfetched(revision))
        return _document(request, text.encode("utf-8", "backslashreplace"), "text/plain")

    def names(self, request: Request, revision: str) -> Answer:
        """List the files of a revision, by name."""
        if not self._knows(revision):
            return ABSENT
        names = [name for name, _ in self.library.tarballs_of(revision)]
        return _page(request, f"/tarballs/by-name/{revision}/", names)

    def hashes(self, request: Request, revision: str) -> Answer:
        """List the files of a revision, by their sha512."""
        if not self._knows(revision):
            return ABSENT
        found = sorted({each.sha512.hex for _, each in self.library.tarballs_of(revision)})
        return _page(request, f"/tarballs/revisions/{revision}/", ["log", *found])

    def revisions(self, request: Request, folder: str) -> Answer:
        """List the revisions."""
        names = [f"{name}/" for name, _ in self.library.revisions()]
        return _page(request, f"/tarballs/{folder}/", names)

    def top(self, request: Request) -> Answer:
        """Say what there is."""
        return _page(request, "/tarballs/", ["by-name/", "revisions/"])

    def slash(self, request: Request, folder: str) -> Answer:
        """Send to the same with a slash behind, which links in a page need."""
        place = quote(f"{folder.rpartition('/')[2]}/")
        return http.text(301, "with a slash at its end", ("location", place))

    def _knows(self, revision: str) -> bool:
        return any(name == revision for name, _ in self.library.revisions())

    def _give(self, request: Request, tarball: Tarball | None, cache: str) -> Answer:
        if tarball is None:
            return ABSENT

        def read(start: int, stop: int) -> Iterator[bytes]:
            return self.library.content(tarball.root, start, stop)

        tag, fixed = tarball.sha256.nix32, cache == http.IMMUTABLE
        entity = Entity(BYTES, tarball.size, read, tag, cache, ranges=fixed)
        return http.give(request, entity)


def _page(request: Request, title: str, names: Iterable[str]) -> Answer:
    """A page of links. It needs no script and no style."""
    rows = "".join(f'<li><a href="{quote(name)}">{html.escape(name)}</a></li>\n' for name in names)
    head = f"<!doctype html>\n<meta charset=utf-8>\n<title>{html.escape(title)}</title>\n"
    text = (
        f'{head}<h1>{html.escape(title)}</h1>\n<ul>\n<li><a href="../">../</a></li>\n{rows}</ul>\n'
    )
    return _document(request, text.encode(), "text/html")


def _document(request: Request, data: bytes, type: str) -> Answer:
    tag = sha256(data).hexdigest()[:32]
    return http.document(request, data, f"{type}; charset=utf-8", KEPT, tag, ready=True)


ABSENT: Final = http.missing("not here", MISS_SECONDS, ready=True)

ROUTES: Final = routes.table(
    (r"/tarballs/+(md5|sha1|sha256|sha512)/([0-9A-Za-z+/=-]+)", TarballDoor.by_hash),
    (r"/tarballs/+()((?:md5|sha1|sha256|sha512)-[0-9A-Za-z+/=]+)", TarballDoor.by_hash),
    (r"/tarballs/by-name/([^/]+)/([^/]+)", TarballDoor.by_name),
    (r"/tarballs/revisions/([^/]+)/log", TarballDoor.log),
    (r"/tarballs/revisions/([^/]+)/([0-9a-f]{128})", TarballDoor.of_revision),
    (r"/tarballs/by-name/([^/]+)/", TarballDoor.names),
    (r"/tarballs/revisions/([^/]+)/", TarballDoor.hashes),
    (r"/tarballs/(by-name|revisions)/", TarballDoor.revisions),
    (r"/tarballs/", TarballDoor.top),
    (r"(/tarballs(?:/(?:by-name|revisions)(?:/[^/]+)?)?)", TarballDoor.slash),
)
