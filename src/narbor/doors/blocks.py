"""Blocks by name, many in one request: what narbors ask each other.

    POST /blocks/missing    names -> those of them that are not here
    POST /blocks/get        names -> the records of those that are here, in their order, and the
                            closing record: how many of the names are settled by this answer
                            stretches -> the same, packed behind what the asker has

See docs/formats/exchange.md. Nobody is believed here: who asks hashes what comes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.formats import exchange
from narbor.formats.exchange import Stretch
from narbor.names.cid import Cid

MISSING: Final = "/blocks/missing"
GET: Final = "/blocks/get"
_FRESH: Final = ("cache-control", "no-store")


class Shelf(Protocol):
    """What this door asks of the library. All of it may raise Unavailable."""

    def missing(self, names: Sequence[Cid]) -> list[Cid]:
        """Return which of these are not here, in their order."""
        ...

    def records(self, stretches: Sequence[Stretch]) -> Iterator[bytes]:
        """Give the records of what is wanted and here, and the closing record."""
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
        try:
            return self._missing(request) if request.path == MISSING else self._get(request)
        except exchange.MalformedExchange as error:
            return http.text(400, str(error), _FRESH)

    def _missing(self, request: Request) -> Answer:
        if _type(request) != exchange.NAMES:
            return _other_type(exchange.NAMES)
        return _names(200, self.shelf.missing(exchange.read_names(request.content)))

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


def _names(status: int, names: Sequence[Cid]) -> Answer:
    data = exchange.write_names(names)
    length = ("content-length", str(len(data)))
    return Answer(status, (("content-type", exchange.NAMES), length, _FRESH), data)


def _type(request: Request) -> str:
    """Return the media type of what came, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _other_type(*types: str) -> Answer:
    return http.text(415, f"a body of the type {' or '.join(types)} is wanted", _FRESH)
