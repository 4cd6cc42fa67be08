"""A long array, split as it arrives."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import jsonarray
from narbor.formats.jsonarray import MalformedArray

LIMIT = 1 << 20
SCALARS = st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],: \n\u2028é')
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ARRAYS = st.lists(st.dictionaries(st.text('k"\\{'), VALUES, max_size=3), max_size=6)
TEXT = b'[{"a": "]}"}, {"b": [{"c": "\\""}]}]'


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


@given(ARRAYS, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_objects_come_out_as_they_went_in(
    values: list[dict[str, object]], ascii: bool, indent: int | str | None
) -> None:
    text = json.dumps(values, ensure_ascii=ascii, indent=indent).encode()
    assert [json.loads(each) for each in jsonarray.objects([text], LIMIT)] == values
    large = text[:-1] + b" " * (1 << 17) + b"]\r\n"
    assert [json.loads(each) for each in jsonarray.objects(cut(large, 999), LIMIT)] == values


def test_strings_and_objects_may_lie_across_pieces() -> None:
    """Pieces of 64 KiB and strings that are longer, with an escape at every place in turn."""
    for shift in range(4):
        values = [{"a": "x" * (65_534 - shift) + '\\"}]' * 30_000, "b": n} for n in range(3)]
        text = json.dumps(values).encode()
        for size in (1 << 16, 100_003):
            found = [json.loads(each) for each in jsonarray.objects(cut(text, size), LIMIT)]
            assert found == values


@pytest.mark.parametrize("end", range(len(TEXT)))
def test_an_array_that_ends_early_is_told(end: int) -> None:
    with pytest.raises(MalformedArray, match="ends in the middle"):
        list(jsonarray.objects([TEXT[:end]], LIMIT))


@pytest.mark.parametrize(
    "text",
    [
        *(b"{}", b"[1]", b'["a"]', b"[[]]", b"[{}{}]", b"[{},,{}]", b"[,{}]", b"[{},]", b"x[{}]"),
        *(b"[{}]x", b"[{}][", b"[{}}", b"]", b"[}", b"}", b"null", b"[{} 1]", b"[1, {}]"),
    ],
)
def test_what_is_no_array_of_objects_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedArray):
        list(jsonarray.objects([text], LIMIT))


def test_limits() -> None:
    small, large = b'{"a":1}', b'{"a":"' + b"x" * 100 + b'"}'
    assert list(jsonarray.objects([b"[" + small + b"]"], len(small))) == [small]
    with pytest.raises(MalformedArray, match="larger than 50"):
        list(jsonarray.objects([b"[" + small + b"," + large + b"]"], 50))
    with pytest.raises(MalformedArray, match="larger than 50"):
        list(jsonarray.objects([b'[{"a":"', b"x" * (1 << 17)], 50))
    with pytest.raises(MalformedArray, match="larger than 50"):
        list(jsonarray.objects([b"[" + b" " * (1 << 17)], 50))
    with pytest.raises(MalformedArray, match="nested"):
        list(jsonarray.objects([b'[{"a":' + b"[" * 40 + b"]" * 40 + b"}]"], LIMIT))


def test_what_came_before_an_error_is_given() -> None:
    found = jsonarray.objects([b'[{"a":1},', b"{"], LIMIT)
    assert next(found) == b'{"a":1}'
    with pytest.raises(MalformedArray):
        next(found)
