"""Requests and answers as values, and the grammar all doors share: ranges, conditions, failures.

    Request ──▶ Door ──▶ Answer            `ask` tries the doors in turn
                  │
               Entity ──▶ `give`           conditions (RFC 9110, 13), one range (14), HEAD

A door says what a resource *is* (its type, size, ETag and how to read it); `give` says what of it
goes out. An ETag here is always strong: it stands for bytes that never change under it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

from narbor.errors import NarborError, Refused, Rejected, Unavailable

IMMUTABLE: Final = "public, max-age=31536000, immutable, no-transform"
# Families are asked in this order. What is Rejected here is what we keep, not what was asked:
# a door that reads a name out of a path answers 404 itself.
STATUS: Final = ((Refused, 400), (Unavailable, 503), (Rejected, 502), (NarborError, 500))
READING: Final = ("GET", "HEAD")
SENDING: Final = ("POST", "PUT")

_TAG = re.compile(r'\s*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
# Twenty digits are more than any size; int() need never meet thousands of them.
_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,20})\s*-\s*([0-9]{0,20})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks. `path` is percent-decoded, header names are in lower case.

    `content` is the body, of POST and PUT only, and only where a door takes one: see `Taking`.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out. Header names are in lower case.

    A streamed body without a content-length goes out in chunks; one that fails ends for all to see.

    `ready` says that every plain GET of the same path gets the same answer until the library
    changes, so that it may be kept in memory and given again, where its body is small. `final`: no
    other door may try, whatever the status.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterator[bytes] = b""
    ready: bool = False
    final: bool = False

    def header(self, name: str) -> str | None:
        """Return the value of the header `name` (lower case), None where there is none."""
        return next((value for key, value in self.headers if key == name), None)


class Door(Protocol):
    """One protocol spoken over HTTP."""

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None when the path is none of this door's; raises NarborError."""
        ...


@runtime_checkable
class Taking(Protocol):
    """A door that wants to read what comes with some requests."""

    def takes(self, request: Request) -> int:
        """Return how many bytes may come with a request whose body is not read yet; 0: none.

        Quick, and of the head alone: it is asked before anything is let in.
        """
        ...


@dataclass(frozen=True, slots=True)
class Entity:
    """What a path names, before anybody has asked for a part of it.

    `read(start, stop)` gives the bytes [start, stop); `etag` is written without its quotes.
    With `ranges`, the bytes must be the same for ever: Nix resumes without If-Range.
    """

    type: str
    size: int
    read: Callable[[int, int], Iterator[bytes]]
    etag: str
    cache: str
    ranges: bool = False

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(f'"{self.etag}"'):
            raise Refused(f"{self.etag!r} cannot stand in an ETag")


def ask(doors: Iterable[Door], request: Request) -> Answer:
    """Return the answer of the first door that has what is asked for; never raises NarborError.

    Doors may share a shape of path (Nix and Guix both have `/HASH.narinfo`), so a door that knows
    the path but not the thing (404), or not the method (405), lets the next one try.
    """
    absent: Answer | None = None
    for door in doors:
        try:
            answer = door.answer(request)
        except NarborError as error:
            answer = failed(error)
        if answer is not None and (answer.final or answer.status not in (404, 405)):
            return bare(answer) if request.method == "HEAD" else answer
        absent = absent or answer
    absent = absent or missing("nothing is served here")
    return bare(absent) if request.method == "HEAD" else absent


def takes(doors: Iterable[Door], request: Request) -> int:
    """Return how many bytes may come with a request; 0 where no door wants any."""
    if request.method not in SENDING:
        return 0
    return max((door.takes(request) for door in doors if isinstance(door, Taking)), default=0)


def bare(answer: Answer) -> Answer:
    """Return what HEAD gets for what GET would get: the same headers and no body."""
    if isinstance(answer.body, bytes):
        if not answer.body or answer.header("content-length") is not None:
            # Without a body it may be that of a stream, whose length nobody knows.
            return replace(answer, body=b"")
        length = ("content-length", str(len(answer.body)))
        return replace(answer, headers=(*answer.headers, length), body=b"")
    close(answer.body)
    return replace(answer, body=b"")


def close(body: Iterator[bytes]) -> None:
    """Let go of a body that nobody will read to its end."""
    closing = getattr(body, "close", None)
    if closing is not None:
        closing()


