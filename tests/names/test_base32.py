"""Both base 32 spellings: vectors, there and back, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.names import base32

# The sha256 of nothing, in Nix's own spelling (`nix-hash --to-base32`), and bytes that show the
# order of the digits: the last letter holds the lowest bits of the first byte.
NIX_VECTORS = [
    ("", ""),
    ("01", "01"),
    ("1f", "0z"),
    ("ff", "7z"),
    ("0100000000", "00000001"),
    (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
    ),
]


@pytest.mark.parametrize(("hexadecimal", "text"), NIX_VECTORS)
def test_nix_spelling(hexadecimal: str, text: str) -> None:
    data = bytes.fromhex(hexadecimal)
    assert base32.nix(data) == text
    assert base32.parse_nix(text, len(data)) == data


@given(st.binary(max_size=70))
def test_nix_there_and_back(data: bytes) -> None:
    text = base32.nix(data)
    assert set(text) <= set(base32.NIX_ALPHABET)
    assert base32.parse_nix(text, len(data)) == data


@given(st.binary(max_size=70))
def test_rfc4648_there_and_back(data: bytes) -> None:
    assert base32.parse_rfc4648(base32.rfc4648(data)) == data


@given(st.text(base32.NIX_ALPHABET, min_size=52, max_size=52))
def test_one_text_for_one_value(text: str) -> None:
    """The top letter holds one bit of 32 bytes: all others are refused, never dropped."""
    if text[0] in "01":
        assert base32.nix(base32.parse_nix(text, 32)) == text
    else:
        with pytest.raises(base32.MalformedBase32, match="bits past"):
            base32.parse_nix(text, 32)


@pytest.mark.parametrize("text", ["", "0", "000", "0e", "0O", "0U", "0t", "0 ", "0\u0661"])
def test_nix_refuses(text: str) -> None:
    with pytest.raises(base32.MalformedBase32):
        base32.parse_nix(text, 1)


@pytest.mark.parametrize("text", ["a", "AA", "ab", "a1", "aa======", "aa\n", "\u00e9a", "\u00df"])
def test_rfc4648_refuses(text: str) -> None:
    with pytest.raises(base32.MalformedBase32):
        base32.parse_rfc4648(text)
