"""Answers that are written past h11 are the same as with it."""

import string
from typing import Any

import h11
from hypothesis import given
from hypothesis import strategies as st

from narbor.serve.exchange import Exchange

DATE = "Sat, 01 Jan 2000 00:00:00 GMT"
PLAIN = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
# Nobody answers to it, but whoever sends it is served by h11.
SLOW = b"GET /a HTTP/1.1\r\nhost: a\r\nupgrade: nothing\r\n\r\n"
NAMES = st.text(string.ascii_lowercase + "-", min_size=1, max_size=12)
VALUES = st.text(string.printable.strip() + " \r\n\0", max_size=20)


def begun(request: bytes) -> Exchange:
    """An exchange whose request has come."""
    exchange = Exchange()
    assert exchange.read(request)
    return exchange


def answer(status: int, headers: list[tuple[str, str]], body: bytes) -> list[dict[str, Any]]:
    """The messages of a whole answer."""
    spelled = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return [
        {"type": "http.response.start", "status": status, "headers": spelled},
        {"type": "http.response.body", "body": body, "more_body": False},
    ]


def written(exchange: Exchange, messages: list[dict[str, Any]]) -> bytes | None:
    """What goes out; None where that is refused."""
    try:
        return b"".join(part for each in messages for part in exchange.write(each, DATE))
    except h11.LocalProtocolError:
        return None


@given(
    st.sampled_from((200, 200, 404)),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.binary(max_size=40),
    st.sampled_from((0, 0, 1, -1)),
    st.binary(max_size=40),
)
def test_both_ways_write_the_same(
    status: int, more: list[tuple[str, str]], body: bytes, off: int, behind: bytes
) -> None:
    length = max(0, len(body) + off)
    messages = answer(status, [*more, ("content-length", str(length))], body)
    quick, slow = begun(PLAIN), begun(SLOW)
    assert written(quick, messages) == written(slow, messages)
    assert quick.whole == slow.whole
    if quick.whole:
        assert quick.rest(behind) == slow.rest(behind)


def test_headers_cannot_be_smuggled_in() -> None:
    for value in ("a\r\nx: y", "a\nx: y", "a\rx", "\0", "a\0", "a\x0b", "a "):
        messages = answer(200, [("x-path", value), ("content-length", "1")], b"a")
        assert written(begun(PLAIN), messages) is None


def test_who_wants_to_close_is_let_go() -> None:
    messages = answer(200, [("content-length", "1")], b"a")
    close = begun(b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert b"\r\nconnection: close\r\n" in (written(close, messages) or b"").lower()
    assert close.rest(b"") is None
    stay = begun(b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
    assert written(stay, messages) == written(begun(PLAIN), messages)
    assert stay.rest(PLAIN) == PLAIN
    old = begun(b"GET /a HTTP/1.0\r\nhost: a\r\n\r\n")
    written(old, messages)
    assert old.rest(b"") is None
