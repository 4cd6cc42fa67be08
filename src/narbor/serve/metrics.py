"""What is counted, for `/metrics`.

With several workers each writes to files in one directory, and whichever is asked adds all up
(prometheus_client's multiprocess mode; PROMETHEUS_MULTIPROC_DIR must be set before this module is
imported, and a worker counts in it without asking). Hot answers are counted in a plain dictionary
first, which `settle` empties: one more file write for each would cost more than the answer.
"""

import os
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
# The library has no types for these two.
_collect: Callable[[CollectorRegistry, str], object] = multiprocess.MultiProcessCollector
_mark_dead: Callable[[int, str], None] = multiprocess.mark_process_dead

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """The counts of one worker; `text` gives those of all of them."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._own = CollectorRegistry()
        own = None if directory else self._own
        self._requests = Counter("narbor_requests", "Answers by status.", ["status"], registry=own)
        self._hot = Counter("narbor_ready_answers", "Answers given out of memory.", registry=own)
        self._seconds = Histogram(
            "narbor_answer_seconds",
            "Time until an answer that was not ready could begin.",
            buckets=SECONDS,
            registry=own,
        )
        self._bytes = Counter("narbor_body_bytes", "Bytes of bodies sent.", registry=own)
        self._open = Gauge(
            "narbor_bodies_open",
            "Bodies being streamed.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self._short = Counter(
            "narbor_bodies_short", "Bodies that ended early, by whose doing.", ["why"], registry=own
        )
        self._tally: Tally[int] = Tally()
        self._tallied = 0

    def ready(self, status: int, size: int) -> None:
        """Count an answer out of memory; cheap."""
        self._tally[status] += 1
        self._tallied += size

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer that was made."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    @contextmanager
    def body(self) -> Iterator[None]:
        """Count a body while it is on its way."""
        self._open.inc()
        try:
            yield
        finally:
            self._open.dec()

    def sent(self, size: int) -> None:
        """Count bytes of bodies."""
        self._bytes.inc(size)

    def short(self, why: str) -> None:
        """Count a body that ended early: `client` went away, or `library` failed."""
        self._short.labels(why).inc()

    def settle(self) -> None:
        """Write down what `ready` counted."""
        tally, self._tally = self._tally, Tally()
        tallied, self._tallied = self._tallied, 0
        self._bytes.inc(tallied)
        for status, count in tally.items():
            self._requests.labels(str(status)).inc(count)
            self._hot.inc(count)

    def text(self) -> bytes:
        """Return all counts of all workers, as Prometheus reads them."""
        self.settle()
        if self._directory is None:
            return generate_latest(self._own)
        _bury(self._directory)
        registry = CollectorRegistry()
        _collect(registry, str(self._directory))
        return generate_latest(registry)


def _bury(directory: Path) -> None:
    """Take the gauges of workers that died out of the sum."""
    for path in directory.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            _mark_dead(pid, str(directory))
        except PermissionError:
            continue
