"""Listings: what is written is read again, and what is wrong is refused."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from dataclasses import replace

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import listing, nar
from narbor.formats.listing import Listed, MalformedListing
from tests import trees

PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "br": lambda text: bytes(brotli.compress(text)),
    "br, fast": lambda text: bytes(brotli.compress(text, quality=1, lgwin=16)),
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
# As Nix 2.8 and cache.nixos.org spell the same tree: members in another order, some left out.
THEIRS = b"""{"root":{"entries":{"share":{"entries":{},"type":"directory"},"bin":{"entries":{
"tool":{"executable":true,"narOffset":400,"size":7,"type":"regular"},
"link":{"target":"/nix/store/x y","type":"symlink"}},"type":"directory"},
"caf\\u00e9":{"executable":false,"size":3,"type":"regular","new":[1]}},"type":"directory"},
"version":1}"""
TREE = (
    Listed(b"", "directory"),
    Listed(b"bin", "directory"),
    Listed(b"bin/link", "symlink", target=b"/nix/store/x y"),
    Listed(b"bin/tool", "regular", 7, True, offset=400),
    Listed("café".encode(), "regular", 3),
    Listed(b"share", "directory"),
)


def spelt(event: nar.Event[bytes]) -> nar.Event[bytes]:
    """Make text of names and targets; their order stays."""
    match event:
        case nar.Directory(name) | nar.File(name) | nar.Symlink(name):
            event = replace(event, name=name.decode("latin-1").encode())
    if isinstance(event, nar.Symlink):
        event = replace(event, target=event.target.decode("latin-1").encode())
    return event


def flat(tree: trees.Tree) -> tuple[Listed, ...]:
    """Spell a drawn tree flat, as text, with offsets that cannot be mistaken for each other."""
    found: list[Listed] = []
    above: list[bytes] = []
    for event in map(spelt, trees.events(tree)):
        match event:
            case nar.End():
                above.pop()
            case nar.Directory(name):
                above.append(name)
                found.append(Listed(b"/".join(above)[1:], "directory"))
            case nar.File(name, executable, size):
                path = b"/".join([*above, name])[bool(above) :]
                found.append(Listed(path, "regular", size, executable, offset=len(found) + 100))
            case nar.Symlink(name, target):
                path = b"/".join([*above, name])[bool(above) :]
                found.append(Listed(path, "symlink", target=target))
    return tuple(found)


@given(trees.trees, st.sampled_from(list(PACK)))
def test_what_is_written_is_read_again(tree: trees.Tree, packing: str) -> None:
    said = flat(tree)
    assert listing.parse(PACK[packing](b"".join(listing.write(said)))) == said


def test_what_others_write_is_read() -> None:
    assert listing.parse(THEIRS) == TREE
    assert listing.parse(b"".join(listing.write(TREE))) == TREE


def one(name: str, node: object) -> bytes:
    """A folder with one entry."""
    root = {"type": "directory", "entries": {name: node}}
    return json.dumps({"version": 1, "root": root}).encode()


def deep(levels: int) -> bytes:
    """So many folders, one in the other."""
    inner = b'{"type":"directory","entries":{"a":' * levels + b'{"type":"symlink","target":"b"}'
    return b'{"version":1,"root":' + inner + b"}}" * levels + b"}"


LINK = {"type": "symlink", "target": "x"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"<!DOCTYPE html><html></html>",
        b'{"version":1}',
        b'{"version":2,"root":{"type":"symlink","target":"x"}}',
        b'{"version":1,"root":{"type":"fifo"}}',
        b'{"version":1,"root":{"type":"regular","size":-1}}',
        b'{"version":1,"root":{"type":"regular","size":1e300}}',
        b'{"version":1,"root":{"type":"regular","size":9223372036854775808}}',
        b'{"version":1,"root":{"type":"directory","entries":{"\xff":null}}}',
        b'{"version":1,"root":{"type":"symlink","target":"\\ud800"}}',
        THEIRS[:-1],
        THEIRS + b"x",
        bytes(brotli.compress(THEIRS))[:-1],
        one("", LINK),
        one(".", LINK),
        one("..", LINK),
        one("a/b", LINK),
        one("a\0b", LINK),
        one("a" * 256, LINK),
        one("a", {"type": "symlink", "target": ""}),
        one("a", {"type": "symlink", "target": "x" * 4096}),
        one("a", None),
        deep(nar.DEEPEST + 1),
        deep(100_000),
    ],
)
def test_what_is_wrong_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedListing):
        listing.parse(text)


def test_the_limits_themselves_are_no_mistake() -> None:
    assert len(listing.parse(deep(nar.DEEPEST))) == nar.DEEPEST + 1
    assert listing.parse(one("a" * 255, {"type": "symlink", "target": "x" * 4095}))


def test_a_small_file_that_unpacks_to_a_large_one_is_refused() -> None:
    bomb = bytes(brotli.compress(b" " * (listing.LONGEST + 1), quality=5))
    assert len(bomb) < 10_000
    with pytest.raises(MalformedListing, match="where at most"):
        listing.parse(bomb)
