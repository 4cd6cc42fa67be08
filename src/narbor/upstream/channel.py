"""A server of channels: channels.nixos.org, one of its mirrors, another narbor.

    CHANNEL/git-revision              redirects to RELEASE/git-revision, whose folder is the name
    RELEASE                           the page, with names, sizes and hashes of the files
    RELEASE/src-url  store-paths.xz   where it is from, what it lists

All is read from the address of the release, so that a channel may move meanwhile. It is asked for
what there is, and believed in what the files of a release are, as every subscriber believes it; the
paths that it lists are admitted only when somebody who is trusted vouches for them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from narbor.errors import Rejected
from narbor.formats import releasepage
from narbor.formats.releasepage import Listed
from narbor.names import release
from narbor.names.release import MalformedRelease, ReleaseName
from narbor.net import credentials
from narbor.net.http import Gone, Http
from narbor.upstream import pathlist

_SMALL: Final = 4096
_PAGE: Final = 4 << 20
_REVISION: Final = re.compile(rb"\s*([0-9A-Za-z._\-]{1,128})\s*")


class NoChannel(Rejected):
    """What answers is something, but no channel."""


@dataclass(frozen=True, slots=True)
class At:
    """The release that a channel is at: its address, name, and git revision."""

    url: str
    name: ReleaseName
    revision: str


class ChannelServer:
    """The channel at `url`. Its methods may be called from many threads.

    All of them raise NoChannel and what `net.http` raises (Unavailable, Refused).
    """

    def __init__(self, url: str, http: Http) -> None:
        self._base = url.rstrip("/")
        self._http = http

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return credentials.bare(self._base)

    def at(self) -> At | None:
        """Return which release the channel is at; None where there is no such channel."""
        found = self._http.document(f"{self._base}/git-revision", _SMALL)
        if found is None:
            return None
        revision = _REVISION.fullmatch(found.content)
        url, _, last = found.url.partition("?")[0].rpartition("/")
        if revision is None or last != "git-revision":
            raise NoChannel(f"{self.name}: git-revision is {found.content[:60]!r}")
        try:
            name = release.parse(unquote(url.rpartition("/")[2]))
        except MalformedRelease as error:
            raise NoChannel(f"{self.name} leads to {url}, which is no release: {error}") from error
        if url == self._base:
            raise NoChannel(f"{self.name} does not lead to a release")
        return At(url, name, revision[1].decode())

    def page(self, at: At) -> releasepage.Page:
        """Return what the page of a release says."""
        found = self._http.document(at.url, _PAGE, "text/html")
        if found is None:
            raise Gone(f"{at.url}: the release has no page")
        try:
            return releasepage.parse(found.content)
        except releasepage.MalformedPage as error:
            raise NoChannel(f"{at.url}: {error}") from error

    def source(self, at: At) -> str:
        """Return where a release is from: the address of an evaluation, or its own."""
        found = self._http.document(f"{at.url}/src-url", _SMALL)
        text = "" if found is None else found.content.decode("utf-8", "replace").strip()
        return text if text.isprintable() and text else at.url

    def store_paths(self, at: At) -> Iterator[str]:
        """Give the paths that a release lists; raises NoPathList, Gone."""
        url = f"{at.url}/store-paths.xz"
        return pathlist.read(self._http.body(url), url)

    def file(self, at: At, listed: Listed) -> Iterator[bytes]:
        """Give the bytes of a file, not checked, and as they are kept there."""
        return self._http.body(f"{at.url}/{quote(listed.name)}", decoded=False)
