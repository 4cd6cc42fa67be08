"""Channels and releases, as channels.nixos.org and releases.nixos.org show them.

    /channels                          which channels there are
    /channels/NAME                     to the release that the channel is at
    /channels/NAME/FILE                to a file of it; `latest-...iso` too, without the version
    /releases                          which channels have releases
    /releases/NAME                     which releases a channel has
    /releases/NAME/RELEASE             the page of a release
    /releases/NAME/RELEASE/FILE        a file; its bytes never change
    /releases/NAME/RELEASE/binary_cache/...   the binary cache, as it is at `/`

Tarballs carry the address under which they can be locked (Nix: doc/manual, "Lockable HTTP Tarball
Protocol"). A release that is in the making is not there. Redirects are relative, so that all of it
may stand under any prefix.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import quote

from narbor.doors import http, routes
from narbor.doors.http import Answer, Door, Entity, Request
from narbor.formats import releasepage
from narbor.names.cid import Cid
from narbor.names.file import File

# A channel moves: others may keep where it is for as long as upstream lets them.
MOVING: Final = "public, max-age=600, stale-while-revalidate=1800"
PAGE: Final = "public, max-age=300"
MISS_SECONDS: Final = 10
INDEX: Final = "index.html"
CACHE: Final = "binary_cache"
BINARY: Final = "application/octet-stream"

_TARBALL: Final = re.compile(r".*\.tar(?:\.(?:xz|gz|bz2|zst))?")
_LATEST: Final = "latest-"
_REVISION: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_HOST: Final = re.compile(r"[0-9A-Za-z.\-_\[\]:]{1,255}", re.ASCII)
_TYPES: Final = {
    "html": releasepage.TYPE,
    "json": "application/json",
    "pdf": "application/pdf",
    "xz": "application/x-xz",
    "gz": "application/gzip",
    "bz2": "application/x-bzip2",
    "zst": "application/zstd",
    "iso": "application/x-iso9660-image",
    "sha256": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}


class Channel(Protocol):
    """A channel, and the release that it is at."""

    @property
    def name(self) -> str: ...
    @property
    def current(self) -> str | None: ...


class Release(Protocol):
    """A release; `published` is None while it is in the making."""

    @property
    def channel(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def published(self) -> int | None: ...


class Shelf(Protocol):
    """What this door asks of the library. All of it may raise Unavailable."""

    def channels(self) -> Sequence[Channel]:
        """Return all channels, by name."""
        ...

    def channel(self, name: str) -> Channel | None:
        """Return a channel."""
        ...

    def releases(self, channel: str) -> Sequence[Release]:
        """Return the releases of a channel, the newest first."""
        ...

    def release(self, channel: str, name: str) -> Release | None:
        """Return a release."""
        ...

    def files(self, channel: str, name: str) -> Sequence[File]:
        """Return the files of a release, by name."""
        ...

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return the bytes [start, stop) of a file."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelsDoor:
    """Channels and releases. `cache` is the door to the binary cache.

    `public` says for a channel where clients reach us; for others it is what they asked, by
    `scheme` unless a proxy in front says otherwise.
    """

    library: Shelf
    cache: Door
    public: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for a path that is neither of channels nor of releases."""
        return routes.read(ROUTES, self, request, request.path)

    def channels(self, request: Request, slash: str) -> Answer:
        """List the channels."""
        base = "" if slash else "channels/"
        entries = [
            (f"{base}{each.name}", each.name, each.current)
            for each in self.library.channels()
            if each.current is not None
        ]
        return _page(request, releasepage.folder("Channels", entries))

    def channel(self, request: Request, name: str, slash: str) -> Answer:
        """Redirect to the release that a channel is at."""
        release = self._current(name)
        if release is None:
            return ABSENT
        up = "../.." if slash else ".."
        return _redirect(f"{up}/releases/{quote(name)}/{quote(release.name)}{slash}")

    def channel_file(self, request: Request, name: str, file: str) -> Answer:
        """Redirect to a file of the release that a channel is at."""
        release = self._current(name)
        found = None if release is None else self._file(release, file)
        if release is None or found is None:
            return ABSENT
        there = f"{quote(name)}/{quote(release.name)}/{quote(found.name)}"
        return _redirect(f"../../releases/{there}", *self._lock(request, release, found))

    def all_releases(self, request: Request, slash: str) -> Answer:
        """List the channels that have releases."""
        base = "" if slash else "releases/"
        entries = [
            (f"{base}{each.name}/", each.name, each.current or "")
            for each in self.library.channels()
            if any(release.published for release in self.library.releases(each.name))
        ]
        return _page(request, releasepage.folder("Releases", entries))

    def releases(self, request: Request, name: str, slash: str) -> Answer:
        """List the releases of a channel."""
        base = "" if slash else f"{name}/"
        entries = [
            (f"{base}{each.name}/", each.name, releasepage.day(each.published))
            for each in self.library.releases(name)
            if each.published is not None
        ]
        return _page(request, releasepage.folder(f"Releases of {name}", entries), bool(entries))

    def release(self, request: Request, channel: str, name: str, slash: str) -> Answer:
        """Give the page of a release. It is no redirect: Nix appends names of files to it."""
        release = self._shown(channel, name)
        if release is None or release.published is None:
            return ABSENT
        files = [each for each in self.library.files(channel, name) if each.name != INDEX]
        base = "" if slash else f"{name}/"
        text = releasepage.release(
            name, files, release.published, release.revision, release.source, base
        )
        return _page(request, text)

    def file(self, request: Request, channel: str, name: str, file: str) -> Answer:
        """Give a file of a release."""
        release = self._shown(channel, name)
        found = None if release is None else self._named(release, file)
        if release is None or found is None:
            return ABSENT
        stem, _, ending = found.name.rpartition(".")
        encoded = ending == "br"
        if encoded:
            ending = stem.rpartition(".")[2]
        type = _TYPES.get(ending if stem else "", BINARY)
        root = found.root

        def read(start: int, stop: int) -> Iterator[bytes]:
            return self.library.content(root, start, stop)

        tag = found.seal.digest.hex
        entity = Entity(type, found.seal.size, read, tag, http.IMMUTABLE, ranges=True)
        answer = http.give(request, entity)
        # As upstream serves them: the name says br, the content is the JSON.
        more = (("content-encoding", "br"),) if encoded else ()
        lock = self._lock(request, release, found)
        # Where clients reach us depends on what they asked: not to be given to others.
        return replace(
            answer, headers=(*answer.headers, *more, *lock), ready=answer.ready and not lock
        )

    def binary_cache(self, request: Request, channel: str, name: str, rest: str) -> Answer | None:
        """Give a part of the binary cache, from within a release."""
        if self._shown(channel, name) is None:
            return ABSENT
        return self.cache.answer(replace(request, path=rest))

    def _current(self, name: str) -> Release | None:
        channel = self.library.channel(name)
        if channel is None or channel.current is None:
            return None
        return self._shown(name, channel.current)

    def _shown(self, channel: str, name: str) -> Release | None:
        release = self.library.release(channel, name)
        return release if release is not None and release.published is not None else None

    def _named(self, release: Release, name: str) -> File | None:
        files = self.library.files(release.channel, release.name)
        return next((each for each in files if each.name == name), None)

    def _file(self, release: Release, name: str) -> File | None:
        """Return a file by its name, or by the one that stays the same from release to release."""
        found = self._named(release, name)
        if found is not None or not name.startswith(_LATEST):
            return found
        version = f"-{release.name.partition('-')[2]}"
        files = self.library.files(release.channel, release.name)
        return next(
            (
                each
                for each in files
                if version in each.name and _LATEST + each.name.replace(version, "") == name
            ),
            None,
        )

    def _lock(self, request: Request, release: Release, file: File) -> tuple[tuple[str, str], ...]:
        """Return the header that names the address by which a tarball can be locked."""
        base = self._base(request, release.channel)
        if base is None or _TARBALL.fullmatch(file.name) is None:
            return ()
        there = "/".join(map(quote, (release.channel, release.name, file.name)))
        known = f"lastModified={file.modified}"
        if _REVISION.fullmatch(release.revision):
            known = f"rev={release.revision}&{known}"
        return (("link", f'<{base}/releases/{there}?{known}>; rel="immutable"'),)

    def _base(self, request: Request, channel: str) -> str | None:
        """Return where clients reach us, as far as it can be known."""
        public = self.public.get(channel)
        if public is not None:
            return public.rstrip("/")
        host = request.headers.get("host", "")
        said = request.headers.get("x-forwarded-proto", "")
        scheme = said if said in ("http", "https") else self.scheme
        return f"{scheme}://{host}" if _HOST.fullmatch(host) else None


