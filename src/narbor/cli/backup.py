"""`narbor backup DIR`: a copy of the store that is whole, made while others write to it."""

import argparse
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from narbor import config as configuration
from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Bar, Out, amount
from narbor.errors import Refused
from narbor.tasks.export.tree import Tree
from narbor.tasks.keep import backup
from narbor.tasks.keep.backup import Circumstances, Copied, Done, Event, Moved, Removed


class SameFolder(Refused):
    """A store should be copied into itself."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("backup", help="copy the store while it is in use")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="made if it is not there, else brought up to date"
    )
    parser.add_argument(
        "--copy",
        action="store_true",
        help="link no pack: the copy shares no bytes with the store",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Copy; the folder is a home that `narbor --home DIR` takes."""
    config = configuration.load(args.home, args.config)
    home, folder = config.home.resolve(), args.folder.resolve()
    if home == folder or home in folder.parents:
        raise SameFolder(f"{args.folder} is the store itself, or lies in it")
    if not (home / backup.CATALOGUE).exists():
        raise wiring.NoStore(f"there is no store in {home}: nothing to copy")
    tree = Tree(args.folder)
    with store.opened(args, write=True) as (_, library), tree.owned(()), out.bar("backup") as bar:
        at = Circumstances(int(time.time()), wiring.process(), wiring.alive, args.copy)
        with closing(backup.backup(library, home, tree, at)) as events:
            _follow(events, bar, out)
    return 0


def _follow(events: Iterable[Event], bar: Bar, out: Out) -> None:
    size = files = 0
    for event in events:
        facts = {"event": type(event).__name__.lower(), **asdict(event)}
        match event:
            case Moved(more, whole):
                size += more
                bar.update(files, None, size, whole, "files")
            case Copied(name, _, _) | Removed(name, _):
                files += 1
                if out.json or out.verbose:
                    out.event(facts, name)
            case Done(items, copied, whole) if not out.json:
                out.say(f"{items:,} items in {amount(whole)}, {amount(copied)} copied now")
            case Done():
                out.event(facts)
