"""`narbor release ...`: make the releases of channels, look at them, move channels between them."""

import argparse
import time
from collections.abc import Iterator
from itertools import islice

from narbor import config as configuration
from narbor import wiring
from narbor.catalogue import Lacking, Release
from narbor.cli import channels, mirror, store
from narbor.cli.options import Commands
from narbor.cli.out import Out, amount
from narbor.config import Channel, Config
from narbor.errors import NarborError, Refused
from narbor.formats import releasepage
from narbor.library import Library
from narbor.net.http import Http
from narbor.tasks import mirror as mirroring
from narbor.tasks.mirror import Options
from narbor.tasks.release import make as making

SHOWN = 20


class NoSuchRelease(Refused):
    """A channel or release that is named is not here."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "release", help="make releases of channels, show them, move channels between them"
    )
    verbs = parser.add_subparsers(metavar="WHAT", required=True)
    one = verbs.add_parser(
        "make",
        help="make the newest release of each channel in the configuration",
        epilog="Exit codes: 0 all well · 1 some channels could not, or a release is held back, or "
        "lacks a file that is not as it should be · 2 the configuration is wrong · 3 nothing "
        "could be done",
    )
    one.add_argument("channels", nargs="*", metavar="CHANNEL", help="only these")
    one.add_argument(
        "--print-only",
        action="store_true",
        help="make nothing; print `url,filehash,size` of every NAR that is missing here",
    )
    one.set_defaults(run=make)
    several = verbs.add_parser("list", help="list the releases that are here")
    several.add_argument("channels", nargs="*", metavar="CHANNEL", help="only of these")
    several.set_defaults(run=show_all)
    show_ = verbs.add_parser("show", help="say what a release consists of, and what it lacks")
    show_.add_argument("channel", metavar="CHANNEL")
    show_.add_argument("release", nargs="?", metavar="RELEASE", help="without: the current one")
    show_.add_argument("--why", metavar="PATH", help="say why this path is missing")
    show_.set_defaults(run=show)
    _movers(verbs)


def _movers(verbs: Commands) -> None:
    for name, does, what in (
        ("promote", promote, "let a channel be at any release that is published"),
        ("remove", remove, "take out a release; `collect` frees its room"),
    ):
        each = verbs.add_parser(name, help=what)
        each.add_argument("channel", metavar="CHANNEL")
        each.add_argument("release", metavar="RELEASE")
        each.set_defaults(run=does)
    for name, does, what in (
        ("rollback", rollback, "let a channel go to the release before the one it is at"),
        ("freeze", freeze, "let a channel stand still: nothing is made, nothing moves it"),
        ("unfreeze", unfreeze, "let a channel move again"),
    ):
        each = verbs.add_parser(name, help=what)
        each.add_argument("channel", metavar="CHANNEL")
        each.set_defaults(run=does)


def make(args: argparse.Namespace, out: Out) -> int:
    """Make releases; one channel that fails stops no other."""
    config = configuration.load(args.home, args.config)
    return run(config, channels.chosen(config, args.channels), args.print_only, out)


def run(config: Config, wanted: list[Channel], print_only: bool, out: Out) -> int:
    """Make the releases of these channels; return the exit code."""
    library = wiring.open_library(config, write=True)
    try:
        with wiring.open_http(config) as http:
            if print_only:
                return channels.all_codes(
                    [_listed(config, channel, library, http, out) for channel in wanted]
                )
            return channels.all_codes(
                [channels.release(config, channel, library, http, out) for channel in wanted]
            )
    finally:
        library.close()


def _listed(config: Config, channel: Channel, library: Library, http: Http, out: Out) -> int:
    """Print what would be fetched for a channel."""
    try:
        terms = channels.terms(config, channel)
        plan = making.wanted(terms, channels.origin(config, channel, http), library)
        if plan is None:
            out.say(f"{channel.name}: nothing new")
            return 0
        sources = channels.upstreams(config, channel, http)
        how = Options(jobs=config.mirror.jobs, print_only=True)
        done = mirror.follow(mirroring.mirror(library, sources, making.needed(plan), how), out)
    except NarborError as error:
        out.warn(f"{channel.name}: {error}")
        return 2 if isinstance(error, Refused) else 3
    return 1 if done.failed else 0


def show_all(args: argparse.Namespace, out: Out) -> int:
    """List releases, the newest first, with where each channel is."""
    with store.opened(args) as (_, library):
        known = {channel.name: channel for channel in library.channels()}
        for name in args.channels:
            _require(library, name)
        for name, channel in known.items():
            if args.channels and name not in args.channels:
                continue
            for release in library.releases(name):
                current = release.name == channel.current
                state = _state(release, current, channel.frozen)
                date = releasepage.day(release.published or release.time)
                files = library.files(name, release.name)
                facts = _facts(release) | {
                    "current": current,
                    "frozen": channel.frozen,
                    "files": len(files),
                    "size": sum(file.seal.size for file in files),
                }
                out.event(facts, f"{name:<24}  {release.name:<40}  {date}  {state}")
    return 0


def _state(release: Release, current: bool, frozen: bool) -> str:
    if release.published is None:
        return "in the making"
    if current:
        return "current, frozen" if frozen else "current"
    return "published"


def _facts(release: Release) -> dict[str, object]:
    return {
        "channel": release.channel,
        "release": release.name,
        "evaluation": release.evaluation,
        "source": release.source,
        "revision": release.revision,
        "begun": release.time,
        "published": release.published,
    }


def show(args: argparse.Namespace, out: Out) -> int:
    """Show a release; 1 when paths are missing."""
    with store.opened(args) as (config, library):
        release = _release(library, args.channel, args.release)
        if args.why is not None:
            return _why(library, release, store.path_of(args.why, config.store).base, out)
        files = library.files(release.channel, release.name)
        without = library.catalogue.without(release.channel, release.name)
        lacking = list(library.catalogue.lacking(release.channel, release.name))
        paths = sum(1 for _ in library.catalogue.release_paths(release.channel, release.name))
        document = _facts(release) | {
            "paths": paths,
            "files": [
                {"name": f.name, "size": f.seal.size, "sha256": f.seal.digest.hex} for f in files
            ],
            "without": [{"what": what, "reason": reason} for what, reason in without],
            "missing": [_lacking(each, library.store) for each in lacking],
        }
        lines = [
            f"release     {release.name}",
            f"channel     {release.channel}",
            f"from        {release.source}",
            f"revision    {release.revision}",
            f"published   {_when(release)}",
            f"paths       {paths:,}, of which {len(lacking):,} are missing",
            *(f"file        {f.name}  {amount(f.seal.size)}  {f.seal.digest.hex}" for f in files),
            *(f"without     {what}: {reason}" for what, reason in without),
            *_missing_lines(lacking, out.verbose),
        ]
        out.result(document, "\n".join(lines))
        return 1 if lacking else 0


def _when(release: Release) -> str:
    if release.published is None:
        return "not yet"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(release.published))


def _missing_lines(lacking: list[Lacking], all: bool) -> Iterator[str]:
    for each in islice(lacking, None if all else SHOWN):
        yield f"missing     {each.base}: {channels.because(each)}"
    if len(lacking) > SHOWN and not all:
        yield f"missing     ... and {len(lacking) - SHOWN:,} more (-v lists them all)"


def _lacking(each: Lacking, place: str) -> dict[str, object]:
    return {
        "path": f"{place}/{each.base}",
        "here": each.here,
        "missing": list(each.missing),
        "reasons": [{"upstream": upstream, "reason": reason} for upstream, reason in each.reasons],
    }


def _why(library: Library, release: Release, base: str, out: Out) -> int:
    """Say why one path is missing; 1 when it is."""
    catalogue = library.catalogue
    listed = base in set(catalogue.release_paths(release.channel, release.name))
    absent = catalogue.absent(base)
    reasons = [
        (each.base, each.upstream, each.reason)
        for each in catalogue.failures()
        if each.base in absent
    ]
    document = {
        "path": f"{library.store}/{base}",
        "listed": listed,
        "here": library.item(base) is not None,
        "missing": list(absent),
        "reasons": [
            {"item": item, "upstream": upstream, "reason": reason}
            for item, upstream, reason in reasons
        ],
    }
    lines = [] if listed else [f"{release.name} does not list {base}"]
    if not absent:
        lines.append(f"{base} is here, with all it refers to")
    for item in absent:
        said = [f"{upstream}: {reason}" for of, upstream, reason in reasons if of == item]
        lines.append(f"{item} is missing: {'; '.join(said) or 'nobody was asked for it yet'}")
    out.result(document, "\n".join(lines))
    return 1 if absent else 0


def _require(library: Library, channel: str) -> None:
    if library.channel(channel) is None:
        known = ", ".join(each.name for each in library.channels())
        raise NoSuchRelease(f"there is no channel {channel} here (but {known or 'none'})")


def _release(library: Library, channel: str, name: str | None) -> Release:
    """Return the release that is named; without a name the current one, or the newest begun."""
    _require(library, channel)
    found = library.releases(channel)
    at = library.channel(channel)
    wanted = name or (at.current if at is not None else None)
    if wanted is None and found:
        return found[0]
    for each in found:
        if each.name == wanted:
            return each
    raise NoSuchRelease(f"{channel} has no release {wanted or 'yet'}")


def _moved(library: Library, channel: str, out: Out) -> int:
    found = library.channel(channel)
    current = None if found is None else found.current
    frozen = found is not None and found.frozen
    said = f"{channel} is at {current}" + (" and stands still" if frozen else "")
    out.result({"channel": channel, "current": current, "frozen": frozen}, said)
    return 0


def promote(args: argparse.Namespace, out: Out) -> int:
    """Move a channel to a release."""
    with store.opened(args, write=True) as (_, library):
        library.catalogue.promote(args.channel, args.release, int(time.time()))
        return _moved(library, args.channel, out)


def rollback(args: argparse.Namespace, out: Out) -> int:
    """Move a channel back by one release."""
    with store.opened(args, write=True) as (_, library):
        library.catalogue.rollback(args.channel, int(time.time()))
        return _moved(library, args.channel, out)


def freeze(args: argparse.Namespace, out: Out) -> int:
    """Let a channel stand still."""
    return _freeze(args, True, out)


def unfreeze(args: argparse.Namespace, out: Out) -> int:
    """Let a channel move again."""
    return _freeze(args, False, out)


def _freeze(args: argparse.Namespace, frozen: bool, out: Out) -> int:
    with store.opened(args, write=True) as (_, library):
        library.catalogue.freeze(args.channel, frozen, int(time.time()))
        return _moved(library, args.channel, out)


def remove(args: argparse.Namespace, out: Out) -> int:
    """Take out a release that the channel is not at."""
    with store.opened(args, write=True) as (_, library):
        if library.release(args.channel, args.release) is None:
            raise NoSuchRelease(f"{args.channel} has no release {args.release}")
        library.catalogue.remove_release(args.channel, args.release)
        out.result(
            {"channel": args.channel, "removed": args.release},
            f"{args.release} is taken out; `narbor collect` frees its room",
        )
    return 0
