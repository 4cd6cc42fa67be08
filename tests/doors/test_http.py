"""Ranges, conditions and failures, whatever the door."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.doors import http
from narbor.doors.http import Answer, Entity, Request
from narbor.errors import NarborError, Refused, Rejected, Unavailable

TAG = "some-tag"
contents = st.binary(max_size=300)


def entity(data: bytes, ranges: bool = True) -> Entity:
    """Return an entity over bytes."""

    def read(start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, 7):
            yield data[at : min(at + 7, stop)]

    return Entity("text/x-test", len(data), read, TAG, "max-age=1", ranges)


def body(answer: Answer) -> bytes:
    """Return the whole body."""
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def get(data: bytes, **headers: str) -> Answer:
    """Ask for `data`; keywords are headers with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.give(Request("GET", "/x", "", named), entity(data))


@given(contents, st.integers(0, 320), st.integers(0, 320))
def test_a_range_is_a_slice(data: bytes, first: int, last: int) -> None:
    answer = get(data, range=f"bytes={first}-{last}")
    if last < first:
        assert (answer.status, body(answer)) == (200, data)
    elif first >= len(data):
        assert answer.status == 416
        assert answer.header("content-range") == f"bytes */{len(data)}"
    else:
        part = data[first : last + 1]
        assert (answer.status, body(answer)) == (206, part)
        end = first + len(part) - 1
        assert answer.header("content-range") == f"bytes {first}-{end}/{len(data)}"
        assert answer.header("content-length") == str(len(part))


@given(contents, st.integers(0, 320))
def test_an_open_range_goes_to_the_end(data: bytes, first: int) -> None:
    answer = get(data, range=f"bytes={first}-")
    if first < len(data):
        assert (answer.status, body(answer)) == (206, data[first:])
    else:
        assert answer.status == 416


@given(contents, st.integers(0, 320))
def test_a_suffix_range_counts_from_the_end(data: bytes, length: int) -> None:
    answer = get(data, range=f"bytes=-{length}")
    if length == 0:
        assert answer.status == 416
    elif not data:
        assert (answer.status, body(answer)) == (200, b"")
    else:
        assert (answer.status, body(answer)) == (206, data[-length:])


@given(contents, st.text(max_size=30))
def test_any_range_text_gives_a_true_answer(data: bytes, text: str) -> None:
    answer = get(data, range=text)
    assert answer.status in (200, 206, 416)
    if answer.status == 200:
        assert body(answer) == data
    if answer.status == 206:
        assert body(answer) in data


@pytest.mark.parametrize(
    "value", ["bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=a-b", "bytes=1", "bytes=" + "9" * 99]
)
def test_what_is_no_single_range_gives_the_whole(value: str) -> None:
    answer = get(b"0123456789", range=value)
    assert (answer.status, body(answer)) == (200, b"0123456789")


@given(contents, st.sampled_from(["", "bytes=0-3", "bytes=-2", "bytes=900-"]), st.booleans())
def test_head_is_get_without_range_and_body(data: bytes, wanted: str, known: bool) -> None:
    condition = {"if-none-match": f'"{TAG}"'} if known else {}
    plain = http.give(Request("GET", "/x", "", condition), entity(data))
    ranged = {**condition, "range": wanted} if wanted else condition
    head = http.give(Request("HEAD", "/x", "", ranged), entity(data))
    assert (head.status, head.headers, head.body) == (plain.status, plain.headers, b"")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{TAG}"', 304),
        (f'W/"{TAG}"', 304),
        (f'"other" , W/"{TAG}"', 304),
        ("*", 304),
        ('"other"', 200),
        (TAG, 200),
        ("", 200),
        ('"other", nonsense, "x"', 200),
        (f'"{TAG}', 200),
    ],
)
def test_if_none_match(condition: str, status: int) -> None:
    answer = get(b"data", if_none_match=condition)
    assert answer.status == status
    assert answer.header("etag") == f'"{TAG}"'
    assert body(answer) == (b"data" if status == 200 else b"")


