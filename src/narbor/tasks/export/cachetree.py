"""A binary cache in a folder: written, and brought up to date, while others read it.

    nix-cache-info  HASH.narinfo  nar/FILEHASH.nar.zst|.nar.xz  nar/NARHASH.nar

A reader meets no narinfo whose archive or whose references are not there: archives are written
before narinfos, references before what refers to them, and taken away the other way round. That
holds at every moment, also when the writer is killed.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from narbor.catalogue import Release
from narbor.errors import NarborError, Unavailable
from narbor.formats import narinfo, packing
from narbor.formats.narinfo import MalformedNarinfo, Narinfo
from narbor.formats.streams import Tally, checked
from narbor.library import Library
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item
from narbor.names.keys import SecretKey
from narbor.tasks.export.tree import Tree, TreeFull
from narbor.tasks.parallel import in_order

Compression: TypeAlias = Literal["zstd", "xz", "none"]

INFO: Final = "nix-cache-info"
_SUFFIX: Final = {"none": "", "zstd": ".zst", "xz": ".xz"}
NARINFO: Final = re.compile(r"[0-9a-z]{32}\.narinfo")
ARCHIVE: Final = re.compile(r"[0-9a-z]{52}\.nar(\.[a-z0-9]+)?")
_GROUP: Final = 256  # narinfos that are put in place together
_GROUP_BYTES: Final = 128 << 20  # ... or those of so many bytes of archives
_AHEAD: Final = 128  # items under way: a large one, as xz, does not hold up the others


@dataclass(frozen=True, slots=True)
class Form:
    """What is written: the compression, the level for xz, who signs, the cache's priority.

    With `dry` nothing is written.
    """

    compression: Compression = "zstd"
    level: int = packing.DEFAULT
    keys: tuple[SecretKey, ...] = ()
    priority: int = 40
    dry: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """An item stands in the folder. `new`: its archive or narinfo was written just now.

    `size` is that of the archive that was written: 0 if it was there, or (dry run) is not known.
    """

    path: str
    url: str
    new: bool
    size: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An item cannot be exported, and so nothing is that refers to it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A file was taken away."""

    name: str
    size: int


