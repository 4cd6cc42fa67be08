"""Bodies: even pieces, one ahead, closed whatever happens."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.errors import Unavailable
from narbor.serve.bodies import Body, EndedEarly


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_pieces_are_the_body_in_even_parts(chunks: list[bytes], size: int) -> None:
    whole = b"".join(chunks)
    with ThreadPoolExecutor(1) as pool:
        body = Body(iter(chunks), len(whole), pool, size)
        pieces = []
        while not body.done:
            pieces.append(body.read())
    assert b"".join(pieces) == whole
    assert all(size <= len(piece) < size + 40 for piece in pieces[:-1])


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_a_body_of_unknown_size_ends_with_its_source(chunks: list[bytes], size: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        body = Body(iter(chunks), None, pool, size)
        pieces = []
        while not body.done:
            pieces.append(body.read())
    assert b"".join(pieces) == b"".join(chunks)
    assert all(size <= len(piece) < size + 40 for piece in pieces[:-1])


class Source:
    """A body that counts what is taken of it and knows when it is closed."""

    def __init__(self, count: int, fails: bool = False) -> None:
        self.count = count
        self.fails = fails
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.taken == self.count:
            if self.fails:
                raise Unavailable("gone")
            raise StopIteration
        self.taken += 1
        return bytes([self.taken]) * 10

    def close(self) -> None:
        """Note it."""
        self.closed = True


async def taken(body: Body, count: int) -> list[bytes]:
    """Take up to `count` pieces as the application does."""
    pieces: list[bytes] = []
    while len(pieces) < count and (ahead := body.ahead()) is not None:
        pieces.append(await ahead)
    return pieces


def test_one_piece_is_made_ahead_and_no_more() -> None:
    source = Source(100)

    async def take() -> bytes:
        body = Body(source, 1000, pool, 10)
        (first,) = await taken(body, 1)
        body.ahead()
        await body.close()
        return first

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(take()) == b"\1" * 10
    assert source.taken == 2
    assert source.closed


def test_what_is_read_to_its_end_is_left_no_line_to_do() -> None:
    source = Source(3)
    ended = []

    def chunks() -> Iterator[bytes]:
        yield from source
        ended.append(True)

    async def take() -> list[bytes]:
        body = Body(chunks(), 30, pool, 10)
        pieces = await taken(body, 9)
        await body.close()
        return pieces

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(take()) == [bytes([n]) * 10 for n in (1, 2, 3)]
    assert ended


def test_less_than_was_promised_is_an_error() -> None:
    async def take() -> list[bytes]:
        body = Body(Source(2), 25, pool, 10)
        try:
            pieces = await taken(body, 2)
            with pytest.raises(EndedEarly, match="5 bytes"):
                await taken(body, 1)
            return pieces
        finally:
            await body.close()

    with ThreadPoolExecutor(1) as pool:
        assert len(asyncio.run(take())) == 2


def test_an_error_comes_where_it_happened() -> None:
    source = Source(2, fails=True)

    async def take() -> None:
        body = Body(source, 30, pool, 10)
        try:
            assert len(await taken(body, 2)) == 2
            with pytest.raises(Unavailable, match="gone"):
                await taken(body, 1)
        finally:
            await body.close()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(take())
    assert source.closed


def test_an_error_nobody_waited_for_is_let_go() -> None:
    source = Source(1, fails=True)

    async def take() -> None:
        body = Body(source, 30, pool, 10)
        await taken(body, 1)
        body.ahead()
        await body.close()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(take())
    assert source.closed


def test_close_before_the_first_piece() -> None:
    source = Source(1)

    async def take() -> None:
        await Body(source, 10, pool).close()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(take())
    assert (source.taken, source.closed) == (0, True)
