"""From roots to bytes: archives, renderings, trees and files, whole or by range.

Pieces are read in batches: one look into the index and few reads of packs for hundreds of leaves.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from narbor.blocks import BlockMissing
from narbor.blocks.index import Place
from narbor.blocks.packs import PackStore
from narbor.dag import splice, walk
from narbor.dag.splice import Cut, Leaf, Piece
from narbor.formats import nar, zstdframe
from narbor.formats.streams import Hashing, gathered
from narbor.library import plans
from narbor.library.plans import Plans, Stretch
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.item import Item

_BATCH: Final = 1024  # pieces looked up at once
_CHUNK: Final = 256 << 10  # bytes given at once, at least, but for the last


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, link or directory of an item; `path` is b"" for the root.

    `kind` is regular, symlink or directory. `offset` is where a file's contents begin in the NAR.
    """

    path: bytes
    kind: str
    size: int = 0
    executable: bool = False
    target: bytes = b""
    offset: int = 0


class Reader:
    """Reads items out of packs."""

    def __init__(self, blocks: PackStore, plans: Plans | None = None) -> None:
        """Read from `blocks`; `plans` are kept where nobody writes through the same store."""
        self._blocks = blocks
        self._plans = plans

    def node(self, name: Cid) -> bytes:
        """Return a node, also one that stands in its CID; raises BlockMissing, BlockDamaged."""
        block = cid.inlined(name)
        if block is None:
            block = self._blocks.get(name)
        if block is None:
            raise BlockMissing(name)
        return block

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes [start, stop) of the UnixFS file at `root`."""
        return self._planned(root, False, start, stop)

    def _planned(self, root: Cid, packed: bool, start: int, stop: int | None) -> Iterator[bytes]:
        version = 0 if self._plans is None else self._blocks.index.version()
        plan = None if self._plans is None else self._plans.get(root, packed, version)
        if plan is None and start and not packed:
            yield from self._found(root, packed, start, stop)
            return
        at, made = 0, []
        waiting = iter(self._plan(root, packed) if plan is None else plan)
        for stretch in waiting:
            made.append(stretch)
            low, high = max(start - at, 0), stretch.size if stop is None else stop - at
            if low < min(high, stretch.size):
                data = self._made(stretch, packed)
                if data is None:
                    # Moved, or damaged: looking for each block tells.
                    yield from self._found(root, packed, at + low, stop)
                    return
                yield data if low == 0 and high >= stretch.size else data[low:high]
            at += stretch.size
            if stop is not None and at >= stop:
                break
        if plan is None and self._plans is not None and next(waiting, None) is None:
            self._plans.keep(root, packed, version, tuple(made))

    def _plan(self, root: Cid, packed: bool) -> Iterator[Stretch]:
        return plans.stretches(self.splice(root), self._blocks.places, packed)

    def _made(self, stretch: Stretch, packed: bool) -> bytes | None:
        """Return the bytes of a stretch; None where they cannot be read as they were planned."""
        run = memoryview(b"")
        if stretch.length:
            run = memoryview(self._blocks.read(stretch.pack, stretch.offset, stretch.length))
            if len(run) != stretch.length:
                return None
        out: list[bytes | memoryview] = []
        decoded = self._blocks.decoded
        for part in stretch.parts:
            if isinstance(part, bytes):
                out.append(part)
                continue
            start, stop, size = part
            block = run[start:stop] if packed else decoded(run[start:stop], size)
            if block is None:
                return None
            out.append(block)
        only = out[0]
        return only if len(out) == 1 and isinstance(only, bytes) else b"".join(out)

    def _found(self, root: Cid, packed: bool, start: int, stop: int | None) -> Iterator[bytes]:
        """Give the bytes [start, stop) with a look for each block: the slow way, and the last."""
        if packed:
            return gathered(self._frames(self.splice(root), start, stop), _CHUNK)
        return gathered(self._content(splice.pieces(root, self.node, start, stop)), _CHUNK)

    def _content(self, cuts: Iterator[Cut]) -> Iterator[bytes]:
        while batch := list(islice(cuts, _BATCH)):
            names = [cut.piece.cid for cut in batch if isinstance(cut.piece, Leaf)]
            blocks = self._blocks.get_many(names)
            for cut in batch:
                data = next(blocks) if isinstance(cut.piece, Leaf) else cut.piece
                whole = cut.start == 0 and cut.stop == len(data)
                yield data if whole else data[cut.start : cut.stop]

    def zstd(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes [start, stop) of the file at `root` as its leaves' own frames, end to end.

        Between leaves stand frames of stored bytes. The same root gives the same bytes as long as
        no frame at rest is made anew.
        """
        return self._planned(root, True, start, stop)

    def splice(self, root: Cid) -> Iterator[Piece]:
        """Give the splice that the file at `root` stands for, inline bytes joined."""
        return splice.read(root, self.node)

    def _frames(self, pieces: Iterator[Piece], start: int, stop: int | None) -> Iterator[bytes]:
        at = 0
        while batch := list(islice(pieces, _BATCH)):
            wanted: list[tuple[int, int, bytes | Place]] = []
            for part in self._parts(batch):
                size = len(part) if isinstance(part, bytes) else part.length
                low = max(start - at, 0)
                high = size if stop is None else min(stop - at, size)
                if low < high:
                    wanted.append((low, high, part))
                at += size
            found = self._blocks.frames([p for _, _, p in wanted if not isinstance(p, bytes)])
            for low, high, part in wanted:
                data = part if isinstance(part, bytes) else next(found)
                yield bytes(data[low:high])
            if stop is not None and at >= stop:
                return

    def _parts(self, batch: list[Piece]) -> Iterator[bytes | Place]:
        """Give for each piece its frame of stored bytes, or the place of its leaf's frame."""
        places = iter(self._blocks.places([p.cid for p in batch if isinstance(p, Leaf)]))
        for piece in batch:
            yield zstdframe.stored(piece) if isinstance(piece, bytes) else next(places)

    def sealed(self, pieces: Iterator[Piece], state: Hashing) -> Iterator[tuple[Piece, int]]:
        """Pass a splice on, with the size of each frame of its zstd rendering, as `zstd` gives it.

        The frames themselves go into `state`. The leaves must be in the store already.
        """
        while batch := list(islice(pieces, _BATCH)):
            parts = list(self._parts(batch))
            found = self._blocks.frames([part for part in parts if not isinstance(part, bytes)])
            for piece, part in zip(batch, parts, strict=True):
                data = part if isinstance(part, bytes) else next(found)
                state.update(data)
                yield piece, len(data)

    def entries(self, item: Item) -> Iterator[Entry]:
        """Give the item's tree flat, in the order of its NAR."""
        for event, path, offset in _placed(walk.walk(item.tree, self.node)):
            match event:
                case nar.File(_, executable, size):
                    yield Entry(path, "regular", size, executable, offset=offset)
                case nar.Symlink(_, target):
                    yield Entry(path, "symlink", target=target)
                case nar.Directory():
                    yield Entry(path, "directory")

    def entry(self, item: Item, path: bytes) -> Entry | None:
        """Return what stands at `path`, no link followed; `offset` is not looked for."""
        root = walk.find(item.tree, self.node, path)
        if root is None:
            return None
        match walk.head(root, self.node):
            case nar.File(_, executable, size):
                return Entry(path, "regular", size, executable)
            case nar.Symlink(_, target):
                return Entry(path, "symlink", target=target)
            case nar.Directory():
                return Entry(path, "directory")

    def file(self, item: Item, path: bytes) -> Iterator[bytes] | None:
        """Give the content of the regular file at `path`; None if there is none."""
        root = self.member(item, path)
        return None if root is None else self.content(root)

    def member(self, item: Item, path: bytes) -> Cid | None:
        """Return the root of the regular file at `path`; None if there is none."""
        root = walk.find(item.tree, self.node, path)
        return root if root is not None and walk.is_file(root, self.node) else None

    def names(self, item: Item, path: bytes) -> list[bytes]:
        """Return the names in the directory at `path`; none if there is no such directory."""
        root = walk.find(item.tree, self.node, path)
        return [] if root is None else walk.names(root, self.node)


