"""Doors behind a plain HTTP server in this process: for clients whose other end is ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from urllib.parse import unquote

from narbor.doors import http
from narbor.doors.http import Door, Request
from tests.fakes.server import ANY, Handler, HttpServer, Running


@contextmanager
def serving(*doors: Door) -> Iterator[str]:
    """Serve doors; give the URL."""
    with Running(HttpServer(partial(_Handler, doors))) as running:
        yield running.url


class _Handler(Handler[Sequence[Door]]):
    """Bodies end with their connection: some doors do not say how long they are."""

    protocol_version = "HTTP/1.0"
    methods = ANY

    def serve(self) -> None:
        """Ask the doors."""
        asked = self.asked()
        path, _, query = asked.path.partition("?")
        request = Request(asked.method, unquote(path), query, asked.headers, asked.body)
        answer = http.ask(self.fake, request)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.writelines([answer.body] if isinstance(answer.body, bytes) else answer.body)
