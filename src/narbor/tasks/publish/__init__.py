"""The cache under one name: its directory is brought up to date, and its root is kept.

What changed since the last time is found in the catalogue: items that were recorded or met since,
and, only where the counts say that something went or became visible, the names on both sides. The
blocks written are those on the way to what changed. An admission is open meanwhile, so that no
collection takes what the directory leads to.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from narbor.blocks import BlockMissing
from narbor.catalogue import Publication
from narbor.dag import cachedir
from narbor.formats import ipld, narinfo
from narbor.formats.unixfs import Link
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.digest import Digest
from narbor.names.item import Item
from narbor.names.keys import SecretKey

CACHE: Final = "cache"
_FORM: Final = 1  # rises with what is written of an item
_BATCH: Final = 1000
_STEP: Final = 500


@dataclass(frozen=True, slots=True)
class Looked:
    """So many items have been looked at."""

    items: int


@dataclass(frozen=True, slots=True)
class Published:
    """The directory is there. `blocks` of `size` bytes were new to the store."""

    root: Cid
    items: int
    added: int
    removed: int
    blocks: int
    size: int


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What only the top knows: the time, who we are, and how the cache presents itself."""

    now: int
    process: str
    keys: tuple[SecretKey, ...] = ()
    priority: int = 40

    def settings(self, store: str) -> str:
        """Return a digest of all but the items that decides the content."""
        keys = sorted(str(key.public) for key in self.keys)
        return sha256(repr((_FORM, store, self.priority, keys)).encode()).hexdigest()


def publish(
    library: Library, at: Circumstances, whole: bool = False
) -> Generator[Looked | Published, None, None]:
    """Bring the directory up to date; the last event is Published.

    `whole`: made anew from nothing, which gives the same root. Close the iterator to give up: what
    was published before stays.
    """
    catalogue = library.catalogue
    horizon = catalogue.horizon()
    with catalogue.admission(at.now, at.process):
        settings = at.settings(library.store)
        old = None if whole else catalogue.publication(CACHE)
        if old is not None and old.settings != settings:
            old = None
        work = _Work(library, at, None if old is None else old.root)
        yield from work.take(catalogue.items(0 if old is None else old.horizon))
        items = work.added if old is None else old.items + work.added
        # Nothing went if all items were in it, all new ones came in, and there are as many now:
        # and only where an item goes does another one that stays become invisible.
        if old is not None and (old.hidden or work.skipped or items != catalogue.count()):
            items = yield from work.compare()
        root = work.finish()
        hidden = abs(catalogue.count() - items)
        kept = Publication(root, items, hidden, horizon, settings, at.now)
        catalogue.publish(CACHE, kept)
        yield Published(root, items, work.added, work.removed, work.blocks, work.size)


