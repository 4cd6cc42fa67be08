"""Events -> DAG: a tree that anybody can browse, and an archive that shares its leaves.

The events are taken in first, leaves going to the sink as they are cut; what is remembered of a
file is its name and the numbers of its leaves. Once the last leaf is named, the nodes are built
from the leaves up, and the archive is spliced from the very tree that was built.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Protocol

from narbor.dag import splice
from narbor.dag.cut import Cutter
from narbor.dag.profile import Profile
from narbor.dag.splice import Leaf, Piece
from narbor.formats import hamt, layout, nar, unixfs
from narbor.names import cid
from narbor.names.cid import Cid


class Sink(Protocol):
    """Where the blocks of one item go."""

    def leaf(self, content: bytes) -> int:
        """Take a leaf, perhaps to be named and kept later; return its number: 0, 1, 2, ..."""
        ...

    def leaves(self) -> Sequence[Cid]:
        """Name all leaves taken so far, in order. Waits until each is named."""
        ...

    def node(self, block: bytes) -> Cid:
        """Take a dag-pb node and return its CID."""
        ...


@dataclass(frozen=True, slots=True)
class Roots:
    """What was built: the tree's root and the archive's, with the archive's length in bytes."""

    tree: Cid
    archive: Cid
    size: int


class _Numbered(NamedTuple):
    """A leaf by its number, with its size, until it has a CID."""

    number: int
    size: int


_Content = bytes | _Numbered | Leaf


@dataclass(frozen=True, slots=True)
class _File:
    name: bytes
    executable: bool
    size: int
    content: tuple[_Content, ...]
    block: int = 0  # length of the node that is the whole file, when its only content is that node


@dataclass(frozen=True, slots=True)
class _Folder:
    name: bytes
    entries: "list[_Entry]"


_Entry = _File | _Folder | nar.Symlink


def build(
    events: Iterable[nar.Event[bytes]],
    sink: Sink,
    profile: Profile,
    seen: Callable[[Iterator[Piece]], Iterator[Piece]] = iter,
) -> Roots:
    """Keep one item in `sink`: return the roots of its tree and of its archive.

    The archive's splice passes through `seen`, which gives it on unchanged; its leaves are named
    and taken by then.
    """
    top = _take(iter(events), sink, profile)
    builder = _Builder(profile, sink, sink.leaves())
    tree, _ = builder.entry(top)
    pieces = seen(splice.merged(nar.write(builder.events(top))))
    archive, _, size = splice.link(pieces, builder.put, profile.width)
    return Roots(tree, archive, size)


def file(chunks: Iterable[bytes], sink: Sink, profile: Profile) -> Cid:
    """Keep one file by itself, as a tree keeps it; return its root."""
    content = tuple(_numbered(Cutter(profile).pieces(chunks), sink, profile))
    root, _ = _Builder(profile, sink, sink.leaves()).entry(_File(b"", False, -1, content))
    return root


def _take(events: Iterator[nar.Event[bytes]], sink: Sink, profile: Profile) -> _Entry:
    """Take the events in; return the tree, with its leaves numbered."""
    cutter = Cutter(profile)
    root: list[_Entry] = []
    stack = [root]
    for event in events:
        match event:
            case nar.File(name, executable, size):
                content = _contents(events, size)
                if executable and profile.inline_executables and size <= profile.largest:
                    stack[-1].append(_inline_executable(event, b"".join(content), sink, profile))
                else:
                    pieces = _numbered(cutter.pieces(content), sink, profile)
                    stack[-1].append(_File(name, executable, size, tuple(pieces)))
            case nar.Directory(name):
                folder = _Folder(name, [])
                stack[-1].append(folder)
                stack.append(folder.entries)
            case nar.Symlink():
                stack[-1].append(event)
            case nar.End():
                stack.pop()
            case nar.Data():
                raise nar.MalformedNar("content outside a file")
    return root[0]


def _inline_executable(file: nar.File, data: bytes, sink: Sink, profile: Profile) -> _File:
    """Keep an executable as one node with its data, which the archive links as it is."""
    block = unixfs.leaf_node(data, profile.executable)
    content = (Leaf(sink.node(block), file.size),)
    return _File(file.name, True, file.size, content, len(block))


def _contents(events: Iterator[nar.Event[bytes]], size: int) -> Iterator[bytes]:
    while size > 0:
        event = next(events)
        if not isinstance(event, nar.Data):
            raise nar.MalformedNar(f"a file lacks {size} bytes of its content")
        size -= len(event.content)
        yield event.content


def _numbered(pieces: Iterable[bytes], sink: Sink, profile: Profile) -> Iterator[_Content]:
    """Hand the large pieces to the sink as leaves, and join the small ones."""
    held = b""
    if not profile.inline:
        # An empty file is the empty raw block, where nothing may stand in a CID.
        first = next(iter(pieces), b"")
        pieces = chain((first,), pieces)
    for piece in pieces:
        if profile.inline and len(piece) <= profile.inline:
            held += piece
            continue
        if held:
            yield held
            held = b""
        yield _Numbered(sink.leaf(piece), len(piece))
    if held:
        yield held


class _Builder:
    """Builds nodes, once every leaf has its name."""

    def __init__(self, profile: Profile, sink: Sink, leaves: Sequence[Cid]) -> None:
        self._profile = profile
        self._sink = sink
        self._leaves = leaves

    def put(self, block: bytes) -> Cid:
        """Keep a node: a tiny one in its CID, if the profile says so."""
        if len(block) <= self._profile.inline:
            return cid.inline(block, cid.DAG_PB)
        return self._sink.node(block)

    def events(self, top: _Entry) -> Iterator[nar.Event[Piece]]:
        """Give the tree as events whose contents are leaves and inline bytes."""
        ahead: list[_Entry | nar.End] = [top]
        while ahead:
            entry = ahead.pop()
            if isinstance(entry, _File):
                yield nar.File(entry.name, entry.executable, entry.size)
                for piece in entry.content if entry.size else ():
                    yield nar.Data(self._piece(piece))
            elif isinstance(entry, _Folder):
                yield nar.Directory(entry.name)
                ahead.append(nar.END)
                ahead += reversed(entry.entries)
            else:
                yield entry

    def entry(self, entry: _Entry) -> tuple[Cid, int]:
        """Keep one entry and all below it; return its root and cumulative size."""
        match entry:
            case nar.Symlink():
                block = unixfs.symlink_node(entry.target)
                return self.put(block), len(block)
            case _Folder():
                links = []
                for child in entry.entries:
                    root, size = self.entry(child)
                    links.append(unixfs.Link(root, size, child.name))
                return hamt.directory(links, self.put)
            case _File():
                return self._file(entry)

    def _file(self, file: _File) -> tuple[Cid, int]:
        if file.block:
            (leaf,) = map(self._piece, file.content)
            assert isinstance(leaf, Leaf)
            return leaf.cid, file.block
        mode = self._profile.executable if file.executable else None
        if mode is None and len(file.content) == 1 and isinstance(file.content[0], _Numbered):
            number, size = file.content[0]  # one leaf is the whole file: by far the most are so
            return self._leaves[number], size
        pieces = splice.links(map(self._piece, file.content))
        root, size, _ = layout.balanced(pieces, self.put, self._profile.width, mode)
        return root, size

    def _piece(self, content: _Content) -> Piece:
        if not isinstance(content, _Numbered):
            return content
        number, size = content
        return Leaf(self._leaves[number], size)
