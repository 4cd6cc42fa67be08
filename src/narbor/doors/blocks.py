"""Blocks by name, many in one request: what narbors ask each other.

    POST /blocks/missing    names -> those of them that are not here
    POST /blocks/get        names -> the records of those that are here, in their order, and the
                            closing record: for how many names they were looked for

Bodies are `application/vnd.narbor.names`: docs/formats/exchange.md. Nobody is believed here: who
asks hashes what comes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.formats import exchange
from narbor.names.cid import Cid

MISSING: Final = "/blocks/missing"
GET: Final = "/blocks/get"
_FRESH: Final = ("cache-control", "no-store")


class Shelf(Protocol):
    """What this door asks of the library. All of it may raise Unavailable."""

    def missing(self, names: Sequence[Cid]) -> list[Cid]:
        """Return which of these are not here, in their order."""
        ...

    def records(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give the records of those that are here, and the closing record."""
        ...


@dataclass(frozen=True, slots=True)
class BlocksDoor:
    """The door between narbors."""

    shelf: Shelf

    def takes(self, request: Request) -> int:
        """Return how many bytes may come with a request."""
        return exchange.LARGEST_NAMES if request.path in (MISSING, GET) else 0

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for another path."""
        if request.path not in (MISSING, GET):
            return None
        if request.method != "POST":
            return http.wrong_method("POST")
        wrong = _of_type(request, exchange.NAMES)
        if wrong is not None:
            return wrong
        try:
            names = exchange.read_names(request.content)
        except exchange.MalformedExchange as error:
            return http.text(400, str(error), _FRESH)
        if request.path == MISSING:
            return _names(200, self.shelf.missing(names))
        headers = (("content-type", exchange.FRAMES), _FRESH)
        return Answer(200, headers, self.shelf.records(names))


def _names(status: int, names: Sequence[Cid]) -> Answer:
    data = exchange.write_names(names)
    length = ("content-length", str(len(data)))
    return Answer(status, (("content-type", exchange.NAMES), length, _FRESH), data)


def _of_type(request: Request, type: str) -> Answer | None:
    """Return the answer to a body of another type; None if it is of this one."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said == type:
        return None
    return http.text(415, f"a body of the type {type} is wanted, not {said or 'of none'}", _FRESH)
