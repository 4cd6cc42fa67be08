"""The front over real sockets: the short way says what the long way says; nobody is confused."""

import asyncio
import gc
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from narbor.serve.exchange import LARGEST_HEAD, BadRequest, Exchange, Scope
from narbor.serve.front import PREFACE, Front
from narbor.serve.ready import Kept
from tests.fakes.library import FakeLibrary, world
from tests.serve.running import MEGABYTE, PATIENCE, Running, program
from tests.serve.test_server import read_answer

INFO = b"/nix-cache-info"
HEAD = b"host: x\r\nuser-agent: curl/8 Nix/2.34\r\naccept: */*\r\naccept-encoding: gzip\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a server."""
    with program(tmp_path_factory.mktemp("front"), size=20 * MEGABYTE) as running:
        yield running


def talk(server: Running, *said: bytes) -> bytes:
    """Say this, piece by piece, then listen until the other side closes."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in said:
            client.sendall(piece)
        heard = b""
        while piece := client.recv(1 << 16):
            heard += piece
        return heard


def get(path: bytes, more: bytes = b"", method: bytes = b"GET") -> bytes:
    """Spell a request."""
    return method + b" " + path + b" HTTP/1.1\r\n" + HEAD + more + b"\r\n"


LAST = get(b"/healthz", b"connection: close\r\n")


def answers(heard: bytes) -> list[tuple[int, bytes]]:
    """Split what was heard by its lengths; all of it must be answers."""
    found = []
    while heard:
        head, _, rest = heard.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        assert length is not None, heard[:300]
        found.append((int(head.split()[1]), rest[: int(length[1])]))
        heard = rest[int(length[1]) :]
    return found


def undated(heard: bytes) -> tuple[list[bytes], bytes]:
    """Return head lines in order of their names, without date, and the rest."""
    head, _, rest = heard.partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")]
    dates = [line for line in lines if line.startswith(b"date: ")]
    assert len(dates) == 1
    return sorted(set(lines) - {*dates, b"connection: close"}), rest


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_the_short_way_says_what_the_long_way_says(server: Running, method: bytes) -> None:
    library = FakeLibrary()
    item = next(iter(world(library).values()))
    paths = (INFO, f"/{item.path.hash_part}.narinfo".encode(), b"/" + b"0" * 32 + b".narinfo")
    for path in paths:
        talk(server, get(path), LAST)
        short = talk(server, get(path, method=method), LAST)
        long = talk(server, get(path, b"connection: close\r\n", method))
        end = short.rindex(b"HTTP/1.1 200")
        assert undated(short[:end]) == undated(long)
        if method == b"HEAD":
            assert undated(long)[1] == b""


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 900), max_size=5))
@example([1, 2, 3, 4, 5])
def test_requests_may_come_in_any_pieces(server: Running, cuts: list[int]) -> None:
    said = get(INFO) + get(b"/probe") + get(INFO, b"range: bytes=0-1\r\n") + get(INFO) + LAST
    edges = [0, *sorted(cuts), len(said)]
    heard = talk(server, *(said[a:b] for a, b in pairwise(edges)))
    info = answers(talk(server, get(INFO), LAST))[0]
    found = answers(heard)
    assert [each for number, each in enumerate(found) if number != 1] == [
        info,
        info,
        info,
        (200, b"ok\n"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 5\r\n\r\nhello",
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"content-length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("method", [b"PUT", b"GET"])
def test_what_comes_with_a_request_is_no_request(
    server: Running, body: bytes, method: bytes
) -> None:
    said = get(INFO) + get(INFO, method=method)[:-2] + body + get(INFO) + LAST
    statuses = [status for status, _ in answers(talk(server, said))]
    assert statuses == [200, 405 if method == b"PUT" else 200, 200, 200]


def test_a_body_that_hides_a_request_hides_it(server: Running) -> None:
    hidden = get(b"/change")
    said = get(INFO)[:-2] + b"content-length: %d\r\n\r\n" % len(hidden) + hidden + LAST
    found = answers(talk(server, said))
    assert [body for _, body in found][1:] == [b"ok\n"]
    assert len(found) == 2


def test_who_sends_much_reads_the_answer_all_the_same(server: Running) -> None:
    said = b"PUT /nar/x HTTP/1.1\r\n" + HEAD + b"content-length: 900000\r\n\r\n"
    (found,) = answers(talk(server, said, bytes(300_000), bytes(300_000)))
    assert found[0] in (404, 405)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbad name: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 2 * LARGEST_HEAD, 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
    ],
)
def test_what_is_no_request_is_told_so(server: Running, said: bytes, status: int) -> None:
    (found,) = answers(talk(server, said))
    assert found[0] == status
    assert server.get("/healthz")[0] == 200


def test_older_clients_are_answered_and_let_go(server: Running) -> None:
    heard = talk(server, b"GET /nix-cache-info HTTP/1.0\r\n\r\n")
    assert answers(heard)[0][0] == 200
    assert b"connection: close" in heard.lower()


def test_a_target_may_name_the_host(server: Running) -> None:
    for target in (b"http://x/nix-cache-info", b"http://x/nix-cache-inf%6f", b"/nix-cache-inf%6F"):
        said = b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n"
        assert answers(talk(server, said, LAST))[0][1].startswith(b"StoreDir: ")


def test_who_asks_and_never_listens_is_not_heard_for_ever(server: Running) -> None:
    talk(server, get(INFO), LAST)
    taken = 0
    with socket.socket() as client:
        client.connect(("127.0.0.1", server.port))
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            while taken < 400 * MEGABYTE:
                taken += client.send(get(INFO) * 5000)
        assert server.get("/healthz") == (200, b"ok\n")
        # Once it listens, all is answered, in order.
        client.settimeout(PATIENCE)
        with client.makefile("rb") as stream:
            for _ in range(5000):
                assert read_answer(stream)[0] == 200


def test_http2_may_begin_in_pieces(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings_frame = b"\0\0\0\4\0\0\0\0\0"
        for piece in (PREFACE[:1], PREFACE[1:9], PREFACE[9:] + settings_frame):
            client.sendall(piece)
        # A SETTINGS frame, as servers begin.
        assert client.recv(9)[3] == 4


@given(st.lists(st.binary(max_size=200)))
def test_junk_is_a_bad_request_and_nothing_else(pieces: list[bytes]) -> None:
    exchange = Exchange()
    try:
        for piece in filter(None, pieces):
            if exchange.read(piece):
                break
    except BadRequest as error:
        assert error.answer.startswith(b"HTTP/1.1 4")


def test_an_idle_client_is_let_go_at_the_end(tmp_path: Path) -> None:
    with (
        program(tmp_path) as running,
        socket.create_connection(("127.0.0.1", running.port)) as idle,
    ):
        idle.settimeout(PATIENCE)
        idle.sendall(get(INFO))
        assert idle.recv(9) == b"HTTP/1.1 "
        assert running.stop() == 0
        while idle.recv(1 << 16):
            continue


class Abrupt:
    """An application whose client is gone as soon as its answer is out."""

    front: Front

    def elsewhere(self, held: bytes, end: int) -> bool:
        """Know no hosts."""
        return False

    def tunnels(self, target: str, here: str) -> bool:
        """Give none."""
        return False

    def hot(self, path: str) -> Kept | None:
        """Keep nothing."""
        return None

    def gave(self, kept: Kept, scope: Callable[[], Scope], head: bool) -> None:
        """Never."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer, and cut the line."""
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        for connection in self.front.connections:
            connection.transport.abort()
        await receive()


def test_a_client_that_is_gone_at_the_end_is_no_error(tmp_path: Path) -> None:
    app, errors = Abrupt(), list[Mapping[str, Any]]()

    async def run(listener: socket.socket) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
        app.front = Front(app, listener, tmp_path / "inner")
        await app.front.open()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(get(b"/x", b"connection: close\r\n"))
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        await app.front.close()

    with socket.create_server(("127.0.0.1", 0)) as listener, closing(uvloop.new_event_loop()) as on:
        on.run_until_complete(run(listener))
        gc.collect()
    assert errors == []
