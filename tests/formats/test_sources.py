"""Lists of sources: every spelling of a hash, every kind of entry."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import sources
from narbor.formats.sources import Checkout, File, MalformedList, Sources
from narbor.names.digest import SIZES, Digest
from narbor.names.tarball import ALGORITHMS

URL = "https://example.org/hello-2.12.tar.gz"
HASH = Digest("sha256", bytes(range(32)))


def read(*entries: object) -> Sources:
    """Read a list of these."""
    return sources.parse(json.dumps(entries).encode())


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    """Any hash that a tarball is known by."""
    algorithm = draw(st.sampled_from(ALGORITHMS))
    size = SIZES[algorithm]
    return Digest(algorithm, draw(st.binary(min_size=size, max_size=size)))


@given(digests(), st.sampled_from(["hash", "outputHash", "own"]))
def test_every_spelling_of_a_hash_means_the_same(hash: Digest, key: str) -> None:
    bare = [hash.hex, hash.nix32, base64.b64encode(hash.value).decode()]
    key = hash.algorithm if key == "own" else key
    entries: list[dict[str, object]] = [
        {"url": URL, "name": "x", "type": hash.algorithm, key: text} for text in bare
    ]
    entries += [{"url": URL, "name": "x", "type": None, key: hash.sri}]
    entries += [{"url": URL, "name": "x", "type": "", key: f"{hash.algorithm}:{hash.nix32}"}]
    entries += [{"url": URL, "name": "x", "outputHashAlgo": hash.algorithm, key: hash.sri}]
    for entry in entries:
        assert read(entry) == Sources((File(("x",), hash, (URL,)),), (), ())


def test_the_forms_of_find_tarballs_are_read() -> None:
    old = {"url": URL, "hash": HASH.nix32, "type": "sha256", "name": "hello-2.12.tar.gz"}
    new: dict[str, object] = {"hash": HASH.sri, "type": None, "name": "hello", "isPatch": False}
    new["urls"] = [URL, "mirror://gnu/hello"]
    urls = (URL, "mirror://gnu/hello")
    assert read(old, new).files == (File(("hello-2.12.tar.gz", "hello"), HASH, urls),)


def test_what_is_made_of_a_download_is_told_from_it() -> None:
    patch = {"urls": [URL], "hash": HASH.sri, "name": "fix.patch", "isPatch": True}
    assert read(patch).files == (File(("fix.patch",), HASH, (URL,), made=True),)
    plain = {"url": "https://other.example/x", "hash": HASH.sri, "name": "x"}
    other = ("https://other.example/x",)
    for both in (read(patch, plain), read(plain, patch)):
        (file,) = both.files
        assert (set(file.names), file.urls, file.made) == ({"fix.patch", "x"}, other, False)


@pytest.mark.parametrize("url", ["file:///x", "git://x/y", "/x", "data:,x", "ssh://x", "HTTP//x"])
def test_other_schemes_are_told_by_name(url: str) -> None:
    entry = {"url": url, "hash": HASH.sri, "name": "x"}
    (refused,) = read(entry).refused
    assert (refused.what, refused.name) == (str(HASH), "x") and url in refused.reason
    mixed = {"urls": [url, "ftp://x/y"], "hash": HASH.sri, "name": "x"}
    assert read(mixed).files == (File(("x",), HASH, ("ftp://x/y",)),)


def test_one_bad_entry_spoils_nothing() -> None:
    good = {"url": URL, "hash": HASH.sri, "name": "good"}
    bad: list[object] = [
        7,
        {},
        {"url": URL, "name": "none"},
        {"url": URL, "hash": "zz", "type": "sha256"},
        {"url": URL, "hash": HASH.hex, "type": "crc32"},
        {"url": URL, "hash": HASH.hex},
        {"hash": HASH.sri, "name": "nowhere"},
        {"url": URL, "hash": Digest("blake3", bytes(32)).sri},
        {"url": URL, "hash": HASH.sri, "outputHashMode": "recursive", "name": "unpacked"},
        {"url": URL, "hash": {"a": 1}, "urls": 7},
    ]
    found = read(*bad, good, *bad)
    assert [file.names for file in found.files] == [("good",)]
    assert len(found.refused) == 2 * len(bad)
    assert all(each.reason and each.what for each in found.refused)


def test_trees_out_of_version_control() -> None:
    tree = {"name": "source", "hash": HASH.sri, "outputHashMode": "recursive", "rev": "v1"}
    git = {**tree, "url": "https://example.org/x.git"}
    modules = {**git, "name": "m", "fetchSubmodules": True, "leaveDotGit": True}
    svn = {**tree, "name": "s", "url": "svn://example.org/x", "rev": 12}
    hg = {**tree, "name": "h", "url": "https://example.org/x", "fetcher": "fetchhg"}
    assert read(git, modules, svn, hg).checkouts == (
        Checkout("source", HASH, "git", "https://example.org/x.git", "v1"),
        Checkout("m", HASH, "git", git["url"], "v1", True, ("leaveDotGit",)),
        Checkout("s", HASH, "svn", "svn://example.org/x", "12"),
        Checkout("h", HASH, "hg", "https://example.org/x", "v1"),
    )


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        (None, "https://x/a/b-1.tar.gz?raw=1", "b-1.tar.gz"),
        ("../../etc/passwd", URL, "passwd"),
        (".hidden", URL, "hidden"),
        ("a b\n c", URL, "a-b-c"),
        ("//", URL, "source"),
        ("ä", URL, "source"),
    ],
)
def test_names_are_safe(name: str | None, url: str, expected: str) -> None:
    assert read({"url": url, "name": name, "hash": HASH.sri}).files[0].names == (expected,)


@pytest.mark.parametrize("text", [b"", b"{}", b"7", b"[", b'["\xff"]', b"[" * 100_000])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedList):
        sources.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["name", "url", "urls", "hash", "type", "sha256", "rev", "outputHashMode", "fetcher", "isPatch"]
)


@given(st.lists(st.dictionaries(KEYS, JSON | st.sampled_from([URL, HASH.sri, "recursive"]))))
def test_any_entry_is_read_or_told(entries: list[dict[str, object]]) -> None:
    found = read(*entries)
    names = sum(len(file.names) for file in found.files) + len(found.checkouts)
    assert len(entries) >= names + len(found.refused)
    assert bool(entries) == bool(names + len(found.refused))