def give(request: Request, entity: Entity) -> Answer:
    """Answer GET or HEAD of `entity`: conditions first, then the range, as RFC 9110 13.2.2 says.

    One range is honoured; several are answered with the whole, as is a range nobody can read.
    """
    tag = f'"{entity.etag}"'
    headers = [("etag", tag), ("cache-control", entity.cache)]
    if entity.ranges:
        headers.append(("accept-ranges", "bytes"))
    wanted, known = request.headers.get("if-match"), request.headers.get("if-none-match")
    if wanted is not None and not _names(wanted, tag, strong=True):
        return text(412, "the bytes under this name are others")
    if known is not None and _names(known, tag, strong=False):
        return Answer(304, tuple(headers))
    status, start, stop = 200, 0, entity.size
    if _ranged(request, entity, tag):
        part = parse_range(request.headers["range"], entity.size)
        if part is not None and part[0] >= part[1]:
            return unsatisfiable(entity.size)
        if part is not None:
            status, (start, stop) = 206, part
            headers.append(("content-range", f"bytes {start}-{stop - 1}/{entity.size}"))
    headers += [("content-type", entity.type), ("content-length", str(stop - start))]
    body = entity.read(start, stop) if request.method == "GET" else b""
    return Answer(status, tuple(headers), body, ready=status == 200 and entity.ranges)


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """Read a Range header against `size` bytes: [start, stop), or None when it is to be ignored.

    An empty pair (start == stop) means that the range can be read but not satisfied.
    """
    match = _RANGE.fullmatch(value.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        # An empty entity has no last byte to name: the whole of it is the answer.
        return None if size == 0 and int(match[2]) else (size - length, size)
    start, last = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    return (start, min(last + 1, size)) if start < size else (size, size)


def document(
    request: Request, data: bytes, type: str, cache: str, etag: str, ready: bool = False
) -> Answer:
    """Answer with a small text that is already in memory."""

    def read(start: int, stop: int) -> Iterator[bytes]:
        return iter((data[start:stop],))

    answer = give(request, Entity(type, len(data), read, etag, cache))
    if answer.status != 200:
        return answer
    return replace(answer, body=data if request.method == "GET" else b"", ready=ready)


def text(status: int, message: str, *headers: tuple[str, str], ready: bool = False) -> Answer:
    """Answer with one line for a person."""
    body = message.encode("utf-8", "backslashreplace") + b"\n"
    plain = (("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))))
    return Answer(status, (*plain, *headers), body, ready)


def missing(message: str, seconds: int = 0, ready: bool = False) -> Answer:
    """Answer 404; `seconds` is how long others may remember it."""
    cache = f"public, max-age={seconds}" if seconds else "no-store"
    return text(404, message, ("cache-control", cache), ready=ready)


def wrong_method(*allowed: str) -> Answer:
    """Answer 405, naming the methods that would do."""
    names = ", ".join(allowed)
    return text(405, f"only {names} here", ("allow", names))


def unsatisfiable(size: int) -> Answer:
    """Answer 416, telling how many bytes there are."""
    return text(416, f"there are {size} bytes here", ("content-range", f"bytes */{size}"))


def failed(error: NarborError) -> Answer:
    """Answer for an error, by its family; Nix 2.35 waits a minute after a 503 without a time."""
    status = next(status for family, status in STATUS if isinstance(error, family))
    wait = (("retry-after", "1"),) if status == 503 else ()
    return text(status, str(error), ("cache-control", "no-store"), *wait)


def _ranged(request: Request, entity: Entity, tag: str) -> bool:
    """Tell whether a Range header counts: for GET alone (RFC 9110, 14.2), and if If-Range holds.

    A date in If-Range never holds, since nothing here has a Last-Modified.
    """
    if not entity.ranges or request.method != "GET" or "range" not in request.headers:
        return False
    condition = request.headers.get("if-range")
    return condition is None or condition.strip() == tag


def knows(request: Request, tag: str) -> bool:
    """Tell whether If-None-Match names `tag`, quotes and all, which may be a weak one."""
    known = request.headers.get("if-none-match")
    return known is not None and _names(known, tag.removeprefix("W/"), strong=False)


def _names(condition: str, tag: str, strong: bool) -> bool:
    """Tell whether a list of ETags (or `*`) names `tag`; a weak one does not count if `strong`."""
    if condition.strip() == "*":
        return True
    at = 0
    while match := _TAG.match(condition, at):
        if match[2] == tag and not (strong and match[1]):
            return True
        if match.end() == at:
            break
        at = match.end()
    return False
