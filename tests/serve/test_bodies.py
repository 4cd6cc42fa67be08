"""Bodies: even pieces, one ahead, closed whatever happens."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.errors import Unavailable
from narbor.serve.bodies import Body, gather


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_gathered_pieces_are_the_body_in_even_parts(chunks: list[bytes], size: int) -> None:
    source = iter(chunks)
    pieces = list(iter(lambda: gather(source, size), b""))
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


def test_one_piece_is_made_ahead_and_no_more() -> None:
    source = Source(100)

    async def take() -> list[bytes]:
        body = Body(source, pool, 10)
        pieces = [await body.next() for _ in range(3)]
        await body.close()
        return pieces

    with ThreadPoolExecutor(1) as pool:
        pieces = asyncio.run(take())
    assert pieces == [bytes([n]) * 10 for n in (1, 2, 3)]
    assert source.taken == 4
    assert source.closed


def test_the_end_is_an_empty_piece_again_and_again() -> None:
    async def take() -> list[bytes]:
        body = Body(Source(1), pool, 10)
        pieces = [await body.next() for _ in range(4)]
        await body.close()
        return pieces

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(take()) == [b"\1" * 10, b"", b"", b""]


def test_an_error_comes_where_it_happened() -> None:
    source = Source(2, fails=True)

    async def take() -> None:
        body = Body(source, pool, 10)
        try:
            assert await body.next()
            assert await body.next()
            with pytest.raises(Unavailable, match="gone"):
                await body.next()
        finally:
            await body.close()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(take())
    assert source.closed


def test_an_error_nobody_waited_for_is_let_go() -> None:
    source = Source(1, fails=True)

    async def take() -> None:
        body = Body(source, pool, 10)
        await body.next()
        await body.close()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(take())
    assert source.closed


def test_close_before_the_first_piece() -> None:
    source = Source(1)

    async def take() -> None:
        await Body(source, pool).close()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(take())
    assert (source.taken, source.closed) == (0, True)