def _placed(
    events: Iterable[nar.Event[Piece]],
) -> Iterator[tuple[nar.Event[Piece], bytes, int]]:
    """Give each event with its path, and for a file the place of its contents in the NAR.

    Empty files have a place as well: Nix says it of them too.
    """
    offset = 0
    above: list[bytes] = []
    seen: list[nar.Event[Piece]] = []

    def passed() -> Iterator[nar.Event[Piece]]:
        for event in events:
            seen.append(event)
            yield event
            if isinstance(event, nar.File) and not event.size:
                yield nar.Data(b"")  # so that its place is passed as that of any other file

    pending: tuple[nar.Event[Piece], bytes] | None = None
    for piece in nar.write(passed()):
        for event in seen:
            if isinstance(event, nar.Data):
                continue
            if pending is not None:
                yield *pending, 0
                pending = None
            if isinstance(event, nar.End):
                above.pop()
                continue
            path = b"/".join((*above[1:], event.name)) if above else b""
            if isinstance(event, nar.File):
                pending = event, path
            else:
                yield event, path, 0
            if isinstance(event, nar.Directory):
                above.append(event.name)
        seen.clear()
        offset += piece.size if isinstance(piece, Leaf) else len(piece)
        if pending is not None:
            yield *pending, offset
            pending = None
