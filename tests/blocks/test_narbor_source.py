"""Blocks from another narbor: all that it has, nothing that it makes up."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import zstandard

from narbor.blocks.narbor import Liar, NarborSource, NoNarbor
from narbor.blocks.thin import pack
from narbor.doors.blocks import BlocksDoor
from narbor.doors.http import Answer, Request
from narbor.errors import Unavailable
from narbor.formats import exchange, frames
from narbor.formats.exchange import Stretch, Thin
from narbor.library.exchange import Exchange
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.net.http import Http
from narbor.net.wire import Options
from tests.fakes import certificate
from tests.fakes.doorserver import serving
from tests.fakes.faults import Instead, Reset, Status
from tests.fakes.upstream import FakeCache
from tests.library.store import believed, file_nar, opened, read_only
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


def edited(block: bytes, number: int) -> bytes:
    """Change a few bytes of a block."""
    at = number * 37 % (len(block) - 9)
    return block[:at] + b"edited %d" % number + block[at + 9 :]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Stretch]]:
    """Make a store with blocks and later forms of them, and stretches of these."""
    folder = tmp_path_factory.mktemp("versions") / "home"
    old = [LUCK.randbytes(300_000 + n) for n in range(60)]
    new = [edited(block, n) for n, block in enumerate(old)]
    with opened(folder) as library:
        library.blocks.put_many([(cid.raw(block), block) for block in (*old, *new)])
        library.commit()
    before, after = list(map(cid.raw, old)), list(map(cid.raw, new))
    KEPT.update(zip((*before, *after), (*old, *new), strict=True))
    stretches = [
        Stretch((*after[:40], ABSENT), (ABSENT, *before[:40])),
        Stretch(tuple(after[40:50]), (ABSENT,)),
        Stretch(tuple(after[50:]), tuple(before[50:])),
        Stretch((INLINE,), ()),
    ]
    return folder, stretches


KEPT: dict[Cid, bytes] = {}


def test_what_resembles_what_is_here_costs_little(
    versions: tuple[Path, list[Stretch]], tmp_path: Path
) -> None:
    folder, stretches = versions
    wanted = {name for each in stretches for name in each.wanted} - {ABSENT, INLINE}
    with program(tmp_path, None, home=folder) as running, client() as http:
        source = NarborSource(http, f"http://127.0.0.1:{running.port}")
        found = list(source.resembling(stretches, KEPT.__getitem__))
        assert len(found) == len(wanted)
        assert dict(found) == {name: KEPT[name] for name in wanted}
    with read_only(folder) as library:
        size = sum(map(len, Exchange(library).records(stretches)))
        # Those without a basis go out as they are; of the others, next to nothing.
        assert 10 * 300_000 < size < 10 * 300_000 + 20_000


@pytest.mark.parametrize(("answer", "work"), [(1, 1 << 30), (1 << 30, 1), (4_000_000, 5_000_000)])
def test_answers_that_end_early(
    versions: tuple[Path, list[Stretch]], answer: int, work: int
) -> None:
    folder, stretches = versions
    wanted = {name for each in stretches for name in each.wanted} - {ABSENT, INLINE}
    with read_only(folder) as library, client() as http:
        door = Counting(Exchange(library, answer, work))
        with serving(door) as url:
            source = NarborSource(http, url)
            assert dict(source.resembling(stretches, KEPT.__getitem__)) == {
                name: KEPT[name] for name in wanted
            }
            assert dict(source.fetch(list(wanted))).keys() == wanted
        assert door.count > 2


def test_what_is_withheld_is_not_here(versions: tuple[Path, list[Stretch]]) -> None:
    folder, stretches = versions
    first, second = stretches[0].wanted[:2]
    with read_only(folder) as library, client() as http:
        shelf = Exchange(library, withheld={first[-32:]})
        with serving(BlocksDoor(shelf)) as url:
            source = NarborSource(http, url)
            assert source.missing([first, second]) == {first}
            assert dict(source.fetch([first, second])) == {second: KEPT[second]}
            new = Stretch((second,), (first,))
            assert dict(source.resembling([new], KEPT.__getitem__)) == {second: KEPT[second]}


class Counting:
    """A door that counts what it is asked."""

    def __init__(self, shelf: Exchange) -> None:
        self.door = BlocksDoor(shelf)
        self.count = 0

    def answer(self, request: Request) -> Answer | None:
        """Answer, and count it."""
        self.count += 1
        return self.door.answer(request)


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


WANTED = [Stretch((FIRST, SECOND), (cid.raw(b"old one"), cid.raw(b"old two")))]
OLD = {cid.raw(b"old one"): b"old one", cid.raw(b"old two"): b"old two"}


def thin(frame: bytes, *sizes: tuple[int, int], built_on: tuple[int, ...] = (0, 1)) -> bytes:
    """Spell a thin record that may be a lie."""
    return exchange.write_thin(Thin(0, built_on, sizes, frame), 2)


def behind(*old: bytes, blocks: tuple[bytes, ...] = (ONE, TWO)) -> bytes:
    """Pack blocks behind others."""
    return pack(old, blocks)


BOTH = ((0, len(ONE)), (1, len(TWO)))
OLDS = tuple(OLD.values())
THIN = thin(behind(*OLDS), *BOTH)
THIN_LIES = {
    "other blocks": thin(behind(*OLDS, blocks=(TWO, ONE)), *BOTH) + END,
    "other sizes": thin(behind(*OLDS), (0, len(ONE) + 1), (1, len(TWO) - 1)) + END,
    "sizes too large": thin(behind(*OLDS), (0, len(ONE)), (1, 1 << 31)) + END,
    "a block twice": thin(behind(*OLDS, blocks=(ONE, ONE)), BOTH[0], BOTH[0]) + END,
    "a block again": THIN + thin(behind(*OLDS, blocks=(ONE,)), BOTH[0]) + END,
    "packed behind other blocks": thin(behind(ONE, TWO), *BOTH) + END,
    "no frame": thin(b"nothing", *BOTH) + END,
    "a torn frame": thin(behind(*OLDS)[:-3], *BOTH) + END,
    "a frame without end": thin(HUGE, *BOTH) + END,
    "a window without end": thin(WIDE, (0, len(ONE))) + END,
    "a stretch that was not asked for": THIN[:8] + b"\1" + THIN[9:] + END,
    "a block that was not asked for": thin(behind(*OLDS), BOTH[0], (2, len(TWO))) + END,
    "a record that ends too early": THIN[:-1],
    "no end": THIN,
}


@pytest.mark.parametrize("lie", THIN_LIES.values(), ids=list(THIN_LIES))
def test_a_liar_is_named_in_thin_records_too(lie: bytes) -> None:
    with FakeCache() as fake, client() as http:
        fake.fail(GET, Instead(lie), always=True)
        with pytest.raises(Liar, match=fake.url):
            list(NarborSource(http, fake.url).resembling(WANTED, OLD.__getitem__))


def test_thin_records_may_come_in_parts_and_among_others() -> None:
    second = thin(behind(b"old two", blocks=(TWO,)), BOTH[1], built_on=(1,))
    for answer in (THIN + END, second + GOOD + END, GOOD + second + END):
        with FakeCache() as fake, client() as http:
            fake.fail(GET, Instead(answer), always=True)
            source = NarborSource(http, fake.url)
            found = dict(source.resembling(WANTED, OLD.__getitem__))
            assert found == {FIRST: ONE, SECOND: TWO}
            assert exchange.read_stretches(fake.asked[0].body) == WANTED


def test_many_names_are_asked_for_in_several_requests() -> None:
    names = [cid.raw(b"%d" % n) for n in range(25_000)]
    with FakeCache() as fake, client() as http:
        source = NarborSource(http, fake.url)
        counts = (10_000, 10_000, 5_000)
        fake.fail(GET, *(Instead(exchange.closing(count)) for count in counts))
        assert list(source.fetch(names)) == []
        assert [len(asked.body) // 36 for asked in fake.asked] == list(counts)
        fake.fail(GET, *(Instead(exchange.closing(5_000)) for _ in range(5)))
        long = Stretch(tuple(names), tuple(names))
        assert list(source.resembling([long], OLD.__getitem__)) == []
        for asked in fake.asked[3:]:
            (each,) = exchange.read_stretches(asked.body)
            assert (len(each.wanted), each.basis) == (5_000, tuple(names[:5_000]))


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
