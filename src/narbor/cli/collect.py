"""`narbor collect [--dry-run]`: let go of what nobody asks for, and free its room."""

import argparse
import time
from collections.abc import Iterator

from narbor import wiring
from narbor.cli import options, store
from narbor.cli.options import Commands
from narbor.cli.out import Bar, Out, amount
from narbor.config import Config
from narbor.errors import Unavailable
from narbor.library import Library
from narbor.tasks.keep import collect, quota
from narbor.tasks.keep.collect import Broken, Collected, Ended, Event, LetGo, Marked, Waiting
from narbor.tasks.keep.quota import Over, TooMuch

_PATIENCE = 600.0
_PAUSE = 1.0


class StillAdmitting(Unavailable):
    """Somebody has been admitting items for too long."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("collect", help="let go of what nobody asks for")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument(
        "--quota",
        type=options.size,
        metavar="SIZE",
        help="take out the oldest releases while more than this lies at rest",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Collect; 1 when an item that stays cannot be read, or the quota cannot be kept."""
    code = 0
    with (
        store.opened(args, write=not args.dry_run) as (config, library),
        out.bar("collect") as bar,
    ):
        over = args.quota or config.quota
        for step in _over(config, library, over) if over else ():
            code |= isinstance(step, TooMuch)
            _let_go(step, library, args.dry_run, out)
        for event in _patiently(_events(config, library, args.dry_run)):
            code |= isinstance(event, Broken)
            _show(event, args.dry_run, bar, out)
    return code


def _over(config: Config, library: Library, size: int) -> Iterator[Over | TooMuch]:
    """Give the releases that must go, by what the configuration says of their channels."""
    pinned = {(channel.name, name) for channel in config.channel for name in channel.pinned}
    return quota.excess(library, size, lambda each: (each.channel, each.name) in pinned)


def _let_go(step: Over | TooMuch, library: Library, dry_run: bool, out: Out) -> None:
    match step:
        case Over(channel, name, size):
            if not dry_run:
                library.catalogue.remove_release(channel, name)
            facts = {"event": "over", "channel": channel, "release": name, "bytes": size}
            out.event(facts, f"release {name} of {channel}: {amount(size)} that only it has")
        case TooMuch(size):
            reason = f"what may not go takes {amount(size)}, which is more than the quota"
            out.event({"event": "toomuch", "bytes": size}, None)
            out.warn(reason)


def _events(config: Config, library: Library, dry_run: bool) -> Iterator[Event]:
    if dry_run:
        return collect.preview(library)
    at = collect.Circumstances(int(time.time()), config.grace, wiring.process(), wiring.alive)
    return collect.collect(library, at)


def _patiently(events: Iterator[Event]) -> Iterator[Event]:
    """Give the events, sleeping where admissions must end first; raises StillAdmitting."""
    deadline = time.monotonic() + _PATIENCE
    for event in events:
        yield event
        if isinstance(event, Waiting):
            if time.monotonic() > deadline:
                names = ", ".join(each.process for each in event.admissions)
                raise StillAdmitting(f"{names} still admits items; collect again later")
            time.sleep(_PAUSE)


def _show(event: Event, dry_run: bool, bar: Bar, out: Out) -> None:
    match event:
        case Marked(items):
            bar.update(items, None)
        case Waiting(admissions):
            out.detail(f"waiting for {len(admissions)} admissions to end")
        case Ended(admission):
            out.detail(f"{admission.process} is no more; its admission is ended")
        case Broken(base, reason):
            out.event(
                {"event": "broken", "item": base, "reason": reason}, f"broken  {base}: {reason}"
            )
        case LetGo(base):
            out.event({"event": "letgo", "item": base}, f"let go  {base}")
        case Collected(items, room, freed, later):
            facts = {
                "event": "collected",
                "dryRun": dry_run,
                "items": items,
                "blocks": room.blocks,
                "bytes": room.bytes,
                "freed": freed,
                "later": later,
            }
            would = "would go" if dry_run else "went"
            text = f"{items:,} items and {room.blocks:,} blocks ({amount(room.bytes)}) {would}; "
            out.event(facts, f"{text}{amount(freed)} free now, {amount(later)} later")
