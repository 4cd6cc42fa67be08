"""A Hydra on 127.0.0.1: answers as the real one does, counts, and fails as it is told.

Its wire forms were written down from NixOS/hydra (subprojects/hydra/lib/Hydra) and name the file
they are from: rows in hydra_tables.py, addresses in hydra_routes.py, content negotiation here.
`fail` plans what goes wrong on the way: 500, 429, silence, a broken connection, another body.
"""

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.fakes import hydra_routes
from tests.fakes.hydra_tables import NotFound, Tables
from tests.fakes.upstream import Asked, Drip, Fault, Instead, Mute, Reset, Stall, Status


@dataclass(frozen=True)
class Slow:
    """Think for so many seconds before the answer, as a Hydra does over a large evaluation."""

    seconds: float


class FakeHydra(Tables):
    """A server over its tables."""

    def __init__(self, local_store: bool = False) -> None:
        super().__init__(local_store)
        self.asked: list[Asked] = []
        self.stopping = threading.Event()
        self._plans: dict[str, Iterator[Fault | Slow]] = {}
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, path: str, *faults: Fault | Slow, always: bool = False) -> None:
        """Let the next requests for `path` (or for any with no plan, `*`) meet these faults."""
        plan: Iterable[Fault | Slow] = itertools.cycle(faults) if always else faults
        with self._lock:
            self._plans[path] = iter(plan)

    def counts(self) -> Counter[str]:
        """How often each path was asked for, its query included."""
        with self._lock:
            return Counter(asked.path for asked in self.asked)

    def note(self, asked: Asked) -> Fault | Slow | None:
        """Write a request down; return the fault planned for it."""
        with self._lock:
            self.asked.append(asked)
            plan = self._plans.get(asked.path) or self._plans.get("*")
            return next(plan, None) if plan is not None else None


class _Server(ThreadingHTTPServer):
    # Handlers that stall are let go when the fake stops.
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hydra: FakeHydra) -> None:
        self.hydra = hydra
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer, unless a fault is planned."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.server.hydra.note(Asked(self.command, self.path, headers, b""))
        match fault:
            case Status():
                self._send(fault.code, fault.headers, fault.body)
            case Instead():
                self._send(200, fault.headers, fault.body)
            case Mute():
                self.server.hydra.stopping.wait()
                self.close_connection = True
            case Slow():
                self.server.hydra.stopping.wait(fault.seconds)
                self._answer(None)
            case _:
                self._answer(fault)

    def _answer(self, fault: Fault | None) -> None:
        try:
            found = hydra_routes.answer(self.server.hydra, self.path)
        except NotFound as error:
            # Controller/Root.pm, end: an error is shown as what was asked for.
            self._show(404, {"error": str(error)}, True)
            return
        if found.location is not None:
            location = f"{self.server.hydra.url}{found.location}"
            self._send(302, {"Location": location, "Content-Type": "text/html"}, b"<a>moved</a>")
        elif found.plain is not None:
            headers = {
                "Content-Type": found.kind,
                "Content-Security-Policy": "sandbox allow-scripts",
            }
            self._send(200, headers, found.plain, fault)
        else:
            self._show(200, found.value, found.template, fault)

    def _show(self, code: int, value: object, template: bool, fault: Fault | None = None) -> None:
        """Base/Controller/REST.pm: JSON for who asks for it by name, else a page for people.

        `Accept: */*` is not by name: the default is text/html. Without a template that fails.
        """
        accepted = {
            each.partition(";")[0].strip() for each in self.headers.get("Accept", "").split(",")
        }
        if accepted & {"application/json", "text/x-json"}:
            headers = {"Content-Type": "application/json"}
            self._send(code, headers, json.dumps(value).encode(), fault)
        else:
            headers = {"Content-Type": "text/html; charset=utf-8"}
            self._send(code if template else 500, headers, b"<!DOCTYPE html><title>Hydra</title>")

    def _send(
        self, code: int, headers: dict[str, str], body: bytes, fault: Fault | None = None
    ) -> None:
        self.send_response(code)
        # Controller/Root.pm, begin: one address, two answers.
        for name, value in {"Vary": "Accept", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        match fault:
            case Reset(after, _):
                self.wfile.write(body[:after])
                self.close_connection = True
            case Stall(after):
                self.wfile.write(body[:after])
                self.wfile.flush()
                self.server.hydra.stopping.wait()
                self.close_connection = True
            case Drip():
                for at in range(len(body)):
                    if self.server.hydra.stopping.wait(0.001):
                        break
                    self.wfile.write(body[at : at + 1])
                    self.wfile.flush()
                self.close_connection = True
            case _:
                self.wfile.write(body)
