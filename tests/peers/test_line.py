"""The line on which something happens in the middle of an answer."""

import threading
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.peers.line import Line

BODY = bytes(range(256)) * 4096


class _Answers(BaseHTTPRequestHandler):
    """Answers every GET with the same megabyte."""

    def do_GET(self) -> None:  # (the name that http.server asks for)
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _fetch(url: str) -> bytes:
    with closing(HTTPConnection(url.removeprefix("http://"))) as connection:
        connection.request("GET", "/", headers={"Range": "bytes=7-"})
        return connection.getresponse().read()


def test_changes_no_byte_and_calls_once() -> None:
    called = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        with Line(server.server_port, len(BODY) // 2, lambda: called.append(1)) as line:
            assert [_fetch(line.url) for _ in range(3)] == [BODY] * 3
            assert line.asked(rb"(?m)^range: bytes=7-") == 3
        with Line(server.server_port, 2 * len(BODY), lambda: called.append(2)) as line:
            assert _fetch(line.url) == BODY
            assert line.calls == 0
        server.shutdown()
    assert called == [1]


def test_without_a_server_connections_end() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        port = server.server_port
    with Line(port, 0, lambda: None) as line, pytest.raises((ConnectionError, IncompleteRead)):
        _fetch(line.url)
