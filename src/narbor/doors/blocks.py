"""Blocks by name, many in one request: what narbors ask each other, and push to each other.

    POST /blocks/missing     names -> those of them that are not here
    POST /blocks/get         names -> the records of those that are here, in their order, and the
                             closing record: how many of the names are settled by this answer
                             stretches -> the same, packed behind what the asker has

With the token of a sender (`Authorization: Bearer TOKEN`):

    POST /blocks/missing     the same; what is here stays until the sender is done
    POST /blocks/put         records -> 204, when they are durable
    PUT  /blocks/kept/NAME   one CID -> 204, or 200 and what became of a cache's items;
                             202: ask again; 409 and the names of what is missing below it
    GET  /blocks/kept/NAME   -> the CID that is kept under this name

See docs/formats/exchange.md. Nobody is believed here: who gets blocks hashes them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final, Protocol

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.errors import Rejected
from narbor.formats import exchange
from narbor.formats.exchange import Outcome, Stretch
from narbor.names.cid import Cid

MISSING: Final = "/blocks/missing"
GET: Final = "/blocks/get"
PUT: Final = "/blocks/put"
_KEPT: Final = re.compile(r"/blocks/kept/([ -~]{1,200})")
_FRESH: Final = ("cache-control", "no-store")
_ONE_NAME: Final = 1024
NOTHING: Final = http.missing("nothing is kept under this name")


class Shelf(Protocol):
    """What this door asks of the library. All of it may raise Unavailable."""

    def missing(self, names: Sequence[Cid]) -> list[Cid]:
        """Return which of these are not here, in their order."""
        ...

    def records(self, stretches: Sequence[Stretch]) -> Iterator[bytes]:
        """Give the records of what is wanted and here, and the closing record."""
        ...

    def kept(self, name: str) -> Cid | None:
        """Return the root that is kept under a name, as `SENDER/NAME`."""
        ...


class Taker(Protocol):
    """Who takes what is pushed. All of it may raise Unavailable, and Rejected for bad blocks."""

    def missing(self, sender: str, names: Sequence[Cid]) -> list[Cid]:
        """Return which of these are not here; the others stay until the sender is done."""
        ...

    def put(self, sender: str, records: bytes) -> None:
        """Keep blocks, durably."""
        ...

    def keep(self, sender: str, name: str, root: Cid) -> Outcome | None:
        """Keep a root with all below it; None when that takes longer."""
        ...


@dataclass(frozen=True, slots=True)
class BlocksDoor:
    """The door between narbors. `tokens` are those of senders, by their names."""

    shelf: Shelf
    taker: Taker | None = None
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)

    def takes(self, request: Request) -> int:
        """Return how many bytes may come with a request."""
        if request.path in (MISSING, GET):
            return exchange.LARGEST_NAMES
        if request.path != PUT and _KEPT.fullmatch(request.path) is None:
            return 0
        if self._sender(request) is None:
            return 0
        return exchange.LARGEST_FRAMES if request.path == PUT else _ONE_NAME

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for another path."""
        kept = _KEPT.fullmatch(request.path)
        methods = ("GET", "PUT") if kept is not None else ("POST",)
        if kept is None and request.path not in (MISSING, GET, PUT):
            return None
        if request.method not in methods:
            return http.wrong_method(*methods)
        try:
            if request.path == MISSING:
                return self._missing(request)
            if request.path == GET:
                return self._get(request)
            return self._push(request, None if kept is None else kept[1])
        except Rejected as error:
            return http.text(400, str(error), _FRESH)

    def _missing(self, request: Request) -> Answer:
        if _type(request) != exchange.NAMES:
            return _other_type(exchange.NAMES)
        names = exchange.read_names(request.content)
        said = request.headers.get("authorization", "").lower()
        if self.taker is None or not said.startswith("bearer "):
            # Other credentials are for whoever stands in front of us.
            return _names(200, self.shelf.missing(names))
        sender = self._sender(request)
        if sender is None:
            return self._denied(request)
        return _names(200, self.taker.missing(sender, names))

    def _get(self, request: Request) -> Answer:
        match _type(request):
            case exchange.NAMES:
                stretches = [Stretch(tuple(exchange.read_names(request.content)))]
            case exchange.STRETCHES:
                stretches = exchange.read_stretches(request.content)
            case _:
                return _other_type(exchange.NAMES, exchange.STRETCHES)
        headers = (("content-type", exchange.FRAMES), _FRESH)
        return Answer(200, headers, self.shelf.records(stretches))

    def _push(self, request: Request, name: str | None) -> Answer:
        sender = self._sender(request)
        if sender is None or self.taker is None:
            return self._denied(request)
        if name is None:
            if _type(request) != exchange.FRAMES:
                return _other_type(exchange.FRAMES)
            self.taker.put(sender, request.content)
            return Answer(204, (_FRESH,))
        if request.method == "GET":
            root = self.shelf.kept(f"{sender}/{name}")
            return NOTHING if root is None else _names(200, [root])
        if _type(request) != exchange.NAMES:
            return _other_type(exchange.NAMES)
        names = exchange.read_names(request.content)
        if len(names) != 1:
            return http.text(400, f"one CID is to be kept under a name, not {len(names)}", _FRESH)
        return _told(self.taker.keep(sender, name, names[0]))

    def _sender(self, request: Request) -> str | None:
        """Return whose token came with a request; None where it is nobody's."""
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        given = said.strip().encode("utf-8", "surrogateescape")
        found = None
        # All are looked at, whichever it is: the time that takes tells nothing.
        for name, token in self.tokens.items():
            if compare_digest(token.encode(), given):
                found = name
        return found if scheme.lower() == "bearer" else None

    def _denied(self, request: Request) -> Answer:
        if self.taker is None or not self.tokens:
            return http.text(403, "nothing is taken in here: there are no push-tokens", _FRESH)
        wrong = "authorization" in request.headers
        said = "this token is nobody's here" if wrong else "a token is needed (Bearer)"
        return http.text(401, said, ("www-authenticate", 'Bearer realm="narbor"'), _FRESH)


def _told(outcome: Outcome | None) -> Answer:
    if outcome is None:
        return http.text(202, "under way; ask again", ("retry-after", "1"), _FRESH)
    if outcome.missing:
        return _names(409, outcome.missing)
    if not outcome.cache:
        return Answer(204, (_FRESH,))
    data = exchange.write_outcome(outcome)
    headers = (("content-type", "application/json"), ("content-length", str(len(data))), _FRESH)
    return Answer(200, headers, data)


def _names(status: int, names: Sequence[Cid]) -> Answer:
    data = exchange.write_names(names)
    length = ("content-length", str(len(data)))
    return Answer(status, (("content-type", exchange.NAMES), length, _FRESH), data)


def _type(request: Request) -> str:
    """Return the media type of what came, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _other_type(*types: str) -> Answer:
    return http.text(415, f"a body of the type {' or '.join(types)} is wanted", _FRESH)
