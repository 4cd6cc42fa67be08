"""Store paths: what Nix takes for one, and what it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.names import storepath
from narbor.names.storepath import StorePath
from tests import strategies

HASH = "w9yy7v61ipb5rx6i35zq1mvc2iqfmps1"


@given(strategies.store_paths())
def test_there_and_back(path: StorePath) -> None:
    assert storepath.parse(str(path)) == path
    assert storepath.of_base(path.base, path.store) == path
    assert storepath.is_hash_part(path.hash_part)


@pytest.mark.parametrize("store", ["/nix/store", "/gnu/store", "/home/me/store"])
def test_the_store_belongs_to_the_identity(store: str) -> None:
    assert storepath.parse(f"{store}/{HASH}-hello-2.10") == StorePath(store, HASH, "hello-2.10")


@pytest.mark.parametrize("name", ["a", ".a", "..a", ".a-b", "a" * 211, "+-._?=", "...", "-"])
def test_names_of_the_grammar(name: str) -> None:
    assert storepath.parse(f"/nix/store/{HASH}-{name}").name == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".-a", "..-a", "a" * 212, "a b", "a/b", "\u00e4", "a\n", "a~", "a:"]
)
def test_names_outside_the_grammar(name: str) -> None:
    with pytest.raises(storepath.MalformedStorePath):
        storepath.of_base(f"{HASH}-{name}", "/nix/store")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        HASH,
        f"{HASH}-x",
        f"nix/store/{HASH}-x",
        f"/nix/store/{HASH}",
        f"/nix/store/{HASH}x",
        f"/nix/store/{HASH}-x/",
        f"/nix/store/{HASH}-x/bin",
        f"/nix/store/{HASH[:-1]}-x",
        f"/nix/store/{HASH}s-x",
        f"/nix/store/{HASH[:-1]}e-x",
        f"/nix/store/{HASH.upper()}-x",
    ],
)
def test_texts_that_are_no_store_path(text: str) -> None:
    with pytest.raises(storepath.MalformedStorePath):
        storepath.parse(text)


@pytest.mark.parametrize(
    "store",
    [
        "",
        "/",
        "//",
        "//nix/store",
        "/nix//store",
        "/nix/store/",
        "/nix/../store",
        "/nix/./store",
        "/..",
        "/nix/store/.",
        "/nix/store\n",
        "/nix\x00/store",
        "/nix/\x1b[31mstore",
        "/nix/st\x7fore",
        "/nix/st\x9bore",
        "nix/store",
        "./nix/store",
    ],
)
def test_store_directories_have_one_spelling(store: str) -> None:
    with pytest.raises(storepath.MalformedStorePath):
        storepath.parse(f"{store}/{HASH}-hello-2.10")


@pytest.mark.parametrize("store", ["/a", "/.a/store", "/..a/b..", "/a/...", "/s p/\u00e4"])
def test_store_directories_may_have_odd_names(store: str) -> None:
    assert storepath.parse(f"{store}/{HASH}-hello-2.10").store == store


@given(st.text(max_size=4), st.text(max_size=4))
def test_hash_parts_have_32_letters(before: str, behind: str) -> None:
    assert storepath.is_hash_part(before + HASH + behind) == (before + behind == "")
