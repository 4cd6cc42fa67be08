"""Content addresses: what a store path was computed from, and the computation.

    text:sha256:HASH           one file; the hash of its content; references allowed
    fixed:ALGORITHM:HASH       one file; the hash of its content; no references
    fixed:r:ALGORITHM:HASH     a tree; the hash of its NAR (modulo self references);
                               references for sha256 only
    fixed:git:ALGORITHM:HASH   a tree; its Git object hash; no references

The path of such an item follows from the address, the name, the store directory and the references,
so it needs nobody's signature (nix: src/libstore/content-address.cc, store-dir-config.cc; the
manual's protocols/store-path.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from narbor.errors import Rejected
from narbor.names import base32, digest
from narbor.names.digest import Digest
from narbor.names.storepath import StorePath

TEXT: Final = "text:"
FLAT: Final = "fixed:"
ARCHIVE: Final = "fixed:r:"
GIT: Final = "fixed:git:"

# FLAT is the beginning of the two before it, so it is tried last.
_METHODS: Final = (TEXT, ARCHIVE, GIT, FLAT)


class MalformedContentAddress(Rejected):
    """A text is no content address, or one that no store path can have."""


@dataclass(frozen=True, slots=True)
class ContentAddress:
    """How the content was hashed (`TEXT`, `FLAT`, `ARCHIVE` or `GIT`), and to what."""

    method: str
    digest: Digest

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise MalformedContentAddress(f"{self.method!r} is no way to address content")
        algorithm = self.digest.algorithm
        if self.method == TEXT and algorithm != "sha256":
            raise MalformedContentAddress(f"{self}: text is addressed by sha256 only")
        if self.method == GIT and algorithm not in ("sha1", "sha256"):
            raise MalformedContentAddress(f"{self}: Git knows sha1 and sha256 only")

    def __str__(self) -> str:
        return f"{self.method}{self.digest}"


def parse(text: str) -> ContentAddress:
    """Read a content address, the hash in hex, Nix base 32 or base64; raises Rejected."""
    method = next((each for each in _METHODS if text.startswith(each)), None)
    if method is None:
        raise MalformedContentAddress(f"{text!r} is no content address (text:..., fixed:...)")
    rest = text[len(method) :]
    if ":" not in rest:
        raise MalformedContentAddress(f"{text!r} has no hash of the form ALGORITHM:HASH")
    try:
        return ContentAddress(method, digest.parse(rest))
    except digest.MalformedDigest as error:
        raise MalformedContentAddress(f"{text!r}: {error}") from error


def store_path(
    address: ContentAddress, store: str, name: str, references: Iterable[str], own: bool
) -> StorePath:
    """Compute the path of the item at `address`.

    `references` are base names without the item's own; `own` tells whether it refers to itself.
    Raises MalformedContentAddress where this kind of address allows no such references.
    """
    others = sorted({f"{store}/{base}" for base in references})
    if address.method == TEXT:
        if own:
            raise MalformedContentAddress(f"{address} of {name!r}: text cannot refer to itself")
        return _path(":".join(["text", *others]), address.digest, store, name)
    if address.method == ARCHIVE and address.digest.algorithm == "sha256":
        suffix = ["self"] if own else []
        return _path(":".join(["source", *others, *suffix]), address.digest, store, name)
    if others or own:
        raise MalformedContentAddress(f"{address} of {name!r} allows no references")
    how = address.method.removeprefix("fixed:")
    spelling = f"fixed:out:{how}{address.digest.algorithm}:{address.digest.hex}:"
    inner = Digest("sha256", sha256(spelling.encode()).digest())
    return _path("output:out", inner, store, name)


def _path(kind: str, inner: Digest, store: str, name: str) -> StorePath:
    text = f"{kind}:sha256:{inner.hex}:{store}:{name}"
    folded = bytearray(20)
    for at, byte in enumerate(sha256(text.encode()).digest()):
        folded[at % 20] ^= byte
    return StorePath(store, base32.nix(bytes(folded)), name)
