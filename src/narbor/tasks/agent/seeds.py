"""What the Nix store of this machine can give to items that are wanted.

    the very item        its NAR is read from the file system
    an older build       of the same name and size: its NAR with the references exchanged
    an older version     its content, cut as ours is: the leaves that the new one has as well

None of it is believed: the first two are checked against NarHash like any archive, and leaves are
found by their hash.
"""

import re
from collections.abc import Callable, Container, Iterator
from itertools import islice
from typing import Final

from narbor.dag.build import build
from narbor.dag.cut import Cutter
from narbor.dag.graft import graft
from narbor.dag.profile import Profile
from narbor.errors import NarborError
from narbor.formats import nar
from narbor.formats.narinfo import Narinfo
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.upstream.nixstore import NixStore

_MOST: Final = 4  # older builds that are looked at
_HASH: Final = 32
_BATCH: Final = 64
_OUTPUT: Final = re.compile(r"-([a-z]+)\Z")
_VERSION: Final = re.compile(r"-(?=[^a-zA-Z])")


class Seeds:
    """The local store, as a place to take content from."""

    def __init__(self, store: NixStore, profile: Profile) -> None:
        self._store = store
        self._profile = profile

    def knows(self, claim: Narinfo) -> bool:
        """Tell whether there is an item of the same name, which may well be all that is needed."""
        return bool(self._store.called(claim.path.name))

    def builds(self, claim: Narinfo) -> Iterator[str]:
        """Give base names of items that may be this one but for references, likeliest first."""
        found = self._store.called(claim.path.name)
        found.sort(key=lambda base: base != claim.path.base)
        for base in found[:_MOST]:
            try:
                if self._store.size(base) == claim.seal.size:
                    yield base
            except NarborError:
                continue

    def archive(self, base: str, claim: Narinfo) -> Iterator[bytes]:
        """Give the NAR of `base` as it would be with the references that are claimed.

        Raises Unreadable, NotAnArchive.
        """
        swaps = self._swaps(base, claim)
        return nar.write(_grafted(self._store.events(base), swaps))

    def _swaps(self, base: str, claim: Narinfo) -> dict[bytes, bytes]:
        """Return for each hash part of an older build of a reference the new one."""
        path = claim.path
        new = {path.base, *claim.references}
        kept = {each[:_HASH] for each in new}
        swaps: dict[bytes, bytes] = {}
        for each in new:
            for old in (
                *self._store.called(each[_HASH + 1 :]),
                *([base] if each == path.base else []),
            ):
                if old[:_HASH] not in kept:
                    swaps[old[:_HASH].encode()] = each[:_HASH].encode()
        return {} if base == path.base else swaps

    def relatives(self, claim: Narinfo) -> list[str]:
        """Return base names of other builds and versions of what an item is, likeliest first."""
        path = claim.path
        same = self._store.called(path.name)
        if same:
            return same[:_MOST]
        mine = family(path.name)
        names = [name for name in self._store.names() if family(name) == mine]
        return [base for name in sorted(names)[-_MOST:] for base in self._store.called(name)][
            :_MOST
        ]

    def size(self, base: str) -> int:
        """Return the size of an item's NAR; raises Unreadable, NotAnArchive."""
        return self._store.size(base)

    def outline(self, base: str) -> tuple[Cid, dict[Cid, bytes]]:
        """Return the root that an item's archive would have here, and all nodes; no leaves.

        Raises Unreadable, NotAnArchive.
        """
        sink = _Outline()
        roots = build(self._store.events(base), sink, self._profile)
        return roots.archive, sink.nodes

    def leaves(
        self, base: str, wanted: Container[Cid], put: Callable[[list[tuple[Cid, bytes]]], None]
    ) -> int:
        """Put those leaves of `base` that are wanted; return how many bytes they are.

        Raises Unreadable, NotAnArchive, and what `put` raises.
        """
        found, size = self._leaves(base, wanted), 0
        while batch := list(islice(found, _BATCH)):
            put(batch)
            size += sum(len(block) for _, block in batch)
        return size

    def _leaves(self, base: str, wanted: Container[Cid]) -> Iterator[tuple[Cid, bytes]]:
        cutter, inline = Cutter(self._profile), self._profile.inline
        for content in _contents(self._store.events(base)):
            for piece in cutter.pieces(content):
                name = cid.raw(piece) if len(piece) > inline else None
                if name is not None and name in wanted:
                    yield name, piece


class _Outline:
    """A sink that names leaves, and keeps nodes only."""

    def __init__(self) -> None:
        self.nodes: dict[Cid, bytes] = {}
        self._leaves: list[Cid] = []

    def leaf(self, content: bytes) -> int:
        """Name a leaf."""
        self._leaves.append(cid.raw(content))
        return len(self._leaves) - 1

    def leaves(self) -> list[Cid]:
        """Return all names."""
        return self._leaves

    def node(self, block: bytes) -> Cid:
        """Keep a node."""
        name = cid.node(block)
        self.nodes[name] = block
        return name


def family(name: str) -> tuple[str, str]:
    """Return what stays of a name from version to version: the package's name, and the output.

    The version begins as Nix has it, behind the first dash without a letter after it.
    """
    parts = _VERSION.split(name, maxsplit=1)
    output = _OUTPUT.search(parts[1]) if len(parts) > 1 else None
    return parts[0], output[1] if output else ""


def _grafted(
    events: Iterator[nar.Event[bytes]], swaps: dict[bytes, bytes]
) -> Iterator[nar.Event[bytes]]:
    for event in events:
        match event:
            case nar.File(_, _, size):
                yield event
                content = _content(events, size)
                yield from map(nar.Data, graft(content, swaps) if swaps else content)
            case nar.Symlink(name, target):
                yield nar.Symlink(name, b"".join(graft((target,), swaps)))
            case _:
                yield event


def _content(events: Iterator[nar.Event[bytes]], size: int) -> Iterator[bytes]:
    """Give the content of the file that began last."""
    while size > 0:
        event = next(events)
        assert isinstance(event, nar.Data)
        size -= len(event.content)
        yield event.content


def _contents(events: Iterator[nar.Event[bytes]]) -> Iterator[Iterator[bytes]]:
    """Give the content of each file; each must be read before the next."""
    for event in events:
        if isinstance(event, nar.File) and event.size:
            yield _content(events, event.size)
