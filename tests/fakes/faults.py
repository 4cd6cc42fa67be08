"""What can go wrong on the way from a fake server, and what was asked of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """Answer with this status instead."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Instead:
    """Answer with this body instead, as if it were right."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reset:
    """Send so many bytes of the body, then end the connection.

    A hard end (TCP RST) may take some of the bytes with it that were sent already.
    """

    after: int
    hard: bool = False


@dataclass(frozen=True)
class Stall:
    """Send so many bytes of the body, then nothing until the client has gone."""

    after: int


@dataclass(frozen=True)
class Drip:
    """Send one byte after the other, for ever: of the body, or of the head."""

    head: bool = False


@dataclass(frozen=True)
class Mute:
    """Accept the request and never answer."""


@dataclass(frozen=True)
class Slow:
    """Think for so many seconds before the answer, as a Hydra does over a large evaluation."""

    seconds: float


@dataclass(frozen=True)
class NoRange:
    """Ignore `Range`: answer 200 with the whole."""


@dataclass(frozen=True)
class WrongRange:
    """Answer a range with one that begins elsewhere."""


@dataclass(frozen=True)
class Chunked:
    """Send the body in chunks, without saying its length."""


Fault = Status | Instead | Reset | Stall | Drip | Mute | Slow | NoRange | WrongRange | Chunked


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
