"""`narbor export DIR [PATH...]`: a folder that nginx, rsync or a USB stick can carry."""

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

from narbor import wiring
from narbor.catalogue import Release
from narbor.cli import options, store, tarballs
from narbor.cli.options import Commands
from narbor.cli.out import Bar, Out, amount
from narbor.errors import Refused
from narbor.formats import listing, packing
from narbor.library import Library
from narbor.names.item import Item
from narbor.tasks import export
from narbor.tasks.export import Done, Event, Options, cachetree
from narbor.tasks.export.asidetree import Beside
from narbor.tasks.export.cachetree import Deleted, Exported, Failed, Form
from narbor.tasks.export.releasetree import Carried
from narbor.tasks.export.tree import Tree


class NothingToExport(Refused):
    """What is named is not here, or no door would show it."""


class NoSuchForm(Refused):
    """Archives cannot be written so."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "export", help="write a plain binary cache, with channels, into a folder"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there")
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="only these, with all they refer to"
    )
    parser.add_argument(
        "--release",
        action="append",
        default=[],
        metavar="NAME",
        help="only this release, or the one that this channel is at (again and again)",
    )
    parser.add_argument(
        "--compression", choices=("zstd", "xz", "none"), default="zstd", help="of the archives"
    )
    parser.add_argument("--level", type=options.count, metavar="N", help="for xz: 1 to 9 (6)")
    parser.add_argument(
        "--views", action="store_true", help="in each release a cache of its own, of hard links"
    )
    parser.add_argument("--logs", action="store_true", help="write build logs too")
    parser.add_argument(
        "--listings", action="store_true", help="write the trees of items too, as HASH.ls"
    )
    parser.add_argument(
        "--delete", action="store_true", help="take away what is not exported (any more)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Export; 1 when something could not be."""
    level = _level(args.level, args.compression)
    with store.opened(args) as (config, library):
        if args.folder.resolve() == config.home.resolve():
            raise NothingToExport(f"{args.folder} is the home: export into another folder")
        roots, releases, unknown = _what(args, library)
        keys = wiring.signing_keys(config)
        form = Form(args.compression, level, keys, config.serve.priority, args.dry_run)
        beside = Beside(listing.write if args.listings else None, args.logs)
        how = Options(form, args.delete, args.views, beside)
        failed = _follow(args.folder, library, roots, releases, how, _expected(args, library), out)
        if library.revisions() and not (args.paths or args.release or args.dry_run):
            tarballs.export(library, args.folder / "tarballs", out)
    for reason in unknown:
        out.warn(f"failed: {reason}")
    return 1 if failed or unknown else 0


def _level(level: int | None, compression: str) -> int:
    if level is None:
        return packing.DEFAULT
    if compression != "xz":
        raise NoSuchForm(f"{compression} archives are as they are stored: --level goes with xz")
    if level not in packing.LEVELS:
        raise NoSuchForm("levels of xz go from 1 to 9")
    return level


def _expected(args: argparse.Namespace, library: Library) -> int | None:
    sizes = library.sizes()
    return None if args.paths or args.release else sizes.items - sizes.hidden


def _what(
    args: argparse.Namespace, library: Library
) -> tuple[Iterator[Item], list[Release], list[str]]:
    """Return the items to begin with, the releases, and what is asked for and is not here."""
    if not args.paths and not args.release:
        return cachetree.everything(library), published(library), []
    items: list[Item] = []
    unknown: list[str] = []
    for text in args.paths:
        try:
            items.append(_shown(library, text))
        except Refused as error:
            unknown.append(str(error))
    releases = [named(library, name) for name in args.release]
    if not items and not releases:
        raise NothingToExport("; ".join(unknown))
    listed = (item for each in releases for item in cachetree.listed(library, each))
    return _both(items, listed), releases, unknown


def _both(first: list[Item], second: Iterator[Item]) -> Iterator[Item]:
    yield from first
    yield from second


def _shown(library: Library, text: str) -> Item:
    item = library.resolve(text)
    if cachetree.shown(library, item.path.base) is None:
        lacking = ", ".join(library.catalogue.missing(item.path.base))
        raise NothingToExport(f"{item.path} is here without all it refers to: {lacking}")
    return item


def published(library: Library) -> list[Release]:
    """Return all releases that may be shown."""
    channels = library.channels()
    every = (each for channel in channels for each in library.releases(channel.name))
    return [each for each in every if each.published is not None]


def named(library: Library, name: str) -> Release:
    """Return the release of this name, or the one that the channel of this name is at."""
    channel = library.channel(name)
    if channel is not None and channel.current is None:
        raise NothingToExport(f"{name} has no release yet")
    wanted = name if channel is None or channel.current is None else channel.current
    for each in published(library):
        if each.name == wanted and (channel is None or each.channel == name):
            return each
    raise NothingToExport(f"{name} is no channel and no release (`narbor release list`)")


def _follow(
    folder: Path,
    library: Library,
    roots: Iterator[Item],
    releases: list[Release],
    how: Options,
    expected: int | None,
    out: Out,
) -> int:
    """Do it and tell; return how many items failed."""
    tree = Tree(folder)
    with ExitStack() as stack:
        if not how.form.dry:
            stack.enter_context(tree.owned(export.MARKS))
        bar = stack.enter_context(out.bar("export"))
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        now = int(time.time())
        events = export.export(library, tree, roots, releases, how, pool, now)
        stack.enter_context(closing(events))
        items = size = 0
        for event in events:
            if isinstance(event, Exported):
                items, size = items + 1, size + event.size
                bar.update(items, expected, size)
            if isinstance(event, Done):
                done = event
            _tell(event, how, bar, out)
    return done.failed


def _tell(event: Event, how: Options, bar: Bar, out: Out) -> None:
    facts = {"event": type(event).__name__.lower(), **asdict(event)}
    match event:
        case Exported(path, _, new, _):
            if new and (out.json or how.form.dry or out.verbose):
                out.event(facts, path)
        case Carried(name, _):
            if out.json or how.form.dry or out.verbose:
                out.event(facts, name)
        case Deleted(name, _):
            if out.json or how.form.dry or out.verbose:
                out.event(facts, f"delete {name}")
        case Failed(path, reason):
            if out.json:
                out.event(facts)
            else:
                bar.say(f"narbor: failed: {path}: {reason}")
        case Done():
            if out.json:
                out.event({**facts, "dryRun": how.form.dry})
            else:
                out.say(_summary(event, how.form.dry))


def _summary(done: Done, dry: bool) -> str:
    would = "would be " if dry else ""
    text = f"{done.items:,} items, {done.written:,} {would}written"
    text += f" and {done.files:,} other files ({amount(done.size)})" if done.files else ""
    text += "" if done.files else f" ({amount(done.size)})"
    text += (
        f", {done.deleted:,} files {would}deleted ({amount(done.freed)})" if done.deleted else ""
    )
    return text + (f", {done.failed:,} failed" if done.failed else "")
