"""CIDs against those of Kubo and Helia, and against junk."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.names import cid
from narbor.names.cid import Cid
from tests import strategies


def test_raw_vectors() -> None:
    assert (
        cid.text(cid.raw(b"hello world"))
        == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    )
    assert cid.text(cid.raw(b"")) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def test_node_vectors() -> None:
    """An empty directory, as a dag-pb block, in both versions of its name."""
    block = bytes.fromhex("0a020801")
    new = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    assert cid.text(cid.node(block)) == new
    assert cid.parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn") == cid.parse(new)
    assert cid.codec(cid.parse(new)) == cid.DAG_PB


def test_inline_vectors() -> None:
    assert cid.text(cid.inline(b"")) == "bafkqaaa"
    directory = cid.parse("bafyaabakaieac")
    assert cid.inlined(directory) == bytes.fromhex("0a020801")
    assert cid.codec(directory) == cid.DAG_PB


@given(strategies.cids())
def test_there_and_back(value: Cid) -> None:
    assert cid.parse(cid.text(value)) == value
    assert cid.read(b"before" + value + b"behind", 6) == (value, 6 + len(value))


@given(st.binary(max_size=128), st.binary(max_size=128))
def test_a_cid_matches_its_own_content_only(data: bytes, other: bytes) -> None:
    for make in (cid.raw, cid.node, cid.inline):
        assert cid.matches(make(data), data)
        assert cid.matches(make(data), other) == (data == other)


@given(st.binary(max_size=128))
def test_what_is_inline(data: bytes) -> None:
    assert cid.inlined(cid.inline(data)) == data
    assert cid.inlined(cid.raw(data)) is None
    assert cid.inlined(cid.node(data)) is None


def test_inline_has_an_end() -> None:
    with pytest.raises(cid.MalformedCid):
        cid.inline(bytes(129))
    with pytest.raises(cid.MalformedCid):
        cid.check(bytes([1, cid.RAW, cid.IDENTITY]) + cid.varint(129) + bytes(129))


def test_a_foreign_hash_is_read_but_matches_nothing() -> None:
    """sha2-512 (0x13): such a CID may stand in a link, but nothing is taken for its content."""
    value = cid.check(bytes([1, cid.RAW, 0x13, 64]) + bytes(64))
    assert not cid.matches(value, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x55",
        b"\x01\x55\x12",
        b"\x01\x55\x12\x20" + bytes(31),
        b"\x01\x55\x12\x20" + bytes(33),
        b"\x01\x55\x12\x1f" + bytes(31),
        b"\x02\x55\x12\x20" + bytes(32),
        b"\x81\x00\x55\x12\x20" + bytes(32),
        b"\xff" * 40,
    ],
)
def test_malformed_bytes(data: bytes) -> None:
    with pytest.raises(cid.MalformedCid):
        cid.check(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "Qm",
        "zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA",
        "Qm0NLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykU",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk",
    ],
)
def test_malformed_text(text: str) -> None:
    with pytest.raises(cid.MalformedCid):
        cid.parse(text)


@given(st.binary(max_size=60))
def test_junk_is_a_cid_or_malformed(data: bytes) -> None:
    try:
        value = cid.check(data)
    except cid.MalformedCid:
        return
    assert data in (value, value[2:])
    assert cid.check(value) == value


@given(st.text(max_size=60) | st.text("Qm123456789ABCabc", min_size=44, max_size=44))
def test_junk_text_is_a_cid_or_malformed(text: str) -> None:
    for spelling in (text, "b" + text, "Qm" + text):
        try:
            value = cid.parse(spelling)
        except cid.MalformedCid:
            continue
        assert cid.check(value) == value


@given(st.integers(0, 2**63 - 1))
def test_varints(number: int) -> None:
    spelled = cid.varint(number)
    assert cid.read_varint(b"x" + spelled + b"x", 1) == (number, 1 + len(spelled))
    with pytest.raises(cid.MalformedCid):
        cid.read_varint(spelled[:-1], 0)


def test_a_leaf_is_named_by_the_hash_of_its_content() -> None:
    assert cid.raw(b"leaf")[4:] == sha256(b"leaf").digest()
