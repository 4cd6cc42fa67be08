"""What comes with requests: whole or refused, whoever sends it and however."""

import re
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fakes import certificate
from tests.serve.running import MEGABYTE, PATIENCE, Running, program
from tests.serve.test_front import LAST, answers, get, talk

LIMIT = 16 * MEGABYTE
BODY = Random(3).randbytes(200_000)
HEAD = b"host: x\r\nuser-agent: curl/8\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a server."""
    with program(tmp_path_factory.mktemp("bodies")) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a server that has room for little and waits for nobody."""
    with program(tmp_path_factory.mktemp("hasty"), uploads="300000,0.2,0.5,1000000") as running:
        yield running


def post(body: bytes, more: bytes = b"", path: bytes = b"/sent", method: bytes = b"POST") -> bytes:
    """Spell a request with a body of a length that is told."""
    length = b"content-length: %d\r\n" % len(body)
    return method + b" " + path + b" HTTP/1.1\r\n" + HEAD + length + more + b"\r\n" + body


def chunked(*chunks: bytes, more: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    """Spell a request whose body comes in chunks."""
    head = b"PUT /sent HTTP/1.1\r\n" + HEAD + b"transfer-encoding: chunked\r\n" + more + b"\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def told(body: bytes, method: str = "POST") -> tuple[int, bytes]:
    """Return the answer to a body that was taken."""
    return 200, f"{method} {len(body)} {sha256(body).hexdigest()}\n".encode()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000, LIMIT])
def test_a_body_is_taken_whole(server: Running, size: int) -> None:
    body = (BODY * (1 + size // len(BODY)))[:size]
    found = answers(talk(server, post(body), LAST))
    assert found == [told(body), (200, b"ok\n")]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 4000), max_size=6), st.lists(st.integers(1, 1500), max_size=3))
@example([1, 2, 3, 100, 200, 300], [1])
def test_bodies_may_come_in_any_pieces(server: Running, cuts: list[int], parts: list[int]) -> None:
    ends = [0, *sorted({*parts, 1500})]
    chunks = [BODY[a:b] for a, b in pairwise(ends)]
    said = b"".join(
        (post(BODY[:999]), get(b"/nix-cache-info"), chunked(*chunks), post(b""), get(b"/healthz"))
    )
    edges = [0, *sorted(cuts), len(said)]
    found = answers(talk(server, *(said[a:b] for a, b in pairwise(edges)), LAST))
    assert [status for status, _ in found] == [200] * 6
    assert [found[0], found[2], found[3]] == [
        told(BODY[:999]),
        told(BODY[:1500], "PUT"),
        told(b""),
    ]


def test_trailers_and_parameters_of_chunks_are_no_body(server: Running) -> None:
    said = chunked(b"abc", end=b"3;x=y\r\ndef\r\n0\r\nx-sum: 1\r\n\r\n")
    assert answers(talk(server, said, LAST))[0] == told(b"abcdef", "PUT")


def test_who_waits_to_be_told_is_told(server: Running) -> None:
    body = BODY[:50_000]
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(post(body, b"expect: 100-continue\r\n")[: -len(body)])
        heard = client.recv(1000)
        assert heard == b"HTTP/1.1 100 \r\n\r\n"
        client.sendall(body + LAST)
        rest = b""
        while piece := client.recv(1 << 16):
            rest += piece
    assert answers(rest) == [told(body), (200, b"ok\n")]


TOO_LONG = b"POST /sent HTTP/1.1\r\n" + HEAD + b"content-length: %d\r\n" % (LIMIT + 1)
REFUSED = {
    "too long": (TOO_LONG + b"\r\n", 413),
    "too long, not sent yet": (TOO_LONG + b"expect: 100-continue\r\n\r\n", 413),
    "far too long": (post(b"", b"").replace(b": 0\r", b": " + b"9" * 19 + b"\r"), 413),
    "no length of ours": (post(b"").replace(b": 0\r", b": 0x10\r"), 400),
    "two lengths": (post(b"", b"content-length: 5\r\n"), 400),
    "packed": (post(b"abc", b"content-encoding: gzip\r\n"), 415),
    "packed twice": (post(b"abc", b"content-encoding: br, zstd\r\n"), 415),
    "no chunk": (chunked(b"abc", end=b"xyz\r\n"), 400),
    "a chunk of less than nothing": (chunked(b"abc", end=b"-1\r\n"), 400),
    "a chunk that ends elsewhere": (chunked(end=b"3\r\nabcdef\r\n0\r\n\r\n"), 400),
    "many small chunks": (chunked(*(b"x" for _ in range(3000))), 400),
    "nobody wants it": (post(BODY, path=b"/nix-cache-info"), 405),
    "nobody is there": (post(BODY, path=b"/nothing"), 404),
    "a method that sends nothing": (post(BODY, method=b"PATCH", path=b"/nothing"), 404),
}


@pytest.mark.parametrize(("said", "status"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_refused(server: Running, said: bytes, status: int) -> None:
    found = answers(talk(server, said + LAST))
    assert found[0][0] == status, found
    assert len(found[0][1]) > 5
    # Where all of the body had come, the connection goes on.
    assert found[1:] in ([], [(200, b"ok\n")])
    assert server.get("/healthz") == (200, b"ok\n")


def test_a_body_in_chunks_that_goes_on_and_on(server: Running) -> None:
    piece = b"%x\r\n%s\r\n" % (MEGABYTE, bytes(MEGABYTE))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(chunked(end=b""))
        sent = 0
        while not select.select([client], [], [], 0)[0]:
            client.sendall(piece)
            sent += MEGABYTE
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
        assert LIMIT <= sent < 10 * LIMIT
    assert server.get("/healthz") == (200, b"ok\n")


def test_who_leaves_in_the_middle_is_forgotten(server: Running) -> None:
    for said in (post(BODY)[:-5], chunked(b"abc", end=b""), chunked(end=b"5\r\nab")):
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
                client.sendall(said)
    assert answers(talk(server, post(BODY), LAST))[0] == told(BODY)


def test_who_is_slow_is_let_go(hasty: Running) -> None:
    for said in (post(BODY)[:-5], chunked(b"abc", end=b""), post(BODY)[: -len(BODY)]):
        ((status, text),) = answers(talk(hasty, said))
        assert status == 408 and b"1000000 bytes/s" in text
    assert answers(talk(hasty, post(BODY), LAST))[0] == told(BODY)


def test_only_so_much_is_taken_in_at_once(tmp_path: Path) -> None:
    """One has taken most of the room: who needs little gets in beside it, who needs more waits."""
    with (
        program(tmp_path, uploads="300000,0.2,60,1000") as running,
        socket.create_connection(("127.0.0.1", running.port), PATIENCE) as first,
    ):
        first.sendall(post(BODY, b"expect: 100-continue\r\n")[: -len(BODY)])
        assert first.recv(100).startswith(b"HTTP/1.1 100 ")
        heard = talk(running, post(BODY) + LAST)
        assert answers(heard)[0][0] == 503
        assert b"\r\nretry-after: " in heard.lower()
        assert answers(talk(running, post(b"little"), LAST))[0] == told(b"little")
        first.sendall(BODY + LAST)
        with first.makefile("rb") as stream:
            assert answers(stream.read())[0] == told(BODY)
        assert answers(talk(running, post(BODY), LAST))[0] == told(BODY)


def peak(running: Running) -> int:
    """Return the most memory that the worker had, in MB."""
    text = Path(f"/proc/{running.probe()['pid']}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) // 1024


def test_many_who_send_at_once_do_not_fill_the_memory(tmp_path: Path) -> None:
    body = BODY * (LIMIT // len(BODY))
    with program(tmp_path, uploads="67108864,60,60,1000") as running:
        before = peak(running)

        def send(_: int) -> bool:
            return answers(talk(running, post(body), LAST))[0] == told(body)

        with ThreadPoolExecutor(100) as pool:
            assert all(pool.map(send, range(100)))
        # Room for 64 MiB of bodies, twice where pieces are joined, and what waits at the doors.
        assert peak(running) - before < 200


@contextmanager
def client_of(folder: Path, tls: bool) -> Iterator[tuple[Running, httpx.Client]]:
    """Run a server with TLS or without, and a client that speaks HTTP/2 to it."""
    pem = certificate.make(folder / "cert.pem")
    said: dict[str, object] = {"tls_cert": pem, "tls_key": pem} if tls else {}
    with program(folder, None, uploads="20000000,1,1,1000000", **said) as running:
        base = f"http{'s' * tls}://127.0.0.1:{running.port}"
        client = httpx.Client(
            http1=False, http2=True, trust_env=False, timeout=PATIENCE, verify=False, base_url=base
        )
        with closing(client):
            yield running, client


@pytest.mark.parametrize("tls", [False, True])
def test_the_same_over_http2(tmp_path: Path, tls: bool) -> None:
    with client_of(tmp_path, tls) as (_, client):
        for body in (b"", b"x", BODY, BODY * 80):
            answer = client.post("/sent", content=body)
            assert answer.http_version == "HTTP/2"
            assert (answer.status_code, answer.content) == told(body)
        pieces = (BODY[at : at + 999] for at in range(0, len(BODY), 999))
        assert client.put("/sent", content=pieces).content == told(BODY, "PUT")[1]
        packed = client.post("/sent", content=b"x", headers={"content-encoding": "gzip"})
        assert packed.status_code == 415
        assert client.post("/nix-cache-info", content=b"x").status_code == 405
        assert client.post("/sent", content=BODY).content == told(BODY)[1]


def test_too_long_over_http2(tmp_path: Path) -> None:
    with client_of(tmp_path, False) as (running, client):
        # The stream is reset while the client still sends, which some clients tell in place of 413.
        with suppress(httpx.HTTPError):
            answer = client.post("/sent", content=bytes(LIMIT + 1), timeout=5)
            assert answer.status_code == 413
        assert running.get("/healthz") == (200, b"ok\n")
