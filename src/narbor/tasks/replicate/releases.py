"""Releases that came with a cache's directory are recorded, so that the doors show them.

A release's expressions are signed by nobody. So this is only done where the operator believes the
source itself; otherwise the files are kept with the root and no channel moves.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from narbor.blocks import BlockDamaged, BlockMissing
from narbor.catalogue import Release
from narbor.dag import cachedir
from narbor.errors import Refused, Rejected
from narbor.formats import hamt
from narbor.formats.streams import limited
from narbor.formats.unixfs import Link
from narbor.library import Library, seal_of
from narbor.library.reading import Reader
from narbor.names.cid import Cid
from narbor.names.digest import Seal
from narbor.names.file import File

_NAME: Final = re.compile(rb"[0-9A-Za-z][0-9A-Za-z+\-._?=]{0,210}")
_LISTING: Final = b"store-paths"
_LONGEST_LINE: Final = 4096
_LONGEST_LISTING: Final = 1 << 30
_LOST: Final = (Rejected, Refused, BlockMissing, BlockDamaged)


@dataclass(frozen=True, slots=True)
class Released:
    """A release was recorded; `moved`: its channel is at it from now on."""

    channel: str
    name: str
    moved: bool


@dataclass(frozen=True, slots=True)
class Unreleased:
    """A release of the directory was not recorded, and why."""

    channel: str
    name: str
    reason: str


Event = Released | Unreleased


def take_in(library: Library, root: Cid, trusted: bool, now: int) -> Iterator[Event]:
    """Record the releases in the cache at `root` that are not here, and move channels forward."""
    get = Reader(library.blocks).node
    try:
        at = {link.name: link.cid for link in cachedir.entries(root, cachedir.CHANNELS, get)}
        channels = cachedir.entries(root, cachedir.RELEASES, get)
        found = [(c.name, r) for c in channels for r in hamt.entries(get(c.cid), get)]
    except _LOST as error:
        yield Unreleased("", "", str(error))
        return
    for channel, link in found:
        names = _text(channel), _text(link.name)
        if library.release(*names) is not None:
            continue
        if not trusted:
            yield Unreleased(*names, "nobody signs releases: --trusted believes them")
            continue
        try:
            _record(library, channel, link, now)
            moved = at.get(channel) == link.cid and library.catalogue.advance(*names, now)
            yield Released(*names, moved)
        except _LOST as error:
            yield Unreleased(*names, str(error))


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _record(library: Library, channel: bytes, link: Link, now: int) -> None:
    get = Reader(library.blocks).node
    files = {each.name: each.cid for each in hamt.entries(get(link.cid), get)}
    for name in (channel, link.name, *files):
        if _NAME.fullmatch(name) is None:
            raise Rejected(f"{name[:80]!r} can be no name in a release")
    revision, source = (_line(library, files.get(name)) for name in (b"git-revision", b"src-url"))
    names = channel.decode(), link.name.decode()
    bases = _bases(library, files.get(_LISTING))
    made = [File(name.decode(), root, _seal(library, root), now) for name, root in files.items()]
    release = Release(*names, None, source, revision, now)
    library.catalogue.record_release(release, bases)
    library.catalogue.record_files(*names, made)
    library.catalogue.publish_release(*names, now)


def _seal(library: Library, root: Cid) -> Seal:
    return Seal(*seal_of(library.content(root)))


def _line(library: Library, root: Cid | None) -> str:
    if root is None:
        return ""
    return b"".join(limited(library.content(root), _LONGEST_LINE)).decode(errors="replace").strip()


def _bases(library: Library, root: Cid | None) -> list[str]:
    """Return the base names that a release lists."""
    if root is None:
        return []
    text = b"".join(limited(library.content(root), _LONGEST_LISTING)).decode(errors="replace")
    return [path.rpartition("/")[2] for path in text.splitlines() if path]
