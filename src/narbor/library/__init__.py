"""The hall: what doors and tasks know of the store. Find, read, admit, forget."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256

from narbor.blocks.packs import PackStore
from narbor.catalogue import Catalogue, Channel, Conflict, Failure, Hidden, Pin, Release, Sizes
from narbor.errors import Refused
from narbor.formats.vouched import Vouched
from narbor.library.admission import Admissions, Keep
from narbor.library.plans import Plans
from narbor.library.reading import Entry, Reader
from narbor.names import storepath
from narbor.names.cid import Cid
from narbor.names.digest import Digest
from narbor.names.file import File
from narbor.names.item import Item, Rendering
from narbor.names.storepath import StorePath
from narbor.names.tarball import Tarball, Unfetched

__all__ = ["Entry", "Library", "Rendering"]


class NotHere(Refused):
    """An item that was asked for by name is not in the store."""


def seal_of(chunks: Iterable[bytes]) -> tuple[Digest, int]:
    """Return the SHA-256 and the length of a byte stream."""
    state = sha256()
    size = 0
    for chunk in chunks:
        state.update(chunk)
        size += len(chunk)
    return Digest("sha256", state.digest()), size


class Library:
    """One store: its catalogue and its blocks, joined. Safe for threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        blocks: PackStore,
        admissions: Admissions | None,
        clock: Callable[[], int],
        free_bytes: Callable[[], int],
        store: str = "/nix/store",
    ) -> None:
        self.store = store
        self.catalogue = catalogue
        self.blocks = blocks
        self._admissions = admissions
        self._clock = clock
        # Whoever writes appends, moves and abandons what a plan would speak of.
        self._reader = Reader(blocks, Plans() if admissions is None else None)
        self.free_bytes = free_bytes

    # --- looking up ----------------------------------------------------------------------------

    def find(self, hash_part: str) -> Item | None:
        """Return the item that a door may show under this hash part."""
        return self.catalogue.shown(hash_part)

    def item(self, base: str) -> Item | None:
        """Return the item with this base name, shown or not."""
        return self.catalogue.item(base)

    def known(self, bases: Iterable[str]) -> set[str]:
        """Return which of these base names are here."""
        return self.catalogue.known(bases)

    def complete(self, base: str) -> bool:
        """Tell whether the item and all it refers to, to the end, are here."""
        return self.catalogue.complete(base)

    def resolve(self, text: str) -> Item:
        """Return the item that a person means by a path, a base name or a hash part.

        Raises NotHere.
        """
        base = text.rstrip("/").rpartition("/")[2]
        item = self.catalogue.item(base)
        if item is None and storepath.is_hash_part(base[:32]) and len(base) in (32, 40):
            item = self.catalogue.find(base[:32])
        if item is None:
            raise NotHere(f"{text} is not in this store (`narbor info` lists what is)")
        return item

    def by_archive(self, digest: Digest) -> Item | None:
        """Return an item whose NAR has this hash."""
        return self.catalogue.by_archive(digest)

    def by_rendering(self, digest: Digest) -> tuple[Item, Rendering] | None:
        """Return the item and the rendering that was advertised with this FileHash."""
        found = self.catalogue.by_rendering(digest)
        item = self.catalogue.item(found[0]) if found else None
        return (item, found[1]) if found and item else None

    def rendering(self, item: Item, compression: str) -> Rendering:
        """Return what the item's archive is in `compression` (none, zstd).

        Where zstd was retired and nobody here may write its successor down, it is `none`: what is
        named must be found again.
        """
        plain = Rendering("none", item.seal.digest, item.seal.size)
        if compression == "none":
            return plain
        if compression != "zstd":
            raise Refused(f"archives are not rendered as {compression}: none and zstd are")
        kept = self.catalogue.rendering(item.path.base, compression)
        if kept is not None:
            return kept
        if self._admissions is None:
            return plain
        # Retired by a repair: it is made when it is next asked for.
        digest, size = seal_of(self._reader.zstd(item.archive))
        made = Rendering("zstd", digest, size)
        return self.catalogue.keep_rendering(item.path.base, made) or made

    def version(self) -> int:
        """Return a number that differs after any change to the catalogue; cheap."""
        return self.catalogue.version()

    # --- reading -------------------------------------------------------------------------------

    def archive(self, item: Item, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes [start, stop) of the item's NAR; raises Unavailable for lost blocks."""
        return self._reader.content(item.archive, start, stop)

    def rendered(
        self, item: Item, rendering: Rendering, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """Give the bytes [start, stop) of an advertised rendering."""
        if rendering.compression == "none":
            return self.archive(item, start, stop)
        return self._reader.zstd(item.archive, start, stop)

    def entries(self, item: Item) -> Iterator[Entry]:
        """Give the item's files, links and directories, in the order of its NAR."""
        return self._reader.entries(item)

    def entry(self, item: Item, path: bytes) -> Entry | None:
        """Return what stands at `path` inside, no link followed; None if nothing does."""
        return self._reader.entry(item, path)

    def names(self, item: Item, path: bytes) -> list[bytes]:
        """Return the names in the directory at `path`; none if there is no such directory."""
        return self._reader.names(item, path)

    def file(self, item: Item, path: bytes) -> Iterator[bytes] | None:
        """Give the content of one regular file inside; None if there is none at `path`."""
        return self._reader.file(item, path)

    def log(self, name: str) -> bytes | None:
        """Return the build log of a derivation, by its base name."""
        found = self.catalogue.log(name)
        return None if found is None else found[0]

    def realisation(self, id: str) -> bytes | None:
        """Return a realisation's text."""
        return self.catalogue.realisation(id)

    def debuginfo(self, build_id: str) -> tuple[Item, str] | None:
        """Return the item and the path in it that hold the debug symbols of a build id."""
        found = self.catalogue.debuginfo(build_id)
        item = self.catalogue.item(found[0]) if found else None
        return (item, found[1]) if found and item else None

    def member(self, item: Item, path: bytes) -> Cid | None:
        """Return the root of the regular file at `path` (b"": the item itself); None if none is."""
        return self._reader.member(item, path)

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes [start, stop) of the file whose root this is."""
        return self._reader.content(root, start, stop)

    # --- channels ------------------------------------------------------------------------------

    def channels(self) -> tuple[Channel, ...]:
        """Return all channels, by name."""
        return self.catalogue.channels()

    def channel(self, name: str) -> Channel | None:
        """Return a channel."""
        return self.catalogue.channel(name)

    def releases(self, channel: str) -> tuple[Release, ...]:
        """Return the releases of a channel, the newest version first."""
        return self.catalogue.releases(channel)

    def release(self, channel: str, name: str) -> Release | None:
        """Return a release."""
        return self.catalogue.release(channel, name)

    def files(self, channel: str, name: str) -> tuple[File, ...]:
        """Return the files of a release, by name."""
        return self.catalogue.files(channel, name)

    # --- sources -------------------------------------------------------------------------------

    def tarball(self, digest: Digest, revision: str | None = None) -> Tarball | None:
        """Return the source tarball with this hash; with `revision`, if that one has it."""
        return self.catalogue.tarball(digest, revision)

    def tarball_named(self, revision: str, name: str) -> Tarball | None:
        """Return the tarball that a revision calls `name`."""
        return self.catalogue.tarball_named(revision, name)

    def revisions(self) -> tuple[tuple[str, int], ...]:
        """Return the revisions whose sources are kept, by name, with the time of the last run."""
        return self.catalogue.revisions()

    def tarballs_of(self, revision: str) -> tuple[tuple[str, Tarball], ...]:
        """Return the tarballs of a revision with their names, by name."""
        return self.catalogue.tarballs_of(revision)

    def checkouts_of(self, revision: str) -> tuple[str, ...]:
        """Return the base names of the items that are sources of a revision."""
        return self.catalogue.checkouts_of(revision)

    def unfetched(self, revision: str) -> tuple[Unfetched, ...]:
        """Return the sources that a revision could not get, and why."""
        return self.catalogue.unfetched(revision)

    # --- changing ------------------------------------------------------------------------------

    @property
    def _writing(self) -> Admissions:
        if self._admissions is None:
            raise Refused("this store was opened for reading only")
        return self._admissions

    def admit(self, vouched: Vouched, archive: Iterable[bytes], origin: str) -> Item:
        """Keep an item's blocks, checked; see Admissions.admit. `commit` makes it exist."""
        return self._writing.admit(vouched, archive, origin)

    def commit(self) -> int:
        """Make all that was admitted so far durable; return how many items."""
        return self._writing.commit()

    def hold(self) -> AbstractContextManager[Callable[[Iterable[str]], None]]:
        """Keep collections away from a long piece of work; see Admissions.hold."""
        return self._writing.hold()

    def keeping(self) -> AbstractContextManager[Keep]:
        """Let files be kept that are no items; see Admissions.keeping."""
        return self._writing.keeping()

    def pin(self, *paths: StorePath, alone: bool = False) -> None:
        """Note that items were asked for by name: they stay until they are forgotten."""
        self.catalogue.pin_all((path.base for path in paths), self._clock(), alone)

    def forget(self, path: StorePath) -> bool:
        """Take an item's pin away; tell whether there was one. `collect` frees the room."""
        there = any(pin.base == path.base for pin in self.catalogue.pins())
        self.catalogue.unpin(path.base)
        return there

    def fail(self, failures: Iterable[tuple[str, str, str]]) -> None:
        """Put on record which upstreams could not give which items: (base, upstream, reason)."""
        self.catalogue.fail_all(failures, self._clock())

    def cleared(self, *bases: str) -> None:
        """Strike items' failures off the record."""
        self.catalogue.cleared(*bases)

    def conflict(self, path: StorePath, upstream: str, text: bytes, reason: str) -> None:
        """Put on record that an upstream contradicts what is here."""
        self.catalogue.conflict(path.base, upstream, text, reason, self._clock())

    def keep_log(self, name: str, text: bytes) -> None:
        """Keep a build log."""
        self.catalogue.keep_log(name, text)

    def keep_realisation(self, id: str, text: bytes) -> None:
        """Keep a realisation."""
        self.catalogue.keep_realisation(id, text)

    # --- telling -------------------------------------------------------------------------------

    def items(self) -> Iterator[Item]:
        """Give every item that is here."""
        return self.catalogue.items()

    def pins(self) -> tuple[Pin, ...]:
        """Return what was asked for by name, the oldest first."""
        return self.catalogue.pins()

    def failures(self) -> tuple[Failure, ...]:
        """Return what could not be had."""
        return self.catalogue.failures()

    def conflicts(self) -> tuple[Conflict, ...]:
        """Return what upstreams disagree on."""
        return self.catalogue.conflicts()

    def hidden(self) -> Iterable[Hidden]:
        """Return the items that no door shows, and why."""
        return self.catalogue.hidden()

    def sizes(self) -> Sizes:
        """Return the totals of the catalogue."""
        return self.catalogue.sizes()

    def close(self) -> None:
        """Commit what is ready and close the store."""
        if self._admissions is not None:
            self._admissions.close()
        self.blocks.close()
        self.catalogue.close()