@pytest.mark.parametrize(
    ("condition", "status"), [(f'"{TAG}"', 200), (f'W/"{TAG}"', 412), ('"x"', 412), ("*", 200)]
)
def test_if_match_is_strong(condition: str, status: int) -> None:
    assert get(b"data", if_match=condition).status == status


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{TAG}"', 206),
        (f'W/"{TAG}"', 200),
        ('"other"', 200),
        ("Sat, 21 Nov 2026 10:00:00 GMT", 200),
    ],
)
def test_if_range_holds_for_the_strong_tag_alone(condition: str, status: int) -> None:
    assert get(b"data", range="bytes=1-2", if_range=condition).status == status


def test_a_condition_that_fails_comes_before_the_range() -> None:
    assert get(b"data", range="bytes=1-2", if_none_match="*").status == 304


def test_ranges_are_offered_only_where_bytes_are_stable() -> None:
    request = Request("GET", "/x", "", {"range": "bytes=0-1"})
    answer = http.give(request, entity(b"data", ranges=False))
    assert (answer.status, answer.header("accept-ranges")) == (200, None)
    assert http.give(request, entity(b"data")).header("accept-ranges") == "bytes"


def test_a_tag_that_cannot_be_quoted_is_refused() -> None:
    with pytest.raises(Refused, match="ETag"):
        Entity("x/y", 0, lambda start, stop: iter(()), 'a"b', "")


class Fixed:
    """A door that always says the same."""

    def __init__(self, said: Answer | NarborError | None) -> None:
        self.said = said
        self.asked = 0

    def answer(self, request: Request) -> Answer | None:
        """Say it."""
        self.asked += 1
        if isinstance(self.said, NarborError):
            raise self.said
        return self.said


def test_the_first_door_that_has_it_answers() -> None:
    last = Fixed(Answer(200, (), b"never"))
    doors = [
        Fixed(None),
        Fixed(http.missing("a")),
        Fixed(http.wrong_method("GET")),
        Fixed(Answer(200, (), b"yes")),
        last,
    ]
    assert http.ask(doors, Request("GET", "/")).body == b"yes"
    assert last.asked == 0


def test_without_any_the_first_no_stands() -> None:
    no = http.wrong_method("GET", "HEAD")
    assert http.ask([Fixed(None), Fixed(no), Fixed(http.missing("b"))], Request("PUT", "/")) is no
    assert http.ask([Fixed(None)], Request("GET", "/")).status == 404
    assert http.ask([], Request("GET", "/")).status == 404


class Odd(NarborError):
    """An error outside the three families."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("a"), 400),
        (Unavailable("b"), 503),
        (Rejected("c"), 502),
        (Odd("d"), 500),
    ],
)
def test_each_family_has_its_status(error: NarborError, status: int) -> None:
    answer = http.ask([Fixed(error)], Request("GET", "/"))
    assert answer.status == status
    assert body(answer) == f"{error}\n".encode()
    assert answer.header("cache-control") == "no-store"
    assert answer.header("retry-after") == ("1" if status == 503 else None)


class Stream:
    """A body that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> bytes:
        raise AssertionError("nobody may read this")

    def close(self) -> None:
        """Note it."""
        self.closed = True


def test_head_of_a_door_that_knows_only_get_closes_the_body() -> None:
    stream = Stream()
    door = Fixed(Answer(200, (("content-length", "9"),), stream))
    answer = http.ask([door], Request("HEAD", "/"))
    assert (answer.body, answer.header("content-length")) == (b"", "9")
    assert stream.closed


def test_head_of_a_text_tells_its_length() -> None:
    answer = http.ask([Fixed(Answer(200, (), b"12345"))], Request("HEAD", "/"))
    assert (answer.body, answer.header("content-length")) == (b"", "5")


def test_messages_with_surrogates_can_be_sent() -> None:
    assert http.text(404, "no \udcff here").body == b"no \\udcff here\n"
