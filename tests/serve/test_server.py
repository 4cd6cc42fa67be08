"""The server over real sockets: HTTP/1.1 and HTTP/2, slow clients, rude clients, short bodies."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from tests.fakes.library import FakeLibrary, world
from tests.serve.running import MEGABYTE, PATIENCE, Running, eventually, program


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run one server for the tests that do not end it."""
    with program(tmp_path_factory.mktemp("server"), size=400 * MEGABYTE) as running:
        yield running


def client_of(http2: bool) -> httpx.Client:
    """Return a client that speaks one version of HTTP."""
    return httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=PATIENCE)


def request(path: str) -> bytes:
    """Spell a request."""
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def read_answer(stream: BinaryIO) -> tuple[int, bytes]:
    """Read one answer off a connection."""
    status = int(stream.readline().split()[1])
    size = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    return status, stream.read(size)


@pytest.mark.parametrize("http2", [False, True])
def test_archives_and_their_parts(server: Running, http2: bool) -> None:
    library = FakeLibrary()
    with client_of(http2) as client:
        for item in world(library).values():
            url = f"http://127.0.0.1:{server.port}/nar/{item.seal.digest.nix32}.nar"
            whole = client.get(url)
            part = client.get(url, headers={"range": "bytes=100-"})
            assert whole.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert whole.content == library.archives[item.seal.digest]
            assert (part.status_code, part.content) == (206, whole.content[100:])


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    library = FakeLibrary()
    world(library)
    wanted = [f"/{part}.narinfo" for part in library.items] * 40
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(b"".join(map(request, wanted)))
        with client.makefile("rb") as stream:
            for path in wanted:
                status, body = read_answer(stream)
                assert status == 200
                assert path[1:33].encode() in body.partition(b"\n")[0]


def test_head_on_a_connection_that_goes_on(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    for path in ("/big", "/nix-cache-info", "/healthz", "/nothing", "/nix-cache-info"):
        connection.request("HEAD", path)
        head = connection.getresponse()
        assert head.read() == b""
        assert int(head.headers["content-length"]) > 0
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"ok\n"
    connection.close()


def test_a_slow_client_holds_the_body_back_and_ends_it_by_leaving(server: Running) -> None:
    before = server.probe()["made"]
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", server.port))
        client.sendall(request("/big"))
        client.recv(1)
        assert 0 < server.made_in_the_end() - before < 40 * MEGABYTE
        assert server.probe()["open"] == 1
    eventually(lambda: bool(server.probe()["open"] == 0))
    assert server.probe()["made"] - before < 40 * MEGABYTE


def test_a_slow_client_over_http2_as_well(server: Running) -> None:
    before = server.probe()["made"]
    url = f"http://127.0.0.1:{server.port}/big"
    with client_of(True) as client, client.stream("GET", url) as answer:
        next(answer.iter_raw())
        assert 0 < server.made_in_the_end() - before < 40 * MEGABYTE
    eventually(lambda: bool(server.probe()["open"] == 0))


@pytest.mark.parametrize("http2", [False, True])
def test_a_body_that_fails_ends_short_for_the_client(http2: bool, tmp_path: Path) -> None:
    with program(tmp_path, size=5 * MEGABYTE, breaks=3 * MEGABYTE) as running:
        url = f"http://127.0.0.1:{running.port}/big"
        with client_of(http2) as client, pytest.raises(httpx.RemoteProtocolError):
            client.get(url)
        assert "damaged" in running.log.read_text()
        assert running.probe()["open"] == 0
        assert running.get("/healthz") == (200, b"ok\n")


def test_a_body_that_fails_at_once_is_an_error(tmp_path: Path) -> None:
    with program(tmp_path, breaks=0) as running:
        assert running.get("/big")[0] == 503