class _Work:
    """One run: changes that are gathered, and blocks that are not yet in the store."""

    def __init__(self, library: Library, at: Circumstances, root: Cid | None) -> None:
        self._library = library
        self._at = at
        self._root = root
        self._fresh: dict[Cid, bytes] = {}
        # NARs are gone through in the end: thousands of items may share one.
        self._digests: set[Digest] = set()
        self._changes: dict[bytes, dict[bytes, Link | None]] = {
            folder: {} for folder in (cachedir.TOP, *cachedir.FOLDERS)
        }
        self.added = self.removed = self.skipped = self.blocks = self.size = 0

    def take(self, items: Iterable[Item]) -> Iterator[Looked]:
        """Put in those of these items that are to be seen; the others are counted as skipped."""
        library, done = self._library, 0
        for done, item in enumerate(items, 1):
            if item.path.store == library.store and library.catalogue.visible(item.path.base):
                self._put_in(item)
            else:
                self.skipped += 1
            if done % _STEP == 0:
                yield Looked(done)
        yield Looked(done)

    def compare(self) -> Generator[Looked, None, int]:
        """Compare all names with what is to be seen; return how many items that are."""
        there = self._names()
        here: set[bytes] = set()
        catalogue, store = self._library.catalogue, self._library.store
        for done, item in enumerate(catalogue.items(), 1):
            base = item.path.base
            if item.path.store == store and catalogue.visible(base):
                here.add(base.encode())
                if base.encode() not in there:
                    self._put_in(item)
            if done % _STEP == 0:
                yield Looked(done)
        for name in there - here:
            self._take_out(name)
        return len(here)

    def _names(self) -> set[bytes]:
        """Return the names of the items that are in, the new ones too."""
        old = [] if self._root is None else self._entries(self._root)
        fresh = (name for name, link in self._changes[cachedir.TREES].items() if link is not None)
        return {*old, *fresh}

    def _entries(self, root: Cid) -> list[bytes]:
        return [link.name for link in cachedir.entries(root, cachedir.TREES, self._get)]

    def _put_in(self, item: Item) -> None:
        names = cachedir.names(item)
        text = cachedir.claim(item, self._signed(item))
        leaf = self._put_leaf(text)
        if self._find(cachedir.TREES, names.tree) is None:
            self.added += 1
        put = self._changes
        put[cachedir.TOP][names.narinfo] = Link(leaf, len(text), names.narinfo)
        put[cachedir.TREES][names.tree] = self._link(item.tree, names.tree)
        self._digests.add(item.seal.digest)

    def _name_archive(self, digest: Digest) -> None:
        name, root = f"{digest.nix32}.nar".encode(), self._archive(digest)
        link = None if root is None else self._link(root, name)
        self._changes[cachedir.ARCHIVES][name] = link

    def _archive(self, digest: Digest) -> Cid | None:
        """Return the root of the NAR with a hash, as long as an item that is to be seen has it.

        Items that were admitted under other profiles have other roots: always the same is taken.
        """
        catalogue, store = self._library.catalogue, self._library.store
        sharing = (item for item in catalogue.sharing(digest) if item.path.store == store)
        seen = (item.archive for item in sharing if catalogue.visible(item.path.base))
        return min(seen, default=None)

    def _find(self, folder: bytes, name: bytes) -> Link | None:
        """Return what was in a folder before this run."""
        if self._root is None:
            return None
        return cachedir.find(self._root, folder, name, self._get)

    def _link(self, root: Cid, name: bytes) -> Link:
        return Link(root, cachedir.weigh(root, self._get), name)

    def _take_out(self, base: bytes) -> None:
        """Take out an item that is not to be seen; its NAR stays where another one has it too."""
        self.removed += 1
        claim = base[:32] + b".narinfo"
        link = self._find(cachedir.TOP, claim)
        self._changes[cachedir.TOP][claim] = None
        self._changes[cachedir.TREES][base] = None
        if link is not None:
            self._digests.add(narinfo.parse(self._get(link.cid)).seal.digest)

    def _signed(self, item: Item) -> tuple[str, ...]:
        text = narinfo.fingerprint(item.path, item.seal, item.references)
        return (*item.signatures, *(key.sign(text) for key in self._at.keys))

    def finish(self) -> Cid:
        """Write the directory; return its root, once all of it is durable."""
        info = cachedir.info(self._library.store, self._at.priority)
        leaf = self._put_leaf(info)
        self._changes[cachedir.TOP][cachedir.INFO] = Link(leaf, len(info), cachedir.INFO)
        for digest in self._digests:
            self._name_archive(digest)
        self._shelve()
        root = cachedir.update(self._root, self._changes, self._get, self._put_node)
        self._flush()
        self._library.blocks.sync()
        return root

    def _shelve(self) -> None:
        """Put in what releases consist of: by channel and name, and where channels are."""
        catalogue = self._library.catalogue
        releases: dict[bytes, dict[bytes, dict[bytes, Cid]]] = {}
        for release in catalogue.releases():
            if release.published is None:
                continue
            files = catalogue.files(release.channel, release.name)
            inside = {file.name.encode(): file.root for file in files}
            releases.setdefault(release.channel.encode(), {})[release.name.encode()] = inside
        channels: dict[bytes, dict[bytes, Cid]] = {}
        for channel in catalogue.channels():
            name, at = channel.name.encode(), (channel.current or "").encode()
            channels[name] = releases.get(name, {}).get(at, {})
        for folder, shelf in ((cachedir.RELEASES, releases), (cachedir.CHANNELS, channels)):
            link = cachedir.shelve(shelf, self._get, self._put_node)
            named = None if link is None else Link(link.cid, link.tsize, folder)
            self._changes[cachedir.TOP][folder] = named

    def _get(self, name: Cid) -> bytes:
        for look in (ipld.inlined, self._fresh.get, self._library.blocks.get):
            block = look(name)
            if block is not None:
                return block
        raise BlockMissing(name)

    def _put_leaf(self, data: bytes) -> Cid:
        return self._put(cid.raw(data), data)

    def _put_node(self, block: bytes) -> Cid:
        return self._put(cid.node(block), block)

    def _put(self, name: Cid, block: bytes) -> Cid:
        self._fresh[name] = block
        if len(self._fresh) >= _BATCH:
            self._flush()
        return name

    def _flush(self) -> None:
        """Keep what is not in the store yet."""
        store = self._library.blocks
        absent = [(name, self._fresh[name]) for name in store.missing(self._fresh)]
        store.put_many(absent)
        self.blocks += len(absent)
        self.size += sum(len(block) for _, block in absent)
        self._fresh.clear()
