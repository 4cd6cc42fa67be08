"""Rows of the benchmark table: a figure, the peer's figure in the same run, the ratio, the bar."""

import gc
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ratio` is ours over the peer's, where more is better.

    `reached` tells how many times the bar is reached, above 1 or below.
    """

    work: str
    ours: str
    peer: str
    ratio: float
    bar: str
    reached: float

    @property
    def held(self) -> bool:
        """Whether the bar is reached."""
        return self.reached >= 1

    def as_dict(self) -> dict[str, object]:
        """Return the row as JSON has it."""
        return {**asdict(self), "held": self.held}

    def __str__(self) -> str:
        return f"{self.work}: {self.ours} ({self.peer}), {self.ratio:.3g}; bar {self.bar}"


def seconds(work: Callable[[], object], runs: int = 3) -> float:
    """Return the median wall time of `work` in seconds."""
    times = []
    for _ in range(runs):
        gc.collect()
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return statistics.median(times)


def versus(
    ours: Callable[[], object], theirs: Callable[[], object], turns: int = 3
) -> tuple[float, float, float]:
    """Return the median seconds of both, and the median of how many times faster we are.

    They take turns: what else runs on the machine then slows both.
    """
    times = [(seconds(ours, 1), seconds(theirs, 1)) for _ in range(turns)]
    return (
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(b / a for a, b in times),
    )


def rate(size: float, time: float) -> str:
    """Spell a rate in MB/s (1,000,000 bytes)."""
    return f"{size / time / 1e6:,.0f} MB/s"


def at_least(work: str, ours: str, peer: str, ratio: float, bar: float, against: str) -> Row:
    """Make a row whose ratio must reach the bar."""
    return Row(work, ours, f"{against}: {peer}", ratio, f">= {bar:g}", ratio / bar)


def at_most(work: str, ours: str, value: float, bar: float, unit: str) -> Row:
    """Make a row whose value must stay below the bar; it stands beside no peer."""
    return Row(work, ours, "-", value, f"<= {bar:g} {unit}", bar / value)
