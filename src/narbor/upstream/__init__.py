"""Where items come from: binary caches over HTTP, and the same laid out in a folder.

A `Cache` hands over claims and bytes as they lie there. It believes nothing and checks nothing but
the form of its own answers: who vouches for a claim is decided in formats/vouched.py, and whether
the bytes are right where they are read.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from narbor.errors import Rejected
from narbor.formats.narinfo import Narinfo

LONGEST_INFO: Final = 64 << 10
LONGEST_LOG: Final = 64 << 20
LONGEST_REALISATION: Final = 1 << 20


class NotACache(Rejected):
    """What answers at a place is something, but no binary cache."""


class NotARealisation(Rejected):
    """A text that should be a realisation is none."""


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What `/nix-cache-info` says. `store` is None where it names no store directory.

    Caches with a lower `priority` are asked first; a missing one means 0, as in Nix.
    """

    store: str | None
    priority: int
    mass_query: bool


class Cache(Protocol):
    """A place with narinfos and archives. Its methods may be called from many threads."""

    @property
    def name(self) -> str:
        """The URL, without secrets, as it stands in messages and records."""

    def info(self) -> CacheInfo:
        """Read what the cache says of itself; raises NotACache, Unavailable."""

    def narinfo(self, hash_part: str) -> bytes | None:
        """Return the text of a claim, None where the cache has none.

        Raises NotACache for a web page in its place, Rejected, Unavailable, Refused.
        """

    def address(self, narinfo: Narinfo) -> str:
        """Return the full URL of the archive; raises Rejected where it is none."""

    def archive(self, narinfo: Narinfo) -> Iterator[bytes]:
        """Give the bytes of the archive as they are served, that is compressed.

        Broken connections are mended inside. Raises Unavailable when the archive is gone or does
        not come, Rejected when the URL leads elsewhere.
        """

    def log(self, name: str) -> bytes | None:
        """Return the build log of a derivation (base name), None where there is none."""

    def listing(self, hash_part: str) -> bytes | None:
        """Return the tree of an item as formats/listing.py reads it, None where there is none.

        Nobody signs it. Raises what `narinfo` raises.
        """

    def realised(self, narinfo: Narinfo) -> Iterator[str]:
        """Name the realisations that an item with a content address may have here."""

    def realisation(self, name: str) -> bytes | None:
        """Return a realisation as JSON, None where there is none.

        `name` is `HASH!OUTPUT`, or `DERIVATION/OUTPUT` for the build trace of Nix 2.35.
        """

    def store_paths(self, url: str) -> Iterator[str]:
        """Read a list of store paths, one a line; `.xz` and its like are unpacked."""

    def abandoned(self) -> AbstractContextManager[None]:
        """For as long as this lasts, let what is under way in other threads raise Unavailable."""


def parse_info(text: bytes, name: str) -> CacheInfo:
    """Read `nix-cache-info` as Nix does, but for what can be none; raises NotACache.

    Nix takes any text without colons, such as a web page, for a cache without wishes.
    """
    values = {}
    for line in text.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            values[key] = value.strip()
    if not values.keys() & {"StoreDir", "WantMassQuery", "Priority"}:
        raise NotACache(f"{name}/nix-cache-info is no such file: {text[:60]!r}")
    try:
        priority = int(values.get("Priority", "0"))
    except ValueError as error:
        raise NotACache(f"{name}/nix-cache-info: the priority is no number: {error}") from error
    return CacheInfo(values.get("StoreDir"), priority, values.get("WantMassQuery") == "1")


def realisation_path(name: str) -> str:
    """Return where a realisation lies inside a cache."""
    folder = "build-trace-v2" if "/" in name else "realisations"
    return f"{folder}/{name}.doi"


def build_trace(claim: Narinfo) -> str | None:
    """Name the realisation of an item with a content address: `DERIVATION/OUTPUT`.

    The output's name is what the item's name has more than its derivation's.
    """
    if claim.ca is None or claim.deriver is None or not claim.deriver.endswith(".drv"):
        return None
    name = claim.deriver[33:].removesuffix(".drv")
    if claim.path.name == name:
        return f"{claim.deriver}/out"
    if claim.path.name.startswith(f"{name}-"):
        return f"{claim.deriver}/{claim.path.name[len(name) + 1 :]}"
    return None


def out_path(text: bytes) -> str:
    """Return the base name of the item that a realisation speaks of; raises NotARealisation.

    Its signatures are for its readers: they alone know the derivation's hash.
    """
    try:
        said = json.loads(text)
    except ValueError as error:
        raise NotARealisation(f"a realisation is no JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("outPath"), str):
        raise NotARealisation("a realisation names no outPath")
    return str(said["outPath"]).rpartition("/")[2]
