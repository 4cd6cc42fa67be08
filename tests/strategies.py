"""Hypothesis strategies for the values of this house."""

import base64
from dataclasses import replace

from hypothesis import strategies as st

from narbor.formats import narinfo
from narbor.formats.narinfo import Narinfo
from narbor.names import base32, cid
from narbor.names.cid import Cid
from narbor.names.contentaddress import ARCHIVE, FLAT, GIT, TEXT, ContentAddress
from narbor.names.digest import SIZES, Digest, Seal
from narbor.names.item import Item
from narbor.names.keys import SecretKey
from narbor.names.storepath import StorePath

NAME_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._?="

# What may stand in a value of a narinfo: all that UTF-8 can spell but control characters.
_LETTERS = st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\x80\x85\x9f")


def hash_parts() -> st.SearchStrategy[str]:
    """The 32 letters before the dash."""
    return st.binary(min_size=20, max_size=20).map(base32.nix)


def names() -> st.SearchStrategy[str]:
    """Names of store paths, the longest included."""
    letters = st.text(NAME_LETTERS, min_size=1, max_size=12)
    long = st.integers(200, 211).map(lambda size: "n" * size)
    return (letters | long).filter(
        lambda name: name not in (".", "..") and not name.startswith((".-", "..-"))
    )


def store_paths() -> st.SearchStrategy[StorePath]:
    """Store paths in one of a few store directories."""
    stores = st.sampled_from(("/nix/store", "/gnu/store", "/a"))
    return st.builds(StorePath, stores, hash_parts(), names())


def bases() -> st.SearchStrategy[str]:
    """Base names, `HASH-NAME`."""
    return store_paths().map(lambda path: path.base)


def digests(algorithms: tuple[str, ...] = tuple(SIZES)) -> st.SearchStrategy[Digest]:
    """Digests of the algorithms given."""
    return st.sampled_from(algorithms).flatmap(
        lambda algorithm: st.binary(min_size=SIZES[algorithm], max_size=SIZES[algorithm]).map(
            lambda value: Digest(algorithm, value)
        )
    )


def seals() -> st.SearchStrategy[Seal]:
    """Seals as narinfos have them: sha256, not empty, sizes of 64 bits."""
    return st.builds(Seal, digests(("sha256",)), st.integers(1, 2**64 - 1))


def cids() -> st.SearchStrategy[Cid]:
    """CIDs of leaves, of nodes, and inline ones."""
    data = st.binary(max_size=128)
    return data.map(cid.raw) | data.map(cid.node) | data.map(cid.inline)


def secret_keys() -> st.SearchStrategy[SecretKey]:
    """Keys that can sign."""
    letters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":")
    return st.builds(
        SecretKey, st.text(letters, min_size=1, max_size=12), st.binary(min_size=32, max_size=32)
    )


def signatures() -> st.SearchStrategy[str]:
    """Well-formed signatures, by no key in particular."""
    value = st.binary(min_size=64, max_size=64).map(lambda data: base64.b64encode(data).decode())
    return st.builds("{}:{}".format, st.text("abc-1", min_size=1, max_size=8), value)


def content_addresses() -> st.SearchStrategy[ContentAddress]:
    """Content addresses of every kind, the hash made up."""
    return (
        st.builds(ContentAddress, st.just(TEXT), digests(("sha256",)))
        | st.builds(ContentAddress, st.just(GIT), digests(("sha1", "sha256")))
        | st.builds(ContentAddress, st.sampled_from((FLAT, ARCHIVE)), digests())
    )


def extras() -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    """Fields that Nix does not know."""
    name = st.text("XYZ-", min_size=1, max_size=4) | st.text(
        _LETTERS.filter(lambda letter: letter != ":"), min_size=1, max_size=4
    )
    name = name.filter(lambda text: text not in narinfo.FIELDS)
    pair = st.tuples(name, st.text(_LETTERS, max_size=8))
    return st.lists(pair, max_size=3).map(tuple)


@st.composite
def narinfos(draw: st.DrawFn) -> Narinfo:
    """Narinfos as `write` spells them: references sorted, `text` their own."""
    address = draw(st.none() | content_addresses())
    made = Narinfo(
        draw(store_paths()),
        draw(st.text(_LETTERS, min_size=1, max_size=20)),
        draw(st.sampled_from(sorted(narinfo.COMPRESSIONS))),
        draw(st.none() | digests()),
        draw(st.none() | st.integers(1, 2**64 - 1)),
        draw(seals()),
        tuple(sorted(draw(st.sets(bases(), max_size=3)))),
        draw(st.none() | bases()),
        tuple(draw(st.lists(signatures(), max_size=2))),
        None if address is None else str(address),
        draw(extras()),
        b"",
    )
    return replace(made, text=narinfo.write(made))


@st.composite
def items(draw: st.DrawFn) -> Item:
    """Items with made-up roots."""
    claim = draw(narinfos())
    return Item(
        claim.path,
        claim.seal,
        claim.references,
        claim.deriver,
        claim.signatures,
        claim.ca,
        claim.extra,
        "narbor-1",
        draw(cids()),
        draw(cids()),
        "somewhere",
    )
