"""The Nix binary cache, as every Nix since 2.8 reads it.

    /nix-cache-info                 the store directory and how much we want to be asked
    /HASH.narinfo                   what is said of an item, signed, and its archive's CID
    /HASH.ls                        its tree as JSON (`formats/listing.py`)
    /nar/NARHASH.nar                its archive (NarHash in Nix base 32), by range if wanted
    /nar/FILEHASH.nar.zst           the same as zstd; the bytes of a URL never change
    /log/DRV                        a build log
    /realisations/ID.doi            a realisation, as Nix up to 2.34 asks for it
    /build-trace-v2/DRV/OUTPUT.doi  the same since 2.35; the library knows it as `DRV/OUTPUT`
    /debuginfo/BUILDID[.debug]      which archive holds the debug symbols of a build id

All of it stands again under `/plain/`, where narinfos name uncompressed archives.
What is not here is 404, quickly: any other answer makes Nix wait, or give up on the cache.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Literal, Protocol, TypeAlias

from narbor.dag import cachedir
from narbor.doors import http, routes
from narbor.doors.http import Answer, Entity, Request
from narbor.formats import listing, narinfo
from narbor.names import base32, storepath
from narbor.names.digest import Digest
from narbor.names.item import Item, Rendering
from narbor.names.keys import SecretKey

Compression: TypeAlias = Literal["zstd", "none"]

PLAIN: Final = "/plain"
ARCHIVE: Final = "application/x-nix-nar"
# Narinfos can change (a signature more, another rendering), so others keep them for minutes only.
# Nix itself keeps them for 30 days and misses for an hour, whatever is said here.
KEPT: Final = "public, max-age=300"
KEPT_LONG: Final = "public, max-age=86400"
MISS_SECONDS: Final = 10
SUFFIX: Final = {"none": "", "zstd": ".zst"}
# A listing up to this size is made once; a longer one twice, so that it need not be held.
LISTING_HELD: Final = 1 << 20


class Shelf(Protocol):
    """What this door asks of the library. All of it may raise Unavailable."""

    @property
    def store(self) -> str:
        """The store directory of the items."""
        ...

    def find(self, hash_part: str) -> Item | None:
        """Return the item that may be shown under a hash part."""
        ...

    def rendering(self, item: Item, compression: str) -> Rendering:
        """Return what is advertised of the archive; `none` gives NarHash and NarSize.

        It may be `none` when zstd was asked for: see its own `compression`.
        """
        ...

    def archive(self, item: Item, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return the bytes [start, stop) of the archive."""
        ...

    def rendered(
        self, item: Item, rendering: Rendering, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """Return the bytes [start, stop) of a rendering."""
        ...

    def by_archive(self, digest: Digest) -> Item | None:
        """Return an item whose NarHash is `digest`."""
        ...

    def by_rendering(self, digest: Digest) -> tuple[Item, Rendering] | None:
        """Return the item and the rendering whose bytes have the hash `digest`."""
        ...

    def entries(self, item: Item) -> Iterator[listing.Entry]:
        """Return the tree, flat."""
        ...

    def log(self, name: str) -> bytes | None:
        """Return the build log of a derivation, by its base name."""
        ...

    def realisation(self, id: str) -> bytes | None:
        """Return the JSON text kept under `HASH!OUTPUT` or `DRV/OUTPUT`."""
        ...

    def debuginfo(self, build_id: str) -> tuple[Item, str] | None:
        """Return the item with the debug symbols of a build id, and the path inside it."""
        ...


@dataclass(frozen=True, slots=True)
class NixDoor:
    """The binary cache. `keys` sign beside the signatures that came with an item."""

    library: Shelf
    keys: tuple[SecretKey, ...] = ()
    compression: Compression = "zstd"
    priority: int = 40

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for a path that is no part of a binary cache."""
        door, path = self, request.path
        if path.startswith(PLAIN + "/"):
            door, path = replace(self, compression="none"), path[len(PLAIN) :]
        return routes.read(ROUTES, door, request, path)

    def cache_info(self, request: Request) -> Answer:
        """Say whose store this is. Without a Priority line Nix would prefer it to all others."""
        text = f"StoreDir: {self.library.store}\nWantMassQuery: 1\nPriority: {self.priority}\n"
        return _document(request, text.encode(), "text/x-nix-cache-info", KEPT, ready=True)

    def narinfo(self, request: Request, hash_part: str) -> Answer:
        """Say where the archive of an item is, and who vouches for it."""
        item = self._shown(hash_part)
        if item is None:
            return ABSENT
        rendering = self.library.rendering(item, self.compression)
        seal = (rendering.digest, rendering.size)
        form, signed = rendering.compression, self._signed(item)
        said = cachedir.with_root(item)
        text = narinfo.of_item(said, _url(rendering), form, *seal, signed)
        return _document(request, text, "text/x-nix-narinfo", KEPT, ready=True)

    def archive(self, request: Request, hash: str) -> Answer:
        """Give the uncompressed archive with a NarHash."""
        digest = _digest(hash)
        item = self.library.by_archive(digest) if digest else None
        if item is None or item.seal.digest != digest:
            return ABSENT

        def read(start: int, stop: int) -> Iterator[bytes]:
            return self.library.archive(item, start, stop)

        entity = Entity(ARCHIVE, item.seal.size, read, hash, http.IMMUTABLE, ranges=True)
        return http.give(request, entity)

    def rendered(self, request: Request, hash: str) -> Answer:
        """Give the zstd rendering with a FileHash."""
        digest = _digest(hash)
        found = self.library.by_rendering(digest) if digest else None
        if found is None or found[1].compression != "zstd":
            return ABSENT
        item, rendering = found

        def read(start: int, stop: int) -> Iterator[bytes]:
            return self.library.rendered(item, rendering, start, stop)

        entity = Entity(ARCHIVE, rendering.size, read, hash, http.IMMUTABLE, ranges=True)
        return http.give(request, entity)

    def ls(self, request: Request, hash_part: str) -> Answer:
        """Give the tree of an item as JSON."""
        item = self._shown(hash_part)
        if item is None:
            return ABSENT
        try:
            size, held = _measured(listing.write(self.library.entries(item)))
        except listing.NotText as error:
            return http.missing(str(error), MISS_SECONDS)

        def read(start: int, stop: int) -> Iterator[bytes]:
            return iter((held,)) if held else listing.write(self.library.entries(item))

        tag = f"{item.seal.digest.nix32}-ls1"
        return http.give(request, Entity("application/json", size, read, tag, KEPT_LONG))

    def log(self, request: Request, name: str) -> Answer:
        """Give the build log of a derivation."""
        text = self.library.log(name)
        return _kept(request, text, "text/plain; charset=utf-8")

    def realisation(self, request: Request, id: str) -> Answer:
        """Give what a derivation's output turned out to be."""
        return _kept(request, self.library.realisation(id), "application/json")

    def debuginfo(self, request: Request, build_id: str) -> Answer:
        """Point at the archive with debug symbols. Both spellings of the key are in use."""
        found = self.library.debuginfo(build_id)
        if found is None:
            return ABSENT
        item, member = found
        url = _url(self.library.rendering(item, self.compression))
        text = json.dumps({"archive": f"../{url}", "member": member}, separators=(",", ":"))
        return _document(request, text.encode(), "application/json", KEPT)

    def _shown(self, hash_part: str) -> Item | None:
        """Return the item under a hash part, if it belongs to the store that we say we have."""
        item = self.library.find(hash_part) if storepath.is_hash_part(hash_part) else None
        return item if item is not None and item.path.store == self.library.store else None

    def _signed(self, item: Item) -> tuple[str, ...]:
        """Return the signatures as they came, then our own where they are new."""
        text = narinfo.fingerprint(item.path, item.seal, item.references)
        ours = (key.sign(text) for key in self.keys)
        return tuple(dict.fromkeys((*item.signatures, *ours)))


def _url(rendering: Rendering) -> str:
    """Name an archive by its content, relative to the cache."""
    return f"nar/{rendering.digest.nix32}.nar{SUFFIX[rendering.compression]}"


def _digest(text: str) -> Digest | None:
    """Read a hash out of a path; None where it is no sha256."""
    try:
        return Digest("sha256", base32.parse_nix(text, 32))
    except base32.MalformedBase32:
        return None


def _measured(pieces: Iterator[bytes]) -> tuple[int, bytes]:
    """Return the size of a text, and the text itself unless it is long."""
    size, held = 0, bytearray()
    for piece in pieces:
        size += len(piece)
        if size <= LISTING_HELD:
            held += piece
    return size, bytes(held) if size <= LISTING_HELD else b""


def _document(request: Request, data: bytes, type: str, cache: str, ready: bool = False) -> Answer:
    return http.document(request, data, type, cache, sha256(data).hexdigest()[:32], ready)


def _kept(request: Request, data: bytes | None, type: str) -> Answer:
    return ABSENT if data is None else _document(request, data, type, KEPT)


ABSENT: Final = http.missing("not here", MISS_SECONDS, ready=True)

ROUTES: Final = routes.table(
    (r"/([0-9a-z]+)\.narinfo", NixDoor.narinfo),
    (r"/nar/([0-9a-z]{52})\.nar", NixDoor.archive),
    (r"/nar/([0-9a-z]{52})\.nar\.zst", NixDoor.rendered),
    (r"/nix-cache-info", NixDoor.cache_info),
    (r"/([0-9a-z]+)\.ls", NixDoor.ls),
    (r"/log/([^/]+)", NixDoor.log),
    (r"/realisations/([^/]+)\.doi", NixDoor.realisation),
    (r"/build-trace-v2/([^/]+/[^/]+)\.doi", NixDoor.realisation),
    (r"/debuginfo/([0-9a-f]{2,})(?:\.debug)?", NixDoor.debuginfo),
)
