"""A binary cache on 127.0.0.1 that serves what it is given, counts, and fails as it is told."""

import ssl
from functools import partial
from pathlib import Path

from tests.fakes.faults import Fault, NoRange, WrongRange
from tests.fakes.server import ANY, Faulty, HttpServer, Planned


class FakeCache(Planned):
    """Files by path. `fail` plans what goes wrong when a path is asked for next."""

    def __init__(self, certificate: Path | None = None) -> None:
        """With `certificate`, a PEM file with its key, it speaks TLS."""
        self.files: dict[str, bytes] = {"/nix-cache-info": b"StoreDir: /nix/store\nPriority: 40\n"}
        self.headers: dict[str, dict[str, str]] = {}
        server = HttpServer(partial(_Handler, self))
        super().__init__(server)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            self.url = f"https://{self.place}"


class _Handler(Faulty[FakeCache]):
    methods = ANY

    def answer(self, fault: Fault | None) -> None:
        """Give a file, or the part of it that is asked for."""
        body = self.fake.files.get(self.path)
        if body is None:
            self.give(404, {}, b"404 not found\n")
            return
        headers = {"Accept-Ranges": "bytes", **self.fake.headers.get(self.path, {})}
        start = 0
        ranged = self.headers.get("Range", "")
        tag = self.headers.get("If-Range")
        fresh = tag is None or tag == headers.get("ETag")
        if ranged and fresh and not isinstance(fault, NoRange):
            start = int(ranged.removeprefix("bytes=").partition("-")[0])
            said = start + isinstance(fault, WrongRange)
            headers["Content-Range"] = f"bytes {said}-{len(body) - 1}/{len(body)}"
        self.give(206 if "Content-Range" in headers else 200, headers, body[start:], fault)