def _page(request: Request, text: bytes, there: bool = True) -> Answer:
    if not there:
        return ABSENT
    tag = sha256(text).hexdigest()[:32]
    return http.document(request, text, releasepage.TYPE, PAGE, tag, ready=True)


def _redirect(location: str, *headers: tuple[str, str]) -> Answer:
    where = (("location", location), ("cache-control", MOVING))
    return http.text(302, location, *where, *headers)


ABSENT: Final = http.missing("not here", MISS_SECONDS, ready=True)

ROUTES: Final = routes.table(
    (r"/channels(/?)", ChannelsDoor.channels),
    (r"/channels/([^/]+)(/?)", ChannelsDoor.channel),
    (r"/channels/([^/]+)/([^/]+)", ChannelsDoor.channel_file),
    (r"/releases(/?)", ChannelsDoor.all_releases),
    (r"/releases/([^/]+)(/?)", ChannelsDoor.releases),
    (r"/releases/([^/]+)/([^/]+)(/?)", ChannelsDoor.release),
    # Nix puts a slash behind whatever address it has.
    (r"/releases/([^/]+)/([^/]+)/+([^/]+)", ChannelsDoor.file),
    (r"/releases/([^/]+)/([^/]+)/+binary_cache(/.+)", ChannelsDoor.binary_cache),
)
