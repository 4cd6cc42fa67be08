"""DAG-CBOR: one spelling of each value, and every other refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import dagcbor
from narbor.formats.dagcbor import Link, MalformedCbor, Value
from narbor.names import cid
from tests.strategies import cids

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | cids().map(Link)
)


def values() -> st.SearchStrategy[Value]:
    """Values of the data model."""
    return st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=12,
    )


@given(values())
def test_what_is_written_comes_back(value: Value) -> None:
    block = dagcbor.encode(value)
    assert dagcbor.decode(block) == value
    assert dagcbor.decode(block, strict=False) == value
    assert dagcbor.encode(dagcbor.decode(block)) == block


@given(values(), st.data())
def test_what_is_read_has_one_spelling(value: Value, data: st.DataObject) -> None:
    block = bytearray(dagcbor.encode(value))
    at = data.draw(st.integers(0, len(block) - 1))
    block[at] ^= data.draw(st.integers(1, 255))
    try:
        read = dagcbor.decode(bytes(block))
    except MalformedCbor:
        return
    assert dagcbor.encode(read) == block


@given(st.binary(max_size=40))
def test_junk_raises_only_malformed(block: bytes) -> None:
    for strict in (True, False):
        try:
            dagcbor.decode(block, strict)
        except MalformedCbor:
            continue


KNOWN: dict[str, Value] = {  # RFC 8949, appendix A, as far as DAG-CBOR takes it
    "00": 0,
    "17": 23,
    "1818": 24,
    "1903e8": 1000,
    "1b000000e8d4a51000": 1000000000000,
    "1bffffffffffffffff": 18446744073709551615,
    "3bffffffffffffffff": -18446744073709551616,
    "20": -1,
    "3903e7": -1000,
    "fb3ff199999999999a": 1.1,
    "fb7e37e43c8800759c": 1.0e300,
    "f4": False,
    "f5": True,
    "f6": None,
    "40": b"",
    "4401020304": b"\1\2\3\4",
    "60": "",
    "6449455446": "IETF",
    "62c3bc": "\u00fc",
    "80": [],
    "83010203": [1, 2, 3],
    "a0": {},
    "a26161016162820203": {"a": 1, "b": [2, 3]},
    "a2626262016361616102": {"bb": 1, "aaa": 2},
    "d82a5825000155122000" + "00" * 31: Link(bytes.fromhex("01551220") + bytes(32)),
}


@pytest.mark.parametrize("text", KNOWN)
def test_known(text: str) -> None:
    assert dagcbor.decode(bytes.fromhex(text)) == KNOWN[text]
    assert dagcbor.encode(KNOWN[text]).hex() == text


REFUSED = {
    "nothing": "",
    "a number in too many bytes": "1817",
    "a length in too many bytes": "5800",
    "sixteen bits for eight": "1900ff",
    "a half float": "f90000",
    "a single float": "fa47c35000",
    "NaN": "fb7ff8000000000000",
    "infinity": "fb7ff0000000000000",
    "undefined": "f7",
    "an indefinite list": "9f01ff",
    "an indefinite text": "7f6161ff",
    "another tag": "c11a514b67b0",
    "a link without its zero": "d82a5824" + "01551220" + "00" * 32,
    "a link that is no bytes": "d82a60",
    "a link that is cut": "d82a450001551220",
    "keys out of order": "a2616201616102",
    "a longer key first": "a262616101616202",
    "a key twice": "a2616101616102",
    "a key that is no text": "a10102",
    "text that is no UTF-8": "61ff",
    "too few bytes": "4401",
    "more values than bytes": "9a00100000",
    "something behind": "0000",
    "too deep": "81" * 200 + "00",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=list(REFUSED))
def test_refused(text: str) -> None:
    with pytest.raises(MalformedCbor):
        dagcbor.decode(bytes.fromhex(text))


def test_order_and_length_are_forgiven_where_asked() -> None:
    assert dagcbor.decode(bytes.fromhex("a2616201616102"), strict=False) == {"a": 2, "b": 1}
    assert dagcbor.decode(bytes.fromhex("1817"), strict=False) == 23


def test_what_cannot_be_written() -> None:
    deep: Value = 0
    for _ in range(200):
        deep = [deep]
    bad: list[Value] = [math.nan, math.inf, 1 << 64, -(1 << 64) - 1, "\ud800", deep]
    for value in bad:
        with pytest.raises(MalformedCbor):
            dagcbor.encode(value)
    assert dagcbor.encode(Link(cid.raw(b"")))[:4] == b"\xd8\x2a\x58\x25"
