"""`narbor watch`: what the configuration says, for ever.

SIGTERM ends it in good order, at once: what was fetched is kept. SIGHUP makes it read the
configuration again, when the turn that is under way is over.
"""

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from random import Random
from types import FrameType

from narbor import config as configuration
from narbor import wiring
from narbor.cli import follow, publish, release, replicate
from narbor.cli.options import Commands
from narbor.cli.out import Out, duration
from narbor.config import Config
from narbor.errors import NarborError, Refused
from narbor.tasks import watch
from narbor.tasks.notify import Notifier
from narbor.tasks.watch import Began, Ended, Event, Job, Reloaded, Resting, Schedule, Woken

_WELL = (0, 1)  # 1: done but for what was listed; trying again soon would not mend it


class NothingToWatch(Refused):
    """The configuration names nothing that could be done again and again."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "watch",
        help="make releases, follow caches, publish and copy for ever, as the configuration says",
        epilog="SIGTERM ends it, SIGHUP makes it read the configuration again.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="only these channels and caches that are followed, `publish`, `WHAT to TARGET`",
    )
    parser.add_argument("--once", action="store_true", help="one turn for each, and no more")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Watch. With --once: 1 when a turn did not go well."""
    chosen = _jobs(args, out)
    if args.once:
        return _once(chosen, out)
    notifier = Notifier(os.environ.get("NOTIFY_SOCKET"))
    schedule = Schedule(chosen, Random().random, time.monotonic())
    with _Calls(notifier).heard() as calls:
        notifier.ready(f"watching {', '.join(schedule.names)}")
        try:
            steps = watch.watch(
                schedule, time.monotonic, calls.wait, lambda: _again(args, chosen, out)
            )
            for event in steps:
                _tell(event, notifier, out)
        except KeyboardInterrupt:
            if not calls.ended:
                raise
    out.say("ended")
    return 0


def _once(jobs: Sequence[Job], out: Out) -> int:
    bad = 0
    for event in watch.once(jobs, time.monotonic):
        _tell(event, Notifier(None), out)
        bad |= isinstance(event, Ended) and not event.well
    return bad


# --- jobs -----------------------------------------------------------------------------------------


def _jobs(args: argparse.Namespace, out: Out) -> list[Job]:
    """Return what the configuration says; raises BadConfig, NothingToWatch."""
    config = configuration.load(args.home, args.config)
    # What is published is what the others brought, and what is copied is what was published.
    jobs = {
        **_channels(config, out),
        **_followed(config, out),
        **_publishing(config, out),
        **_copied(config, out),
    }
    unknown = [name for name in args.names if name not in jobs]
    if unknown or not jobs:
        known = (
            ", ".join(jobs) or "no [[channel]], [[follow]], [[replicate]], no names in [publish]"
        )
        raise NothingToWatch(f"the configuration has {known}" + f", not {unknown}" * bool(unknown))
    return [jobs[name] for name in args.names or jobs]


def _again(args: argparse.Namespace, before: list[Job], out: Out) -> list[Job]:
    """Read the configuration again; one that is wrong changes nothing."""
    try:
        before[:] = _jobs(args, out)
    except Refused as error:
        out.warn(f"the configuration stays as it was: {error}")
    return before


def _channels(config: Config, out: Out) -> dict[str, Job]:
    def job(number: int) -> Job:
        channel = config.channel[number]

        def turn() -> bool:
            return _guarded(lambda: release.run(config, [channel], False, out), channel.name, out)

        return Job(channel.name, channel.interval, turn)

    return {config.channel[number].name: job(number) for number in range(len(config.channel))}


def _followed(config: Config, out: Out) -> dict[str, Job]:
    def job(number: int) -> Job:
        wanted = config.follow[number]

        def turn() -> bool:
            return _guarded(lambda: follow.run(config, wanted, out), wanted.name, out)

        return Job(wanted.name, wanted.interval, turn)

    return {config.follow[number].name: job(number) for number in range(len(config.follow))}


def _publishing(config: Config, out: Out) -> dict[str, Job]:
    def turn() -> bool:
        return _guarded(lambda: publish.turn(config, out), "publish", out)

    job = Job("publish", config.publish.interval, turn)
    return {job.name: job} if configuration.publishes(config) else {}


def _copied(config: Config, out: Out) -> dict[str, Job]:
    def job(number: int) -> Job:
        wanted = config.replicate[number]
        # A service takes its time: how far it is shows at the next turn.
        words = replicate.Words(wanted.target, wanted.what, wanted.name, wait=False)

        def once() -> int:
            with closing(wiring.open_library(config, write=True)) as library:
                return replicate.once(config, library, words, out)

        return Job(wanted.job, wanted.interval, lambda: _guarded(once, wanted.job, out))

    return {config.replicate[number].job: job(number) for number in range(len(config.replicate))}


def _guarded(turn: Callable[[], int], name: str, out: Out) -> bool:
    """Take a turn; whatever goes wrong is said, and does not end the watch."""
    try:
        return turn() in _WELL
    except (NarborError, OSError) as error:
        out.warn(f"{name}: {error}")
        return False


# --- calls from outside ---------------------------------------------------------------------------


class _Calls:
    """What signals ask for. They come at any time, also in the middle of a turn."""

    def __init__(self, notifier: Notifier) -> None:
        self.ended = False
        self._notifier = notifier
        self._reload = False
        self._called = threading.Event()

    @contextmanager
    def heard(self) -> Iterator["_Calls"]:
        """Listen while the context lasts."""
        before = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, self._end),
            signal.SIGHUP: signal.signal(signal.SIGHUP, self._read_again),
        }
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self, seconds: float) -> Woken:
        """Sleep until it is time, or somebody calls."""
        self._called.wait(seconds)
        self._called.clear()
        if self._reload:
            self._reload = False
            self._notifier.reloading(time.monotonic_ns() // 1000)
            return "reload"
        return "time"

    def _end(self, number: int, frame: FrameType | None) -> None:
        """End as Ctrl-C does, wherever we are; a second call is not needed."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.ended = True
        self._notifier.stopping()
        raise KeyboardInterrupt

    def _read_again(self, number: int, frame: FrameType | None) -> None:
        self._reload = True
        self._called.set()


def _tell(event: Event, notifier: Notifier, out: Out) -> None:
    if out.json:
        facts = {"event": type(event).__name__.lower(), **asdict(event)}
        out.event(facts)
    match event:
        case Began(name):
            notifier.status(f"{name}: under way since {time.strftime('%H:%M:%S')}")
            out.detail(f"{name}: begins")
        case Ended(name, well, seconds, failures, rest):
            said = "done" if well else f"failed ({failures} in a row)"
            out.say(f"{name}: {said} after {duration(seconds)}, next in {duration(rest)}")
        case Resting(name, seconds):
            notifier.status(f"{name} is next, in {duration(seconds)}")
        case Reloaded(names):
            notifier.ready(f"watching {', '.join(names)}")
            out.say(f"the configuration was read again: watching {', '.join(names)}")
