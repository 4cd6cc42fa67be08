"""Turns for ever: jobs with names, each at its interval, one after the other.

Who failed is tried again soon, and then after longer and longer times; all times vary a little, so
that many who watch one server do not come all at once. The clock and chance are handed in: nothing
here knows the time.

Jobs take turns and do not overlap: each uses all of the machine. Whoever has been due for longest
comes first, so that none is forgotten for another.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Woken: TypeAlias = Literal["time", "reload", "stop"]

FIRST_RETRY: Final = 60.0
LONGEST_RETRY: Final = 3600.0
JITTER: Final = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done again and again. `run` tells whether it went well; it raises nothing.

    `interval` is in seconds, from the end of one turn to the beginning of the next.
    """

    name: str
    interval: float
    run: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Began:
    """A job's turn begins."""

    name: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn is over; the next one of this job begins in `next` seconds, if others let it."""

    name: str
    well: bool
    seconds: float
    failures: int
    next: float


@dataclass(frozen=True, slots=True)
class Resting:
    """Nothing is due for so many seconds; then it will be this job."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The jobs were asked for again."""

    names: tuple[str, ...]


Event: TypeAlias = Began | Ended | Resting | Reloaded


@dataclass(frozen=True, slots=True)
class _State:
    """When a job is due, and how often it has failed in a row."""

    due: float
    failures: int = 0


class Schedule:
    """Which job comes next, and when. `chance` gives numbers from 0 up to, not including, 1."""

    def __init__(self, jobs: Iterable[Job], chance: Callable[[], float], now: float) -> None:
        self._jobs: dict[str, Job] = {}
        self._states: dict[str, _State] = {}
        self._chance = chance
        self.replace(jobs, now)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all jobs, in the order in which they were given."""
        return tuple(self._jobs)

    def replace(self, jobs: Iterable[Job], now: float) -> None:
        """Go on with other jobs; one of an old name keeps its place, or comes sooner."""
        self._jobs = {job.name: job for job in jobs}
        states = {}
        for name, job in self._jobs.items():
            old = self._states.get(name)
            latest = now + self.pause(job, old.failures) if old else now
            states[name] = _State(min(old.due, latest), old.failures) if old else _State(now)
        self._states = states

    def next(self) -> tuple[Job, float]:
        """Return the job that is due first, and when."""
        name = min(self._jobs, key=lambda name: self._states[name].due)
        return self._jobs[name], self._states[name].due

    def ended(self, job: Job, well: bool, now: float) -> tuple[int, float]:
        """Note how a turn went; return the failures in a row, and the seconds until the next."""
        before = self._states.get(job.name, _State(now)).failures
        failures = 0 if well else before + 1
        pause = self.pause(job, failures)
        if job.name in self._states:
            self._states[job.name] = _State(now + pause, failures)
        return failures, pause

    def pause(self, job: Job, failures: int) -> float:
        """Return how long a job rests after so many failures in a row, with some chance in it."""
        rest = job.interval
        if failures:
            first, longest = min(FIRST_RETRY, rest), max(LONGEST_RETRY, rest)
            rest = min(first * 2.0 ** min(failures - 1, 60), longest)
        return rest * (1 + JITTER * (2 * self._chance() - 1))


def watch(
    schedule: Schedule,
    clock: Callable[[], float],
    wait: Callable[[float], Woken],
    reload: Callable[[], Iterable[Job]],
) -> Iterator[Event]:
    """Give all jobs their turns, until `wait` says to stop.

    `wait` sleeps for so many seconds (none: it only looks) and tells what woke it. `reload` gives
    the jobs anew.
    """
    told: float | None = None
    while True:
        job, due = schedule.next()
        rest = max(due - clock(), 0.0)
        if rest and told != due:
            told = due
            yield Resting(job.name, rest)
        woken = wait(rest)
        if woken == "stop":
            return
        if woken == "reload":
            schedule.replace(reload(), clock())
            told = None
            yield Reloaded(schedule.names)
        elif clock() >= due:
            yield Began(job.name)
            begun = clock()
            well = job.run()
            ended = clock()
            failures, pause = schedule.ended(job, well, ended)
            yield Ended(job.name, well, ended - begun, failures, pause)


def once(jobs: Iterable[Job], clock: Callable[[], float]) -> Iterator[Began | Ended]:
    """Give each job one turn."""
    for job in jobs:
        yield Began(job.name)
        begun = clock()
        well = job.run()
        yield Ended(job.name, well, clock() - begun, int(not well), job.interval)
