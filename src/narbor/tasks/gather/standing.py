"""How somebody whom we ask has done so far, and whether to ask again.

Failures set a source aside for growing times, bytes that lie for an hour. Everything here may be
called from any thread.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from narbor.blocks.narbor import NoNarbor
from narbor.errors import NarborError, Rejected

FIRST_REST: Final = 1.0  # seconds aside after a failure; twice as long after the next
LONGEST_REST: Final = 60.0
LIAR_REST: Final = 3600.0
_HOPE: Final = 0.05  # seconds that a source is believed to take until it has shown what it does
_WEIGHT: Final = 0.3  # of the newest measurement
_USUAL: Final = 1 << 20  # bytes; what a source takes for so much is what it is chosen by


@dataclass(frozen=True, slots=True)
class Count:
    """What came of asking a source. `seconds` is what an answer usually takes to begin.

    `resting` is how long it is still left alone, `last` why it failed the last time.
    """

    requests: int = 0
    blocks: int = 0
    bytes: int = 0
    missing: int = 0
    failures: int = 0
    lies: int = 0
    seconds: float = 0.0
    speed: float = 0.0
    resting: float = 0.0
    last: str = ""

    def plain(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


class Standing:
    """One source: its counts, its speed, and until when it is left alone."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._requests = self._blocks = self._bytes = self._missing = 0
        self._failures = self._lies = self._strikes = 0
        self._latency = self._speed = 0.0
        self._hits = 1.0
        self._until = 0.0
        self._last = ""

    def ready(self) -> bool:
        """Tell whether it may be asked."""
        return self._clock() >= self._until

    def asked(self) -> float:
        """Count a request; return the time at which it began."""
        with self._lock:
            self._requests += 1
        return self._clock()

    def gave(self, blocks: int, size: int, begun: float) -> None:
        """Count what came of a request that began at `begun`."""
        seconds = max(self._clock() - begun, 1e-6)
        with self._lock:
            self._blocks += blocks
            self._bytes += size
            self._strikes = 0
            if size >= _USUAL // 16:
                self._speed = _mean(self._speed, size / seconds)

    def began(self, begun: float) -> None:
        """Note that the answer to a request that began at `begun` begins now."""
        with self._lock:
            self._latency = _mean(self._latency, max(self._clock() - begun, 1e-6))

    def looked(self, had: int, lacked: int) -> None:
        """Note how much of what it was asked for it has."""
        with self._lock:
            self._missing += lacked
            if had + lacked:
                self._hits = _mean(self._hits, had / (had + lacked))

    def failed(self, error: NarborError) -> None:
        """Note a failure; one of the family Rejected is a lie."""
        with self._lock:
            self._failures += 1
            self._last = str(error)
            if isinstance(error, Rejected):
                self._lies += 1
                rest = LIAR_REST
            elif isinstance(error, NoNarbor):
                rest = LIAR_REST  # it will not learn our language within minutes
            elif self._clock() < self._until:
                rest = 0.0  # one of several requests that failed together
            else:
                rest = min(FIRST_REST * 2**self._strikes, LONGEST_REST)
                self._strikes = min(self._strikes + 1, 16)
            self._until = max(self._until, self._clock() + rest)

    def spoke_nonsense(self, error: NarborError) -> None:
        """Note an answer that is of no use, though the source may well be of use for others."""
        with self._lock:
            self._failures += 1
            self._last = str(error)

    def cost(self) -> float:
        """Return about how many seconds it takes for a MiB, more where it often has nothing."""
        seconds = self._latency or _HOPE
        if self._speed:
            seconds += _USUAL / self._speed
        return seconds / max(self._hits, 0.01)

    def usual(self) -> float:
        """Return the seconds that an answer usually takes to begin."""
        return self._latency or _HOPE

    def count(self) -> Count:
        """Return all counts."""
        with self._lock:
            return Count(
                self._requests,
                self._blocks,
                self._bytes,
                self._missing,
                self._failures,
                self._lies,
                round(self._latency, 4),
                round(self._speed),
                round(max(self._until - self._clock(), 0.0), 1),
                self._last,
            )


def _mean(before: float, now: float) -> float:
    return now if not before else before + _WEIGHT * (now - before)
