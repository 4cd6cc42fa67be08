"""Content addresses: spellings, and the store paths that Nix computes from them."""

import base64
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from narbor.names import contentaddress, storepath
from narbor.names.contentaddress import ARCHIVE, FLAT, GIT, TEXT, ContentAddress
from narbor.names.digest import Digest
from tests import strategies

NARINFOS = sorted((Path(__file__).parent.parent / "vectors" / "cache").glob("*.narinfo"))
NOTHING = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"


@pytest.mark.parametrize("file", NARINFOS, ids=lambda file: file.stem[:8])
def test_the_paths_that_nix_computed(file: Path) -> None:
    fields = dict(line.split(": ", 1) for line in file.read_text().splitlines())
    path = storepath.parse(fields["StorePath"])
    references = set(fields["References"].split())
    computed = contentaddress.store_path(
        contentaddress.parse(fields["CA"]),
        path.store,
        path.name,
        references - {path.base},
        path.base in references,
    )
    assert computed == path


def test_the_vectors_hold_every_kind() -> None:
    kinds = {file.read_text().partition("CA: ")[2].rpartition(":")[0] for file in NARINFOS}
    assert kinds == {"text:sha256"} | {
        f"fixed:{how}{algorithm}"
        for how in ("", "r:")
        for algorithm in ("md5", "sha1", "sha256", "sha512")
    }


@given(strategies.content_addresses())
def test_there_and_back_in_every_spelling(address: ContentAddress) -> None:
    value = address.digest
    assert contentaddress.parse(str(address)) == address
    for text in (value.hex, base64.b64encode(value.value).decode()):
        assert contentaddress.parse(f"{address.method}{value.algorithm}:{text}") == address


@given(strategies.content_addresses(), strategies.names(), st.sets(strategies.bases(), max_size=3))
def test_whatever_goes_in_changes_the_path(
    address: ContentAddress, name: str, references: set[str]
) -> None:
    bare = contentaddress.store_path(address, "/nix/store", name, [], False)
    assert contentaddress.store_path(address, "/gnu/store", name, [], False) != bare
    assert bare.name == name
    assert storepath.parse(str(bare)) == bare
    assume(references)
    if address.method == TEXT or str(address).startswith("fixed:r:sha256:"):
        path = contentaddress.store_path(address, "/nix/store", name, references, False)
        assert path != bare
        again = sorted(references, reverse=True) * 2
        assert contentaddress.store_path(address, "/nix/store", name, again, False) == path
    else:
        with pytest.raises(contentaddress.MalformedContentAddress, match="no references"):
            contentaddress.store_path(address, "/nix/store", name, references, False)


@given(strategies.content_addresses())
def test_only_trees_by_sha256_refer_to_themselves(address: ContentAddress) -> None:
    if str(address).startswith("fixed:r:sha256:"):
        bare = contentaddress.store_path(address, "/nix/store", "x", [], False)
        assert contentaddress.store_path(address, "/nix/store", "x", [], True) != bare
    else:
        with pytest.raises(contentaddress.MalformedContentAddress):
            contentaddress.store_path(address, "/nix/store", "x", [], True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "text:",
        "fixed:",
        "fixed:r:",
        NOTHING,
        f"flat:{NOTHING}",
        f"fixed:x:{NOTHING}",
        f"fixed:r:git:{NOTHING}",
        f"text:r:{NOTHING}",
        f"Text:{NOTHING}",
        f"fixed:{NOTHING} ",
        "fixed:sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "text:md5:d41d8cd98f00b204e9800998ecf8427e",
        "fixed:git:md5:d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(contentaddress.MalformedContentAddress):
        contentaddress.parse(text)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(contentaddress.MalformedContentAddress):
        ContentAddress("fixed:x:", Digest("md5", bytes(16)))


def test_the_methods_are_told_apart() -> None:
    for method in (TEXT, FLAT, ARCHIVE, GIT):
        assert contentaddress.parse(f"{method}{NOTHING}").method == method
