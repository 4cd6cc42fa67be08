"""Answers kept in memory, so that a hot path asks neither the library nor a thread.

An answer is good while the library's version is what it was. The version is looked at when the
last look is older than `FRESH` seconds; for `FRESH` more the kept answers are given meanwhile.
So nothing older than twice that is ever given.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from narbor.doors.http import Answer

FRESH: Final = 0.5
LIMIT: Final = 64 << 20
# What an answer weighs beside its body: the dictionaries, the header pairs, the head as bytes.
WEIGHT: Final = 2000

Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as servers take it: as the messages of ASGI, and as bytes of HTTP/1.1.

    `head` is the status line and the headers, without date and the empty line.
    """

    status: int
    start: Message
    body: Message
    head: bytes
    data: bytes

    @property
    def size(self) -> int:
        """The size of the body in bytes."""
        return len(self.data)


def kept(answer: Answer, data: bytes) -> Kept:
    """Spell an answer with the body `data` as messages."""
    if answer.header("content-length") is None:
        length = ("content-length", str(len(data)))
        answer = replace(answer, headers=(*answer.headers, length))
    first = start(answer)
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in first["headers"])
    status = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n".encode()
    return Kept(answer.status, first, finish(data), status + lines, data)


def start(answer: Answer) -> Message:
    """Spell status and headers as ASGI's first message."""
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in answer.headers]
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


def finish(data: bytes) -> Message:
    """Spell a whole body, or its last piece."""
    return {"type": "http.response.body", "body": data, "more_body": False}


class Ready:
    """The answers of one worker, the least used forgotten first. For one thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._weight = 0
        self._answers: OrderedDict[str, Kept] = OrderedDict()
        self._version: int | None = None
        self._looked = float("-inf")
        self.fresh_until = float("-inf")

    def get(self, path: str, now: float) -> Kept | None:
        """Return what is kept for `path`, unless the last look at the version is too old."""
        if now >= self.fresh_until + FRESH:
            return None
        found = self._answers.get(path)
        if found is not None:
            self._answers.move_to_end(path)
        return found

    def look(self, version: int, at: float) -> bool:
        """Take note that the version was `version` at `at`; all older answers go.

        Looks may come in late and out of order: False means that a later one has been here, so
        that what was made after this one may be out of date.
        """
        if at < self._looked:
            return version == self._version
        self._looked, self.fresh_until = at, at + FRESH
        if version != self._version:
            self._version = version
            self._answers.clear()
            self._weight = 0
        return True

    def keep(self, path: str, answer: Kept) -> None:
        """Keep an answer that was made after the last look."""
        weight = self._weigh(path, answer)
        if weight * 16 > self._limit:
            return
        before = self._answers.pop(path, None)
        if before is not None:
            self._weight -= self._weigh(path, before)
        self._answers[path] = answer
        self._weight += weight
        while self._weight > self._limit:
            oldest, gone = self._answers.popitem(last=False)
            self._weight -= self._weigh(oldest, gone)

    def __len__(self) -> int:
        return len(self._answers)

    @staticmethod
    def _weigh(path: str, answer: Kept) -> int:
        return len(path) + answer.size + WEIGHT
