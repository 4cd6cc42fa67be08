"""A library in memory, true but for its speed: what doors and the server are tried against."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

import zstandard

from narbor.errors import Unavailable
from narbor.formats import nar
from narbor.names import base32, cid
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item, Rendering
from narbor.names.storepath import StorePath

PIECE = 1000


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink in a tree."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Program:
    """An executable file in a tree."""

    content: bytes


Tree: TypeAlias = "bytes | Program | Link | dict[bytes, Tree]"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a flat tree."""

    path: bytes
    kind: str
    size: int = 0
    executable: bool = False
    target: bytes = b""
    offset: int = 0


def events(tree: Tree, name: bytes = b"") -> Iterator[nar.Event[bytes]]:
    """Spell a tree as NAR events."""
    match tree:
        case Link(target):
            yield nar.Symlink(name, target)
        case dict():
            yield nar.Directory(name)
            for each in sorted(tree):
                yield from events(tree[each], each)
            yield nar.END
        case Program(content) | bytes(content):
            yield nar.File(name, isinstance(tree, Program), len(content))
            if content:
                yield nar.Data(content)


def flat(tree: Tree, path: bytes = b"") -> Iterator[Entry]:
    """Return the tree flat, without offsets."""
    match tree:
        case Link(target):
            yield Entry(path, "symlink", target=target)
        case dict():
            yield Entry(path, "directory")
            for name in sorted(tree):
                yield from flat(tree[name], path + b"/" + name if path else name)
        case Program(content) | bytes(content):
            yield Entry(path, "regular", len(content), isinstance(tree, Program))


@dataclass(slots=True)
class FakeLibrary:
    """Holds whole archives. `fails_at` makes every body break after that many bytes."""

    store: str = "/nix/store"
    items: dict[str, Item] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    archives: dict[Digest, bytes] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    realisations: dict[str, bytes] = field(default_factory=dict)
    symbols: dict[str, tuple[Item, str]] = field(default_factory=dict)
    fails_at: int | None = None
    down: bool = False
    asked: list[str] = field(default_factory=list)
    open_bodies: int = 0
    changes: int = 0
    closed: bool = False
    retired: bool = False

    def add(
        self,
        name: str,
        tree: Tree,
        references: tuple[str, ...] = (),
        signatures: tuple[str, ...] = (),
        store: str | None = None,
        deriver: str | None = None,
    ) -> Item:
        """Put an item in; its hash part is made from its name."""
        spelt: Iterator[bytes] = nar.write(events(tree))
        archive = b"".join(spelt)
        hash_part = base32.nix(sha256(name.encode()).digest()[:20])
        item = Item(
            StorePath(store or self.store, hash_part, name),
            Seal(Digest("sha256", sha256(archive).digest()), len(archive)),
            references,
            deriver,
            signatures,
            None,
            (),
            "test",
            cid.raw(b"tree"),
            cid.raw(archive),
            "test",
        )
        self.items[hash_part] = item
        self.trees[hash_part] = tree
        self.archives[item.seal.digest] = archive
        packed = zstandard.compress(archive, 1)
        self.archives[Digest("sha256", sha256(packed).digest())] = packed
        self.changes += 1
        return item

    def find(self, hash_part: str) -> Item | None:
        """Return an item."""
        self._ask(f"find {hash_part}")
        return self.items.get(hash_part)

    def rendering(self, item: Item, compression: str) -> Rendering:
        """Return a rendering, always the same."""
        self._ask("rendering")
        if compression == "none" or self.retired:
            return Rendering("none", item.seal.digest, item.seal.size)
        packed = zstandard.compress(self.archives[item.seal.digest], 1)
        return Rendering("zstd", Digest("sha256", sha256(packed).digest()), len(packed))

    def archive(self, item: Item, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return archive bytes."""
        return self._pieces(self.archives[item.seal.digest], start, stop)

    def rendered(
        self, item: Item, rendering: Rendering, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """Return rendered bytes."""
        return self._pieces(self.archives[rendering.digest], start, stop)

    def by_archive(self, digest: Digest) -> Item | None:
        """Return an item with this NarHash."""
        self._ask("by_archive")
        return next((each for each in self.items.values() if each.seal.digest == digest), None)

    def by_rendering(self, digest: Digest) -> tuple[Item, Rendering] | None:
        """Return the rendering with this hash."""
        self._ask("by_rendering")
        for item in self.items.values():
            rendering = self.rendering(item, "zstd")
            if rendering.digest == digest:
                return item, rendering
        return None

    def entries(self, item: Item) -> Iterator[Entry]:
        """Return the flat tree, with the offsets that the archive really has."""
        self._ask("entries")
        offsets = _offsets(self.trees[item.path.hash_part])
        for each in flat(self.trees[item.path.hash_part]):
            offset = next(offsets) if each.kind == "regular" and each.size else 0
            yield Entry(each.path, each.kind, each.size, each.executable, each.target, offset)

    def log(self, name: str) -> bytes | None:
        """Return a log."""
        self._ask("log")
        return self.logs.get(name)

    def realisation(self, id: str) -> bytes | None:
        """Return a realisation."""
        self._ask("realisation")
        return self.realisations.get(id)

    def debuginfo(self, build_id: str) -> tuple[Item, str] | None:
        """Return where symbols are."""
        self._ask("debuginfo")
        return self.symbols.get(build_id)

    def version(self) -> int:
        """Count changes."""
        self._ask("version")
        return self.changes

    def close(self) -> None:
        """Note that nobody needs it any more."""
        self.closed = True

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise Unavailable("the store is away")

    def _pieces(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        self.open_bodies += 1
        try:
            end = len(data) if stop is None else stop
            for at in range(start, end, PIECE):
                if self.fails_at is not None and at - start >= self.fails_at:
                    raise Unavailable("a block is damaged")
                yield data[at : min(at + PIECE, end)]
        finally:
            self.open_bodies -= 1


def _offsets(tree: Tree) -> Iterator[int]:
    """Find where contents begin by writing the archive with marks in their place."""

    def marked() -> Iterator[nar.Event[memoryview]]:
        for event in events(tree):
            if isinstance(event, nar.Data):
                yield nar.Data(memoryview(event.content))
            else:
                yield event

    at = 0
    for piece in nar.write(marked()):
        if isinstance(piece, memoryview):
            yield at
        at += len(piece)


def world(library: FakeLibrary, count: int = 3) -> Mapping[str, Item]:
    """Fill a library with a few items of every shape; return them by name."""
    tree: Tree = {
        b"bin": {b"hello": Program(b"\x7fELF" + bytes(range(256)) * 40), b"hi": Link(b"hello")},
        b"empty": {},
        b"share": {b"a": b"text", b"b": b"", '\u00fc"\n'.encode(): b"odd"},
    }
    made = [library.add("hello-2.12", tree), library.add("one-file", b"x" * 5000)]
    made += [library.add(f"item-{n}", {b"n": str(n).encode() * 999}) for n in range(count)]
    made.append(library.add("uses-1", Link(b"/x"), (made[0].path.base, made[1].path.base)))
    return {item.path.name: item for item in made}
