"""Long bodies in both directions: streamed, answered early, and read to the trailers."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes import certificate

from narbor.net.credentials import BadAddress
from narbor.net.duplex import Duplex
from narbor.net.wire import Lost, Options, Untrusted

Script = Callable[[socket.socket], None]


class Scripted:
    """A server that does to each connection, in turn, what a script says."""

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self._scripts = scripts
        self._context = context
        self.failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/a?b=c"

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()
        assert not self.failed, self.failed

    def _run(self) -> None:
        for script in self._scripts:
            try:
                plain, _ = self._listener.accept()
                plain.settimeout(20)
                with plain if self._context is None else self._secure(plain) as connection:
                    script(connection)
            except (ssl.SSLError, ConnectionError):
                continue
            except BaseException as error:
                self.failed.append(error)
                raise

    def _secure(self, plain: socket.socket) -> ssl.SSLSocket:
        assert self._context is not None
        return self._context.wrap_socket(plain, server_side=True)


def until(connection: socket.socket, end: bytes) -> bytes:
    """Read until `end` has come."""
    came = b""
    while end not in came:
        more = connection.recv(65536)
        assert more, came
        came += more
    return came


def to_the_end(connection: socket.socket) -> None:
    """Read until the client has gone."""
    while connection.recv(65536):
        pass


@pytest.fixture
def duplex() -> Iterator[Duplex]:
    made = Duplex(Options(read=20.0))
    yield made
    made.close()


def read(duplex: Duplex, url: str, content: Iterator[bytes] | None = None) -> tuple[object, ...]:
    with duplex.exchange("POST", url, {"X": "y"}, content) as reply:
        return reply.status, b"".join(reply.body), reply.trailers, reply.whole


def test_a_stream_goes_out_in_chunks_and_trailers_come_back(duplex: Duplex) -> None:
    came = []

    def script(connection: socket.socket) -> None:
        came.append(until(connection, b"0\r\n\r\n"))
        connection.sendall(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: X-Stream-Error\r\n\r\n3\r\none\r\n3\r\ntwo\r\n"
            b"0\r\nX-Stream-Error: it broke: here\r\n\r\n"
        )
        to_the_end(connection)

    with Scripted(script) as server:
        got = read(duplex, server.url, iter([b"some ", b"", b"thing" * 3]))
        assert got == (200, b"onetwo", {"x-stream-error": "it broke: here"}, True)
        duplex.close()
    head, _, body = came[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert body == b"5\r\nsome \r\nf\r\nthingthingthing\r\n0\r\n\r\n"


def test_connections_are_used_again(duplex: Duplex) -> None:
    def script(connection: socket.socket) -> None:
        for _ in range(3):
            assert b"content-length: 0" in until(connection, b"\r\n\r\n").lower()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        to_the_end(connection)

    with Scripted(script) as server:
        for _ in range(3):
            assert read(duplex, server.url)[:2] == (200, b"ok")
        duplex.close()


def test_a_connection_that_ended_while_idle_is_not_used(duplex: Duplex) -> None:
    ended = threading.Event()

    def script(connection: socket.socket) -> None:
        until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        ended.set()

    with Scripted(script, script) as server:
        for _ in range(2):
            assert read(duplex, server.url)[:2] == (200, b"ok")
            ended.wait()


def test_an_answer_that_comes_early_ends_the_request(duplex: Duplex) -> None:
    answered = threading.Event()
    given = []

    def script(connection: socket.socket) -> None:
        until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nfull")
        answered.set()
        to_the_end(connection)

    def endless() -> Iterator[bytes]:
        while True:
            given.append(1)
            yield b"x" * 1000
            answered.wait()

    with Scripted(script) as server:
        assert read(duplex, server.url, endless()) == (500, b"full", {}, False)
    assert len(given) < 10_000


def test_an_answer_is_read_though_nothing_more_is_taken(duplex: Duplex) -> None:
    def script(connection: socket.socket) -> None:
        until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        to_the_end(connection)

    with Scripted(script) as server:
        assert read(duplex, server.url, iter([b"x" * 4_000_000] * 10))[:2] == (403, b"no")


def test_what_the_content_raises_comes_through(duplex: Duplex) -> None:
    def content() -> Iterator[bytes]:
        yield b"some"
        raise KeyError("mine")

    with Scripted(to_the_end) as server, pytest.raises(KeyError, match="mine"):
        read(duplex, server.url, content())


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\none\r\n",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
def test_what_breaks_off_or_is_no_http_is_lost(duplex: Duplex, said: bytes) -> None:
    def script(connection: socket.socket) -> None:
        until(connection, b"\r\n\r\n")
        connection.sendall(said)

    with Scripted(script) as server, pytest.raises(Lost, match=r"^http://127.0.0.1:\d+/a"):
        read(duplex, server.url)


def test_nobody_there(duplex: Duplex) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Lost, match="refused"):
        read(duplex, f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("url", ["ftp://a/", "http:///x", "http://a:b/", "nothing"])
def test_what_is_no_address(duplex: Duplex, url: str) -> None:
    with pytest.raises(BadAddress):
        read(duplex, url)


def test_silence_has_an_end(duplex: Duplex) -> None:
    def script(connection: socket.socket) -> None:
        until(connection, b"\r\n\r\n")
        to_the_end(connection)

    with (
        Scripted(script) as server,
        pytest.raises(Lost, match="timed out"),
        duplex.exchange("POST", server.url, {}, None, silence=0.05),
    ):
        pass


def test_giving_up_ends_the_wait() -> None:
    over = threading.Event()
    duplex = Duplex(Options(read=1000.0), over)

    def script(connection: socket.socket) -> None:
        until(connection, b"\r\n\r\n")
        over.set()
        to_the_end(connection)

    with Scripted(script) as server, pytest.raises(Lost, match="given up"):
        read(duplex, server.url)


def test_who_we_are_is_said_and_never_shown(duplex: Duplex) -> None:
    came = []

    def script(connection: socket.socket) -> None:
        came.append(until(connection, b"\r\n\r\n"))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with Scripted(script) as server:
        url = server.url.replace("http://", "http://me:s3cret@")
        with duplex.exchange("POST", url, {}) as reply:
            assert reply.url == server.url
            assert b"".join(reply.body) == b""
    assert b"Authorization: Basic bWU6czNjcmV0\r\n" in came[0]


def test_tls_is_checked_and_spoken(tmp_path: Path) -> None:
    made = certificate.make(tmp_path / "pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)

    def script(connection: socket.socket) -> None:
        came = until(connection, b"0\r\n\r\n")
        assert came.count(b"x") >= 3000
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"
        )
        to_the_end(connection)

    with Scripted(script, script, context=context) as server:
        with pytest.raises(Untrusted):
            read(Duplex(Options(read=20.0)), server.url)
        duplex = Duplex(Options(read=20.0, ca_file=made))
        assert read(duplex, server.url, iter([b"x" * 1000] * 3)) == (200, b"ok", {"x": "y"}, True)
        duplex.close()
