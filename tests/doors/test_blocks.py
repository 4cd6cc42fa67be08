"""The door between narbors: names in, names and records out, limits on all of it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.doors import http
from narbor.doors.blocks import BlocksDoor
from narbor.doors.http import Answer, Request
from narbor.errors import Rejected, Unavailable
from narbor.formats import exchange, frames
from narbor.formats.exchange import Failure, Outcome, Stretch, Thin
from narbor.names import cid
from narbor.names.cid import Cid

HERE = [cid.raw(b"%d" % n) for n in range(20)]
NAMES = st.lists(
    st.one_of(
        st.sampled_from(HERE),
        st.binary(max_size=9).map(cid.raw),
        st.binary(max_size=9).map(cid.node),
        st.binary(max_size=128).map(cid.inline),
        st.binary(min_size=64, max_size=64).map(lambda d: Cid(b"\x01\x55\x13\x40" + d)),
    )
)


class Shelf:
    """Has the blocks HERE."""

    def missing(self, names: Sequence[Cid]) -> list[Cid]:
        """Return those that are not in HERE."""
        return [name for name in names if name not in HERE]

    def records(self, stretches: Sequence[Stretch]) -> Iterator[bytes]:
        """Give something for each that is in HERE."""
        names = [name for each in stretches for name in each.wanted]
        yield from (name for name in names if name in HERE)
        yield exchange.closing(len(names))

    def kept(self, name: str) -> Cid | None:
        """Return what the laptop keeps."""
        return HERE[0] if name == "laptop/narbor/cache" else None


def ask(path: str, content: bytes, method: str = "POST", type: str = exchange.NAMES) -> Answer:
    """Ask the door."""
    request = Request(method, path, "", {"content-type": type}, content)
    return http.ask([BlocksDoor(Shelf())], request)


def body(answer: Answer) -> bytes:
    """Return the whole body."""
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


@given(NAMES)
def test_names_are_read_as_they_were_written(names: list[Cid]) -> None:
    assert exchange.read_names(exchange.write_names(names)) == list(dict.fromkeys(names))


@given(NAMES)
def test_what_is_missing_and_what_is_not(names: list[Cid]) -> None:
    answer = ask("/blocks/missing", exchange.write_names(names))
    assert (answer.status, answer.header("content-type")) == (200, exchange.NAMES)
    absent = exchange.read_names(body(answer))
    assert absent == [name for name in dict.fromkeys(names) if name not in HERE]
    got = ask("/blocks/get", exchange.write_names(names))
    assert (got.status, got.header("content-type")) == (200, exchange.FRAMES)
    rest = [name for name in dict.fromkeys(names) if name in HERE]
    assert body(got) == b"".join(rest) + exchange.closing(len(dict.fromkeys(names)))


STRETCHES = st.lists(
    st.builds(Stretch, st.lists(st.sampled_from(HERE), unique=True).map(tuple), NAMES.map(tuple)),
    max_size=4,
)


@given(STRETCHES)
def test_stretches_are_read_as_they_were_written(stretches: list[Stretch]) -> None:
    data = exchange.write_stretches(stretches)
    wanted = [name for each in stretches for name in each.wanted]
    if len(set(wanted)) < len(wanted):
        with pytest.raises(exchange.MalformedExchange, match="twice"):
            exchange.read_stretches(data)
        return
    assert exchange.read_stretches(data) == stretches
    got = ask("/blocks/get", data, type=exchange.STRETCHES)
    assert (got.status, body(got)) == (200, b"".join(wanted) + exchange.closing(len(wanted)))
    for cut in range(1, 8):
        if stretches:
            answer = ask("/blocks/get", data[:-cut], type=exchange.STRETCHES)
            assert answer.status == 400


@given(st.data())
def test_thin_records_are_read_as_they_were_written(data: st.DataObject) -> None:
    stretches = data.draw(STRETCHES.filter(bool))
    number = data.draw(st.integers(0, len(stretches) - 1))
    stretch = stretches[number]
    built_on = data.draw(st.sets(st.integers(0, max(0, len(stretch.basis) - 1))))
    places = data.draw(st.permutations(range(len(stretch.wanted))))
    sizes = tuple((place, place * 7) for place in places)
    frame = data.draw(st.binary(max_size=30))
    thin = Thin(number, tuple(sorted(built_on)) if stretch.basis else (), sizes, frame)
    record = exchange.write_thin(thin, len(stretch.basis))
    before = data.draw(st.binary(max_size=9))
    read = exchange.read_thin(before + record + b"rest", len(before), stretches)
    assert read == (thin, len(before) + len(record))
    for cut in range(1, len(record) + 1):
        with pytest.raises(exchange.MalformedExchange):
            exchange.read_thin(record[:-cut], 0, stretches)
    assert list(frames.scan(record, 0)) == []
    assert record[1:4] == b"\x2a\x4d\x18"


@given(st.binary(max_size=200), STRETCHES)
def test_junk_is_no_record(junk: bytes, stretches: list[Stretch]) -> None:
    head = b"\x5d\x2a\x4d\x18" + len(junk).to_bytes(4, "little")
    for data in (junk, head + junk):
        try:
            exchange.read_thin(data, 0, stretches)
        except exchange.MalformedExchange as error:
            assert "byte 0" in str(error)


@given(st.binary(max_size=200))
def test_junk_is_a_bad_request(junk: bytes) -> None:
    try:
        exchange.read_names(junk)
    except exchange.MalformedExchange:
        for path in ("/blocks/missing", "/blocks/get"):
            assert ask(path, junk).status == 400
    try:
        exchange.read_stretches(junk)
    except exchange.MalformedExchange:
        assert ask("/blocks/get", junk, type=exchange.STRETCHES).status == 400
    try:
        exchange.read_closing(junk)
    except exchange.MalformedExchange as error:
        assert str(len(junk)) in str(error)


@given(st.integers(0, 2**32 - 1))
def test_the_closing_record_is_one_that_zstd_passes_over(count: int) -> None:
    record = exchange.closing(count)
    assert exchange.read_closing(record) == count
    assert list(frames.scan(record, 0)) == []
    assert record[1:4] == b"\x2a\x4d\x18" and len(record) == 8 + record[4]


def test_only_so_many_names() -> None:
    names = [cid.raw(b"%d" % n) for n in range(exchange.MOST_NAMES + 1)]
    assert ask("/blocks/missing", exchange.write_names(names[:-1])).status == 200
    answer = ask("/blocks/missing", exchange.write_names(names))
    assert answer.status == 400 and b"10,000" in body(answer)
    assert len(exchange.write_names(names[:-1])) <= exchange.LARGEST_NAMES
    for stretches in ([Stretch(tuple(names))], [Stretch((), tuple(names))]):
        data = exchange.write_stretches(stretches)
        assert ask("/blocks/get", data, type=exchange.STRETCHES).status == 400
    assert ask("/blocks/get", bytes(8 * len(names)), type=exchange.STRETCHES).status == 400


@pytest.mark.parametrize("path", ["/blocks/missing", "/blocks/get"])
def test_other_methods_and_types(path: str) -> None:
    answer = ask(path, b"", "GET")
    assert (answer.status, answer.header("allow")) == (405, "POST")
    for type in ("", "text/plain", "application/json"):
        assert ask(path, b"", type=type).status == 415
    assert ask(path, b"", type=exchange.NAMES.upper() + "; x=y").status == 200


def test_other_paths_are_none_of_ours() -> None:
    door = BlocksDoor(Shelf())
    for path in ("/blocks", "/blocks/", "/blocks/get/", "/nix-cache-info", "/blocks/kept/"):
        request = Request("POST", path)
        assert door.answer(request) is None
        assert http.takes([door], request) == 0
    assert http.takes([door], Request("POST", "/blocks/get")) == exchange.LARGEST_NAMES
    assert http.takes([door], Request("GET", "/blocks/get")) == 0


def test_a_library_that_fails_is_told() -> None:
    class Broken(Shelf):
        def missing(self, names: Sequence[Cid]) -> list[Cid]:
            raise Unavailable("the disk is away")

    request = Request("POST", "/blocks/missing", "", {"content-type": exchange.NAMES})
    answer = http.ask([BlocksDoor(Broken())], request)
    assert answer.status == 503 and b"the disk is away" in body(answer)


@dataclass
class Taker:
    """Takes what is pushed, and says of roots what it is told to say."""

    outcome: Outcome | None = None
    came: list[tuple[object, ...]] = field(default_factory=list)

    def missing(self, sender: str, names: Sequence[Cid]) -> list[Cid]:
        """Lack the first."""
        self.came.append((sender, "missing", tuple(names)))
        return list(names[:1])

    def put(self, sender: str, records: bytes) -> None:
        """Take all but lies."""
        if records == b"lies":
            raise MalformedFrames("these are lies")
        self.came.append((sender, "put", records))

    def keep(self, sender: str, name: str, root: Cid) -> Outcome | None:
        """Say what was told."""
        self.came.append((sender, name, root))
        return self.outcome


class MalformedFrames(Rejected):
    """What was pushed is none."""


TOKENS = {"laptop": "the-token-of-the-laptop", "büro": "the-token-of-the-büro"}
LAPTOP = {"authorization": "Bearer the-token-of-the-laptop"}
ALL = [
    ("POST", "/blocks/put", exchange.FRAMES, b"records"),
    ("PUT", "/blocks/kept/x", exchange.NAMES, HERE[1]),
    ("GET", "/blocks/kept/x", "", b""),
]


def push(
    door: BlocksDoor, method: str, path: str, type: str, content: bytes, said: dict[str, str]
) -> Answer:
    """Ask with a token or without one."""
    headers = {"content-type": type, **said}
    return http.ask([door], Request(method, path, "", headers, content))


@pytest.mark.parametrize(("method", "path", "type", "content"), ALL)
def test_only_senders_may_push(method: str, path: str, type: str, content: bytes) -> None:
    taker = Taker()
    door = BlocksDoor(Shelf(), taker, TOKENS)
    request = Request(method, path)
    for said in (
        "",
        "Bearer",
        "Bearer the-token-of-the-lapto",
        "Bearer the-token-of-the-laptop2",
        "Basic the-token-of-the-laptop",
        "the-token-of-the-laptop",
        "Bearer \udcff",
    ):
        headers = {"authorization": said} if said else {}
        answer = push(door, method, path, type, content, headers)
        assert answer.status == 401
        assert (answer.header("www-authenticate") or "").startswith("Bearer ")
        assert http.takes([door], replace(request, headers=headers)) == 0
    assert taker.came == []
    for tokens, closed in ((TOKENS, BlocksDoor(Shelf(), None, TOKENS)), ({}, BlocksDoor(Shelf()))):
        answer = push(closed, method, path, type, content, LAPTOP)
        assert answer.status == 403 and b"push-tokens" in body(answer), tokens


def test_what_senders_push() -> None:
    taker = Taker()
    door = BlocksDoor(Shelf(), taker, TOKENS)
    said = push(door, "POST", "/blocks/put", exchange.FRAMES, b"records", LAPTOP)
    assert (said.status, body(said)) == (204, b"")
    other = {"authorization": "bearer  the-token-of-the-büro "}
    assert push(door, "POST", "/blocks/put", exchange.FRAMES, b"more", other).status == 204
    assert push(door, "POST", "/blocks/put", exchange.NAMES, b"more", other).status == 415
    assert push(door, "POST", "/blocks/put", exchange.FRAMES, b"lies", LAPTOP).status == 400
    assert push(door, "PUT", "/blocks/put", exchange.FRAMES, b"", LAPTOP).status == 405
    asked = exchange.write_names(HERE)
    said = push(door, "POST", "/blocks/missing", exchange.NAMES, asked, LAPTOP)
    assert body(said) == HERE[0]
    wrong = {"authorization": "Bearer nobody"}
    assert push(door, "POST", "/blocks/missing", exchange.NAMES, asked, wrong).status == 401
    for reading, headers in ((BlocksDoor(Shelf()), wrong), (door, {"authorization": "Basic eDp5"})):
        said = push(reading, "POST", "/blocks/missing", exchange.NAMES, asked, headers)
        assert (said.status, body(said)) == (200, b"")
    assert taker.came == [
        ("laptop", "put", b"records"),
        ("büro", "put", b"more"),
        ("laptop", "missing", tuple(HERE)),
    ]
    for path in ("/blocks/put", "/blocks/kept/x"):
        assert http.takes([door], Request("POST", path, "", LAPTOP)) > 0
    assert http.takes([door], Request("POST", "/blocks/kept/", "", LAPTOP)) == 0
    assert http.takes([door], Request("POST", "/blocks/kept/" + "x" * 201, "", LAPTOP)) == 0


FAILURES = (Failure("hello", "nobody signed it"),)
OUTCOMES = [
    (None, 202),
    (Outcome(), 204),
    (Outcome(missing=tuple(HERE[:3])), 409),
    (Outcome(cache=True, admitted=3, known=4, failed=1, failures=FAILURES), 200),
]


@pytest.mark.parametrize(("outcome", "status"), OUTCOMES)
def test_what_becomes_of_a_root(outcome: Outcome | None, status: int) -> None:
    taker = Taker(outcome)
    door = BlocksDoor(Shelf(), taker, TOKENS)
    said = push(door, "PUT", "/blocks/kept/narbor/cache", exchange.NAMES, HERE[5], LAPTOP)
    assert said.status == status
    assert taker.came == [("laptop", "narbor/cache", HERE[5])]
    if status == 409:
        assert exchange.read_names(body(said)) == HERE[:3]
    if status == 200:
        assert exchange.read_outcome(body(said)) == outcome
    for content in (b"", HERE[0] + HERE[1], b"junk"):
        bad = push(door, "PUT", "/blocks/kept/x", exchange.NAMES, content, LAPTOP)
        assert bad.status == 400
    assert len(taker.came) == 1


def test_what_is_kept_by_name() -> None:
    door = BlocksDoor(Shelf(), Taker(), TOKENS)
    said = push(door, "GET", "/blocks/kept/narbor/cache", "", b"", LAPTOP)
    assert (said.status, body(said)) == (200, HERE[0])
    for path in ("/blocks/kept/narbor", "/blocks/kept/narbor/cache/"):
        assert push(door, "GET", path, "", b"", LAPTOP).status == 404
    other = {"authorization": "Bearer the-token-of-the-büro"}
    assert push(door, "GET", "/blocks/kept/narbor/cache", "", b"", other).status == 404


@given(st.binary(max_size=100), st.dictionaries(st.text(max_size=9), st.integers(-1, 3)))
def test_junk_tells_nothing_of_items(junk: bytes, table: dict[str, int]) -> None:
    for data in (junk, json.dumps(table).encode(), b"[" * 100_000):
        with pytest.raises(exchange.MalformedExchange):
            exchange.read_outcome(data)
