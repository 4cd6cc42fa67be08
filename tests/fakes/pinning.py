"""A pinning service on 127.0.0.1 (API 1.0.0). It pins nothing; tests say how requests get on."""

import itertools
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.server import Handler, HttpServer, Running

TOKEN = "s3cret"
JSON = {"Content-Type": "application/json"}
DELEGATES = ["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWPn8KMBh2yeooTiXpSyPz8DZaWP374KnZeY1ukzaen1sT"]


@dataclass
class FakeService(Running):
    """Requests by id. Set what shall go wrong:

    - `begins`: the state in which requests begin;
    - `faults`: statuses, headers and bodies that the next requests meet;
    - `page`: the most results on one page, whatever `limit` says;
    - `vague`: it passes over the filters by name.
    """

    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    begins: str = "queued"
    faults: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    page: int = 1000
    vague: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        super().__init__(HttpServer(partial(_Handler, self)))
        self.url = f"{self.url}/psa"

    def become(self, state: str, details: str = "") -> None:
        """Let all that is pending get to a state."""
        for request in self.requests.values():
            if request["status"] in ("queued", "pinning"):
                request["status"] = state
                request["info"] = {"status_details": details}

    def states(self) -> dict[str, str]:
        """Tell the state of each root; of several of one root, the last."""
        return {each["pin"]["cid"]: each["status"] for each in self.requests.values()}

    def make(self, pin: dict[str, Any]) -> dict[str, Any]:
        """Take a request to pin."""
        number = next(self._numbers)
        made = {
            "requestid": f"id/{number}?",
            "status": self.begins,
            "created": f"2026-11-21T00:00:{number:06.3f}Z",
            "pin": pin,
            "delegates": DELEGATES,
        }
        self.requests[f"id/{number}?"] = made
        return made

    def listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Answer a question for requests."""
        states = query.get("status", ["pinned"])[0].split(",")
        found = [each for each in self.requests.values() if each["status"] in states]
        if "name" in query and not self.vague:
            found = [each for each in found if each["pin"].get("name") == query["name"][0]]
        if "before" in query:
            found = [each for each in found if each["created"] < query["before"][0]]
        found.sort(key=lambda each: each["created"], reverse=True)
        most = min(self.page, int(query.get("limit", ["10"])[0]))
        return {"count": len(found), "results": found[:most]}


class _Handler(Handler[FakeService]):
    methods = ("GET", "POST", "DELETE")

    def serve(self) -> None:
        """List requests, tell of one, make one, put it in the place of another, remove one."""
        service, url = self.fake, urlsplit(self.path)
        body = self.asked().body
        service.asked.append((self.command, url.path))
        if service.faults:
            status, headers, said = service.faults.pop(0)
            self.send(status, {**headers, **JSON}, said)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._fail(401, "UNAUTHORIZED", "Access token is missing or invalid")
        elif url.path == "/psa/pins" and self.command == "GET":
            self.send(200, JSON, json.dumps(service.listed(parse_qs(url.query))).encode())
        elif url.path == "/psa/pins" and self.command == "POST":
            self._made(body)
        elif url.path.startswith("/psa/pins/"):
            self._one(unquote(url.path.removeprefix("/psa/pins/")), body)
        else:
            self._fail(404, "NOT_FOUND", "The specified resource was not found")

    def _one(self, id: str, body: bytes) -> None:
        service = self.fake
        if id not in service.requests:
            self._fail(404, "NOT_FOUND", "The specified resource was not found")
        elif self.command == "GET":
            self.send(200, JSON, json.dumps(service.requests[id]).encode())
        else:
            del service.requests[id]
            if self.command == "POST":
                self._made(body)
            else:
                self.send(202, JSON, b"")

    def _made(self, body: bytes) -> None:
        pin = json.loads(body)
        assert set(pin) <= {"cid", "name", "origins", "meta"} and len(pin["origins"]) <= 20, pin
        self.send(202, JSON, json.dumps(self.fake.make(pin)).encode())

    def _fail(self, status: int, reason: str, details: str) -> None:
        said = {"error": {"reason": reason, "details": details}}
        self.send(status, JSON, json.dumps(said).encode())
