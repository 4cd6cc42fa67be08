"""Digests: four spellings of one value."""

import base64

import pytest
from hypothesis import given

from narbor.names import digest
from narbor.names.digest import SIZES, Digest
from tests import strategies

EMPTY = Digest(
    "sha256",
    bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
)


def test_spellings_of_nothing() -> None:
    assert str(EMPTY) == "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
    assert EMPTY.sri == "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert EMPTY.hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(strategies.digests())
def test_every_spelling_is_read(value: Digest) -> None:
    encoded = base64.b64encode(value.value).decode()
    for text in (str(value), value.sri, f"{value.algorithm}:{encoded}"):
        assert digest.parse(text) == value
    for text in (value.hex, value.hex.upper()):
        assert digest.parse(f"{value.algorithm}:{text}") == value


@given(strategies.digests())
def test_the_length_belongs_to_the_algorithm(value: Digest) -> None:
    for algorithm, size in SIZES.items():
        if size != len(value.value):
            with pytest.raises(digest.MalformedDigest):
                Digest(algorithm, value.value)
            with pytest.raises(digest.MalformedDigest):
                digest.parse(value.sri.replace(value.algorithm, algorithm))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256-",
        EMPTY.hex,
        EMPTY.sri.replace("sha256", "sha3"),
        EMPTY.sri.replace("sha256-", "sha256:")[:-1],
        f"SHA256:{EMPTY.hex}",
        f"sha256:{EMPTY.hex[:-1]} ",
        f"sha256:{EMPTY.hex} ",
        f"sha256: {EMPTY.hex}",
        f"sha256:{EMPTY.nix32[:-1]}e",
        f"sha256:z{EMPTY.nix32[1:]}",
        f"sha256-{EMPTY.hex}",
        f"{EMPTY.sri}\n",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(digest.MalformedDigest):
        digest.parse(text)
