"""Items made of a number, and admissions of them, for tests that need many."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from narbor.catalogue import Admitted, Claim
from narbor.formats.narinfo import fingerprint
from narbor.names import base32, cid
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item, Rendering
from narbor.names.storepath import StorePath

STORE = "/nix/store"
HERE = "https://here.example"
THERE = "https://there.example"


def hash_part(number: int) -> str:
    """The hash part of the item with this number."""
    return base32.nix(sha256(b"path %d" % number).digest()[:20])


def base(number: int) -> str:
    """The base name of the item with this number."""
    return f"{hash_part(number)}-item-{number}"


def item(number: int, references: Sequence[int] = (), *, nar: str = "") -> Item:
    """The item with this number; `nar` stands for its contents, equal for equal texts."""
    content = sha256((nar or f"nar {number}").encode()).digest()
    return Item(
        path=StorePath(STORE, hash_part(number), f"item-{number}"),
        seal=Seal(Digest("sha256", content), 1000 + number),
        references=tuple(base(other) for other in references),
        deriver=f"{hash_part(number + 1_000_000)}-item-{number}.drv",
        signatures=("key-1:AAAA",),
        ca=None,
        extra=(),
        profile="narbor-1",
        tree=cid.node(b"tree" + content),
        archive=cid.node(b"archive" + content),
        origin=HERE,
    )


def claim(of: Item, upstream: str = HERE, *, time: int = 100) -> Claim:
    """What an upstream that has `of` says of it."""
    text = (
        f"StorePath: {of.path}\nURL: nar/{of.seal.digest.nix32}.nar.xz\nCompression: xz\n"
        f"NarHash: {of.seal.digest}\nNarSize: {of.seal.size}\n"
        f"References: {' '.join(of.references)}\n"
        f"Sig: {' '.join(of.signatures)}\nX-From: {upstream}\n"
    )
    signed = fingerprint(of.path, of.seal, of.references)
    return Claim(of.path.base, upstream, text.encode(), signed, time)


def admitted(of: Item, admission: int, upstream: str = HERE) -> Admitted:
    """An admission of `of` without renderings and build ids."""
    return Admitted(of, claim(of, upstream), (), (), admission)


def rendered(of: Item, text: bytes) -> Rendering:
    """A rendering that `text` stands for."""
    return Rendering("zstd", Digest("sha256", sha256(text).digest()), len(text))


def signed(of: Item, *signatures: str) -> Item:
    """The same item with these signatures."""
    return replace(of, signatures=signatures)
