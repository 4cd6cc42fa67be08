"""Blocks from another narbor: all that it has, nothing that it makes up."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import zstandard

from narbor.blocks import frames
from narbor.blocks.narbor import Liar, NarborSource, NoNarbor
from narbor.errors import Unavailable
from narbor.formats import exchange
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.net.http import Http
from narbor.net.wire import Options
from tests.fakes import certificate
from tests.fakes.upstream import FakeCache, Instead, Reset, Status
from tests.library.store import believed, file_nar, opened
from tests.serve.running import program

LUCK = Random(7)
GET = "/blocks/get"
BLOCKS = {cid.raw(data): data for data in (LUCK.randbytes(n * 999) for n in range(400))}
ABSENT = cid.raw(b"nobody has this")
INLINE = cid.inline(b"this stands in its name")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with blocks in it: 80 MB, more than an answer holds."""
    folder = tmp_path_factory.mktemp("exchange") / "home"
    archive = file_nar(b"some text")
    with opened(folder) as library:
        library.blocks.put_many(list(BLOCKS.items()))
        library.blocks.sync()
        library.admit(believed("item", archive), [archive], "test")
        library.commit()
    return folder


@contextmanager
def client(ca_file: Path | None = None) -> Iterator[Http]:
    """Open a client that gives up soon."""
    http = Http(Options(proxies={}, read=10.0, attempts=2, pause=0.01, ca_file=ca_file))
    try:
        yield http
    finally:
        http.close()


@pytest.mark.parametrize("tls", [False, True])
def test_all_that_is_there_comes_and_nothing_else(home: Path, tmp_path: Path, tls: bool) -> None:
    pem = certificate.make(tmp_path / "cert.pem") if tls else None
    said: dict[str, object] = {"tls_cert": pem, "tls_key": pem} if tls else {}
    with program(tmp_path, None, home=home, **said) as running, client(ca_file=pem) as http:
        source = NarborSource(http, f"http{'s' * tls}://127.0.0.1:{running.port}/")
        names = [*BLOCKS, ABSENT, INLINE, *BLOCKS]
        found = list(source.fetch(names))
        assert dict(found) == BLOCKS
        assert len(found) == len(BLOCKS)
        assert source.missing(names) == {ABSENT}
        assert source.missing([]) == set()


def record(name: Cid, frame: bytes, size: int) -> bytes:
    """Spell a record that may be a lie."""
    return frames.head(name, len(frame), size, 3) + frame


def packed(block: bytes) -> bytes:
    """Pack a block as an honest narbor does."""
    return frames.Codec(3).compress(block)


ONE, TWO = b"the first of them" * 9, b"the second of them"
FIRST, SECOND = cid.raw(ONE), cid.raw(TWO)
GOOD = record(FIRST, packed(ONE), len(ONE))
END = exchange.closing(2)
# A frame that says it holds 2 TiB, and one that needs a window of 2 GiB.
HUGE = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2 << 40) + b"\x01\0\0"
WIDE = b"\x28\xb5\x2f\xfd\x80\xa8" + struct.pack("<I", len(ONE)) + b"\x01\0\0"
LIES = {
    "other bytes": record(FIRST, packed(ONE[::-1]), len(ONE)) + END,
    "another block": GOOD + record(cid.raw(b"x"), packed(b"x"), 1) + END,
    "a block twice": GOOD + GOOD + END,
    "no frame": record(FIRST, b"nothing", len(ONE)) + END,
    "a torn frame": record(FIRST, packed(ONE)[:-6], len(ONE)) + END,
    "a frame and a half": record(FIRST, packed(ONE) + packed(b""), len(ONE)) + END,
    "another size": record(FIRST, packed(ONE), len(ONE) + 1) + END,
    "no size in the frame": record(
        FIRST, zstandard.ZstdCompressor(write_content_size=False).compress(ONE), len(ONE)
    )
    + END,
    "a frame without end": record(FIRST, HUGE, len(ONE)) + END,
    "a window without end": record(FIRST, WIDE, len(ONE)) + END,
    "more than was asked for": GOOD + exchange.closing(3),
    "nothing settled": exchange.closing(0),
    "no end": GOOD,
    "nothing": b"",
    "a page": b"<html>welcome to the hotel</html>",
    "junk behind the end": GOOD + END + b"x",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_a_liar_is_named(lie: bytes) -> None:
    with FakeCache() as fake, client() as http:
        fake.fail(GET, Instead(lie), always=True)
        found: list[tuple[Cid, bytes]] = []
        with pytest.raises(Liar, match=fake.url):
            found += NarborSource(http, fake.url).fetch([FIRST, SECOND])
        assert fake.asked[0].body == FIRST + SECOND


def test_what_an_answer_left_out_is_asked_for_again() -> None:
    with FakeCache() as fake, client() as http:
        fake.fail(GET, Instead(GOOD + exchange.closing(1)), Instead(exchange.closing(1)))
        assert list(NarborSource(http, fake.url).fetch([FIRST, SECOND])) == [(FIRST, ONE)]
        assert [asked.body for asked in fake.asked] == [FIRST + SECOND, SECOND]


def test_what_breaks_off_is_asked_for_again() -> None:
    whole = GOOD + record(SECOND, packed(TWO), len(TWO)) + END
    with FakeCache() as fake, client() as http:
        fake.files[GET] = whole
        fake.fail(GET, Reset(len(GOOD) + 9))
        found = list(NarborSource(http, fake.url).fetch([FIRST, SECOND]))
        assert found == [(FIRST, ONE), (SECOND, TWO)]
        fake.fail(GET, Status(503), always=True)
        with pytest.raises(Unavailable, match=fake.url):
            list(NarborSource(http, fake.url).fetch([FIRST]))


def test_who_speaks_otherwise_is_no_narbor() -> None:
    with FakeCache() as fake, client() as http:
        source = NarborSource(http, fake.url)
        with pytest.raises(NoNarbor, match=fake.url):
            list(source.fetch([FIRST]))
        with pytest.raises(NoNarbor, match=fake.url):
            source.missing([FIRST])
        for lie in (b"\0", b"<html>", SECOND):
            fake.fail("/blocks/missing", Instead(lie))
            with pytest.raises(Liar, match=fake.url):
                source.missing([FIRST])
