"""Values <-> columns."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.catalogue import rows
from narbor.names import base32
from narbor.names.digest import Digest
from tests.catalogue.world import claim, item

_PARTS = st.text(base32.NIX_ALPHABET, min_size=32, max_size=32)


@given(_PARTS)
def test_a_hash_part_comes_back_from_its_twenty_bytes(part: str) -> None:
    kept = rows.key(part)
    assert kept is not None
    assert len(kept) == 20
    assert rows.hash_part(kept) == part


@given(_PARTS, _PARTS)
def test_keys_sort_as_hash_parts_do(one: str, other: str) -> None:
    kept, others = rows.key(one), rows.key(other)
    assert kept is not None
    assert others is not None
    assert (kept < others) == (one < other)


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "e" * 32, "A" * 32, "٠" * 32, "_" * 32])
def test_other_texts_have_no_key(text: str) -> None:
    assert rows.key(text) is None


@pytest.mark.parametrize(
    "value",
    [Digest("sha256", b"\x07" * 32), Digest("blake3", b"\x07" * 32), Digest("md5", b"m" * 16)],
)
def test_digests_come_back(value: Digest) -> None:
    assert rows.digest_of(rows.keep_digest(value)) == value


@given(st.binary(), st.binary())
def test_texts_come_back_with_and_without_a_dictionary(text: bytes, prior: bytes) -> None:
    assert rows.inflate(rows.deflate(text, prior), prior) == text
    assert rows.inflate(rows.deflate(text)) == text


def test_the_dictionary_knows_most_of_a_claim() -> None:
    text = claim(item(1, (2, 3, 4))).text
    assert (
        len(rows.deflate(text, rows.dictionary(item(1, (2, 3, 4))))) < len(zlib.compress(text)) / 3
    )