class Cancelled(Unavailable):
    """The export was given up."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """An item whose archive stands, and its narinfo: None if the one that stands is as good."""

    item: Item
    url: str
    size: int
    text: bytes | None
    staged: Path | None = None


def ordered(library: Library, roots: Iterable[Item]) -> Iterator[Item]:
    """Give `roots` and all they refer to that doors show, each once, references first."""
    seen: set[str] = set()
    for root in roots:
        if root.path.base in seen:
            continue
        seen.add(root.path.base)
        above = [(root, iter(root.references))]
        while above:
            item, rest = above[-1]
            base = next((base for base in rest if base not in seen), None)
            if base is None:
                yield item
                above.pop()
                continue
            seen.add(base)
            below = shown(library, base)
            if below is not None:
                above.append((below, iter(below.references)))


def shown(library: Library, base: str) -> Item | None:
    """Return the item with this base name if the doors of this store show it."""
    item = library.find(base[:32])
    here = item is not None and item.path.base == base and item.path.store == library.store
    return item if here else None


def listed(library: Library, release: Release) -> Iterator[Item]:
    """Give what a release lists and doors show."""
    for base in library.catalogue.release_paths(release.channel, release.name):
        item = shown(library, base)
        if item is not None:
            yield item


def everything(library: Library) -> Iterator[Item]:
    """Give every item that doors show."""
    for item in library.items():
        if shown(library, item.path.base) is not None:
            yield item


class CacheTree:
    """The cache in a tree. `over` ends what is under way."""

    def __init__(self, library: Library, tree: Tree, form: Form, pool: Executor) -> None:
        self._library = library
        self._tree = tree
        self._form = form
        self._pool = pool
        self._hashes: set[str] = set()
        self._urls: set[str] = set()
        self._blocked: set[str] = set()
        self.over = False

    def info(self) -> bytes:
        """Return what `nix-cache-info` says; without a Priority Nix would prefer it to all."""
        priority = self._form.priority
        text = f"StoreDir: {self._library.store}\nWantMassQuery: 1\nPriority: {priority}\n"
        return text.encode()

    @property
    def hashes(self) -> Set[str]:
        """The hash parts of all items that stand in the tree, and are to stand there."""
        return self._hashes

    # --- items ---------------------------------------------------------------------------------

    def write(self, roots: Iterable[Item]) -> Iterator[Exported | Failed]:
        """Bring these items, and all they refer to, into the tree. Raises TreeFull."""
        if not self._form.dry:
            self._tree.mkdir("nar")
            self._tree.write(INFO, self.info())
        items = ordered(self._library, roots)
        results = in_order(self._pool, self._archived, items, _AHEAD)
        for group in _grouped(results):
            if not self._form.dry and any(map(_size, group)):
                self._tree.sync("nar")
            for each in in_order(self._pool, self._told, group, _AHEAD):
                yield self._placed(each)
            if not self._form.dry:
                self._tree.sync()

    def _archived(self, item: Item) -> _Ready | Failed:
        """See to it that the archive stands, and say what its narinfo must be; on any thread."""
        name = f"{item.path.hash_part}.narinfo"
        old = self._tree.read(name, narinfo.LONGEST)
        try:
            ready = self._rendered(item, _parsed(old))
        except TreeFull:
            raise
        except NarborError as error:
            if self.over:
                raise
            return Failed(str(item.path), str(error))
        return ready if ready.text != old else _Ready(item, ready.url, ready.size, None)

    def _rendered(self, item: Item, old: Narinfo | None) -> _Ready:
        if self._form.compression == "xz":
            form, digest, size, wrote = self._packed(item, old)
        else:
            form, digest, size, wrote = self._as_it_is(item)
        url = _url(form, digest)
        text = narinfo.of_item(item, url, form, digest, size, self._signed(item))
        return _Ready(item, url, wrote, text)

    def _as_it_is(self, item: Item) -> tuple[str, Digest, int, int]:
        """The stored rendering, byte for byte."""
        rendering = self._library.rendering(item, self._form.compression)
        form, digest, size = rendering.compression, rendering.digest, rendering.size
        name = _url(form, digest)
        if self._tree.size(name) == size:
            return form, digest, size, 0
        if not self._form.dry:
            chunks = self._library.rendered(item, rendering)
            what = f"the archive of {item.path}"
            staged = self._tree.stage(self._alive(checked(chunks, Seal(digest, size), what)))
            self._tree.place(staged, name)
        return form, digest, size, size

    def _packed(self, item: Item, old: Narinfo | None) -> tuple[str, Digest, int, int]:
        """The archive as xz: what an earlier narinfo speaks of, or made now."""
        if old is not None and old.compression == "xz" and old.seal == item.seal:
            digest, size = old.file_hash, old.file_size
            if digest is not None and size and self._tree.size(_url("xz", digest)) == size:
                return "xz", digest, size, 0
        if self._form.dry:
            return "xz", item.seal.digest, 0, 0
        chunks = checked(self._library.archive(item), item.seal, f"the NAR of {item.path}")
        tally = Tally(self._alive(packing.xz(chunks, self._form.level)))
        staged = self._tree.stage(tally)
        self._tree.place(staged, _url("xz", tally.digest))
        return "xz", tally.digest, tally.size, tally.size

    def _alive(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self.over:
                raise Cancelled("the export was given up")
            yield chunk

    def _told(self, each: _Ready | Failed) -> _Ready | Failed:
        """Stage the narinfo, if it is another than the one that stands; on any thread."""
        if isinstance(each, Failed) or each.text is None or self._form.dry:
            return each
        staged = self._tree.stage([each.text])
        return _Ready(each.item, each.url, each.size, each.text, staged)

    def _placed(self, each: _Ready | Failed) -> Exported | Failed:
        """Put a narinfo in its place, if all that it refers to is there."""
        if isinstance(each, Failed):
            self._fail(each.path)
            return each
        item = each.item
        lost = next((base for base in item.references if base in self._blocked), None)
        if lost is not None:
            if each.staged is not None:
                self._tree.drop(each.staged)
            self._fail(str(item.path))
            return Failed(str(item.path), f"it refers to {lost}, which cannot be exported")
        if each.staged is not None:
            self._tree.place(each.staged, f"{item.path.hash_part}.narinfo")
        self._hashes.add(item.path.hash_part)
        self._urls.add(each.url)
        return Exported(str(item.path), each.url, each.text is not None or each.size > 0, each.size)

    def _fail(self, path: str) -> None:
        """Note that an item cannot be had; what an earlier run wrote of it stays, and is enough."""
        base = path.rpartition("/")[2]
        old = _parsed(self._tree.read(f"{base[:32]}.narinfo", narinfo.LONGEST))
        if old is not None and old.path.base == base and self._tree.size(old.url) is not None:
            self._hashes.add(base[:32])
            self._urls.add(old.url)
        else:
            self._blocked.add(base)

    def _signed(self, item: Item) -> tuple[str, ...]:
        """Return the signatures as they came, then our own where they are new."""
        text = narinfo.fingerprint(item.path, item.seal, item.references)
        ours = (key.sign(text) for key in self._form.keys)
        return tuple(dict.fromkeys((*item.signatures, *ours)))

    # --- what goes -----------------------------------------------------------------------------

    def sweep(self) -> Iterator[Deleted]:
        """Take away what was not written or found good: what refers to others first."""
        keep = {f"{hash}.narinfo" for hash in self._hashes} | self._urls
        for name in stale(self._tree, "", keep):
            if self._form.dry:
                yield Deleted(name, self._tree.size(name) or 0)
            else:
                yield Deleted(name, self._tree.remove(name))


def _grouped(results: Iterable[_Ready | Failed]) -> Iterator[list[_Ready | Failed]]:
    group: list[_Ready | Failed] = []
    size = 0
    for each in results:
        group.append(each)
        size += _size(each)
        if len(group) >= _GROUP or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _size(each: _Ready | Failed) -> int:
    return each.size if isinstance(each, _Ready) else 0


def stale(tree: Tree, folder: str, keep: Collection[str]) -> Iterator[str]:
    """Name what is in a cache and not in `keep`, in the order in which it may go.

    Nobody stands behind what it refers to, and archives come last.
    """
    at = f"{folder}/" if folder else ""

    def references(name: str) -> Iterator[str]:
        found = _parsed(tree.read(at + name, narinfo.LONGEST))
        return (f"{base[:32]}.narinfo" for base in (found.references if found else ()))

    gone = [n for n in tree.names(folder) if NARINFO.fullmatch(n) and n not in keep]
    yield from referrers_first(gone, references)
    if gone:
        tree.sync(folder)
    for name in tree.names(f"{at}nar"):
        if ARCHIVE.fullmatch(name) and f"nar/{name}" not in keep:
            yield f"nar/{name}"


def archive_of(tree: Tree, name: str) -> str | None:
    """Return where the archive lies that a narinfo speaks of; None if one of them is not there."""
    found = _parsed(tree.read(name, narinfo.LONGEST))
    return found.url if found is not None and tree.size(found.url) is not None else None


def referrers_first(names: Sequence[str], references: Callable[[str], Iterable[str]]) -> list[str]:
    """Sort so that nobody stands behind what it refers to (but for circles)."""
    wanted, seen, out = set(names), set[str](), list[str]()
    for name in names:
        if name in seen:
            continue
        seen.add(name)
        above = [(name, iter(references(name)))]
        while above:
            here, rest = above[-1]
            below = next((each for each in rest if each in wanted and each not in seen), None)
            if below is None:
                out.append(here)
                above.pop()
                continue
            seen.add(below)
            above.append((below, iter(references(below))))
    return out[::-1]


def _parsed(text: bytes | None) -> Narinfo | None:
    try:
        return None if text is None else narinfo.parse(text)
    except MalformedNarinfo:
        return None


def _url(compression: str, digest: Digest) -> str:
    """Name an archive by its content, relative to the cache."""
    return f"nar/{digest.nix32}.nar{_SUFFIX[compression]}"
