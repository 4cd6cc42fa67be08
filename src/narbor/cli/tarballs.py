"""`narbor tarballs [CHANNEL...]`: the sources that a nixpkgs is built from, each by its hash."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from narbor import config as configuration
from narbor import wiring
from narbor.cli import options, store
from narbor.cli.options import Commands
from narbor.cli.out import Bar, Out, amount
from narbor.config import Channel, Config
from narbor.errors import NarborError, Refused
from narbor.formats import mirrors, sources, streams
from narbor.formats.mirrors import BUILT_IN, Mirrors
from narbor.library import Library
from narbor.names.tarball import Unfetched
from narbor.tasks import tarballs
from narbor.tasks.export import tarballtree
from narbor.tasks.tarballs import (
    Done,
    Event,
    Failed,
    Fetched,
    Linked,
    Options,
    Wanted,
    checkouts,
    nixpkgs,
)

MANY = 20
_EXPRESSIONS = {"nixexprs.tar.xz": "xz", "nixexprs.tar.gz": "gzip"}
_UNPACKED = 8 << 30


class NothingAskedFor(Refused):
    """A call names no channel and no list, and the configuration has no channel with tarballs."""


class NoList(Refused):
    """A list of sources cannot be read, or not be made here."""


class NoRevision(Refused):
    """It is not known of which revision a list is, or a revision is not here."""


@dataclass(frozen=True, slots=True)
class _Job:
    """The sources of one revision. `listed` makes the list, and says where mirrors are."""

    title: str
    revision: str
    listed: Callable[[], tuple[bytes, Mirrors]]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a call says beside the configuration: a list or expression, mirrors, how far to go."""

    list: Path | None = None
    expression: str | None = None
    mirrors: Path | None = None
    repo: str | None = None
    trees: bool = False
    print_list: bool = False
    dry_run: bool = False


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "tarballs", help="mirror the sources of channels, or of a list, by their hash"
    )
    parser.add_argument(
        "channels",
        nargs="*",
        metavar="CHANNEL",
        help="at the release it is at; without any: the channels with `tarballs = true`",
    )
    what = parser.add_argument_group("what to fetch")
    what.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="a list of sources that was made elsewhere (JSON); - is standard input",
    )
    what.add_argument(
        "--nixpkgs", type=Path, metavar="DIR", help="list the sources of this nixpkgs, with Nix"
    )
    what.add_argument("--revision", metavar="NAME", help="what it is a revision of, if not known")
    what.add_argument("--expr", metavar="NIX", help="only what this expression builds")
    what.add_argument(
        "--trees", action="store_true", help="list trees out of git, svn and hg as well"
    )
    what.add_argument("--repo", metavar="URL", help="where git finds nixpkgs")
    what.add_argument("--print-list", action="store_true", help="print the list; fetch nothing")
    what.add_argument("--dry-run", action="store_true", help="only say what would be fetched")
    _how(parser.add_argument_group("how"))
    kept = parser.add_argument_group("what is here already")
    kept.add_argument("--export", type=Path, metavar="DIR", help="write all into a plain folder")
    kept.add_argument(
        "--forget", metavar="REV", help="let go of a revision and what only that one has"
    )
    parser.set_defaults(run=run)


def _how(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--mirrors", type=Path, metavar="FILE", help="a mirrors.nix for mirror:// addresses"
    )
    group.add_argument(
        "--hashed-mirror",
        action="append",
        metavar="URL",
        help="a mirror that knows files by their hash, asked last (again and again)",
    )
    group.add_argument("--no-hashed-mirrors", action="store_true", help="ask no such mirror")
    group.add_argument("--jobs", type=options.count, metavar="N", help="files at one time")
    group.add_argument("--limit", type=options.size, metavar="SIZE", help="no larger file")
    group.add_argument("--rate", type=options.rate, metavar="MB/S", help="no faster than this")


def run(args: argparse.Namespace, out: Out) -> int:
    """Fetch; 1 when something could not be had."""
    hashed = () if args.no_hashed_mirrors else args.hashed_mirror and tuple(args.hashed_mirror)
    config = configuration.replace(
        configuration.load(args.home, args.config),
        tarballs_jobs=args.jobs,
        tarballs_limit=args.limit,
        tarballs_hashed_mirrors=hashed,
        tarballs_repo=args.repo,
        mirror_rate=args.rate,
    )
    looking = args.dry_run or args.print_list or bool(args.export)
    with store.library(config, looking) as library:
        if args.forget:
            return _forget(library, args.forget, out)
        if args.export:
            done = export(library, args.export, out)
            facts = {"files": done.files, "written": done.written, "removed": done.removed}
            out.result({**facts, "size": done.size})
            return 0
        wishes = Wishes(
            args.list,
            args.expr,
            args.mirrors,
            args.repo,
            args.trees,
            args.print_list,
            args.dry_run,
        )
        return _jobs(_asked(args, wishes, config, library), wishes, config, library, out)


def of_channel(config: Config, channel: Channel, library: Library, out: Out) -> int:
    """Fetch the sources of the release that a channel is at, unless there has been a run for it.

    Returns an exit code; failures are said here, and raise nothing.
    """
    current = library.channel(channel.name)
    name = None if current is None else current.current
    release = None if name is None else library.release(channel.name, name)
    if release is None or release.revision in dict(library.revisions()):
        return 0
    try:
        job = _of_channel(channel.name, Wishes(), config, library)
        return 1 if _one(job, Wishes(), config, library, out) else 0
    except (NarborError, OSError) as error:
        out.warn(f"{channel.name}: its source tarballs: {error}")
        return 1


def _jobs(jobs: list[_Job], wishes: Wishes, config: Config, library: Library, out: Out) -> int:
    """Do one after the other: one that cannot be done does not stop the next."""
    failed = 0
    for job in jobs:
        try:
            failed += _one(job, wishes, config, library, out)
        except NarborError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            out.warn(f"{job.title}: {error}")
    return 1 if failed else 0


def _one(job: _Job, wishes: Wishes, config: Config, library: Library, out: Out) -> int:
    """Do one; return how many sources could not be had."""
    text, table = job.listed()
    if wishes.print_list:
        out.binary().write(text)
        return 0
    if wishes.mirrors:
        table = _read_mirrors(wishes.mirrors)
    said = config.tarballs
    if said.hashed_mirrors is not None:
        table = Mirrors(table.sites, said.hashed_mirrors)
    how = Options(int(time.time()), said.jobs, said.limit, config.min_free, wishes.dry_run)
    listed = sources.parse(text)
    with wiring.open_web(config) as web:
        events = tarballs.fetch(library, web, table, job.revision, listed, how)
        with closing(events):
            whole = len(listed.files) + len(listed.checkouts) + len(listed.refused)
            return _follow(events, job, whole, out)


def _asked(
    args: argparse.Namespace, wishes: Wishes, config: Config, library: Library
) -> list[_Job]:
    names = list(args.channels)
    if args.nixpkgs:
        return [_of_folder(args.nixpkgs, args.revision, wishes, config)]
    if args.list and not names:
        text = _read_list(args.list)
        revision = args.revision or f"list-{sha256(text).hexdigest()[:12]}"
        return [_Job(str(args.list), revision, lambda: (text, BUILT_IN))]
    names = names or [channel.name for channel in config.channel if channel.tarballs]
    if not names:
        raise NothingAskedFor(
            "nothing asked for: name a channel, give --list or --nixpkgs, or say `tarballs = true` "
            "of a channel in the configuration"
        )
    if args.list and len(names) > 1:
        raise NothingAskedFor("a list is that of one channel")
    return [_of_channel(name, wishes, config, library) for name in names]


def _of_folder(folder: Path, said: str | None, wishes: Wishes, config: Config) -> _Job:
    revision = said or nixpkgs.revision_of(folder)
    if revision is None:
        raise NoRevision(f"{folder} does not say which revision it is: say --revision")

    def listed() -> tuple[bytes, Mirrors]:
        return _evaluated(folder, wishes, config)

    return _Job(str(folder), revision, listed)


def _of_channel(name: str, wishes: Wishes, config: Config, library: Library) -> _Job:
    channel = library.channel(name)
    release = channel and channel.current and library.release(name, channel.current)
    if not release:
        raise NoRevision(f"the channel {name} has no release here (`narbor release make {name}`)")
    revision = release.revision
    said = next((each.repo for each in config.channel if each.name == name), None)
    repo = wishes.repo or said or config.tarballs.repo

    def listed() -> tuple[bytes, Mirrors]:
        if wishes.list:
            return _read_list(wishes.list), _mirrors_in(library, name, release.name)
        if not nixpkgs.can_evaluate():
            raise NoList(
                "there is no Nix here to list the sources: do it elsewhere, with `narbor tarballs "
                "--nixpkgs DIR --print-list`, and give the list with --list"
            )
        folder = config.home / "nixpkgs" / sha256(repo.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        checkouts.bring(folder, repo, revision)
        return _evaluated(folder, wishes, config)

    return _Job(name, revision, listed)


def _evaluated(folder: Path, wishes: Wishes, config: Config) -> tuple[bytes, Mirrors]:
    expression = wishes.expression or nixpkgs.release_expression(folder, config.tarballs.systems)
    try:
        table = nixpkgs.mirrors_of(folder)
    except nixpkgs.NoNixpkgs:
        table = BUILT_IN
    return nixpkgs.list_sources(folder, expression, wishes.trees), table


def _mirrors_in(library: Library, channel: str, release: str) -> Mirrors:
    """Read the mirrors out of the expressions of a release, if these are here."""
    for file in library.files(channel, release):
        compression = _EXPRESSIONS.get(file.name)
        if compression is not None:
            packed = library.content(file.root)
            archive = streams.decompress(packed, compression, _UNPACKED)
            try:
                return nixpkgs.mirrors_in(archive, file.name)
            except nixpkgs.NoNixpkgs:
                return BUILT_IN
    return BUILT_IN


def _read_list(path: Path) -> bytes:
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(sources.LONGEST)
        with path.open("rb") as file:
            return file.read(sources.LONGEST)
    except OSError as error:
        raise NoList(f"{path} cannot be read: {error.strerror}") from error


def _read_mirrors(path: Path) -> Mirrors:
    try:
        return mirrors.parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise NoList(f"{path} cannot be read: {error}") from error


def _forget(library: Library, revision: str, out: Out) -> int:
    if not library.catalogue.forget_revision(revision):
        known = ", ".join(name for name, _ in library.revisions()) or "none"
        raise NoRevision(f"there is no revision {revision} here; there are: {known}")
    out.say(f"{revision} is forgotten; `narbor collect` frees the room")
    return 0


def export(library: Library, folder: Path, out: Out) -> tarballtree.Done:
    """Write all tarballs into a plain folder, and say how it went."""
    done = tarballtree.Done(0, 0, 0, 0)
    with out.bar("export tarballs") as bar:
        for done in tarballtree.export(library, folder, int(time.time())):
            bar.update(done.files, None, done.size, None, "files")
    out.say(f"{done.files:,} tarballs, {done.written:,} written ({amount(done.size)})")
    return done


def _follow(events: Iterable[Event], job: _Job, whole: int, out: Out) -> int:
    """Show progress to the end and sum up; return how many could not be had."""
    linked = fetched = size = done = wanted = 0
    failed: tuple[Unfetched, ...] = ()
    with out.bar(job.title) as bar:
        for event in events:
            match event:
                case Linked(number):
                    linked, done = linked + number, done + number
                case Fetched(_, _, _, more):
                    fetched, size, done = fetched + 1, size + more, done + 1
                case Wanted():
                    wanted, done = wanted + 1, done + 1
                case Failed():
                    done += 1
                case Done(failed):
                    pass
            bar.update(done, whole, size, None, "sources")
            _tell(event, job.revision, bar, out)
    if not out.json:
        new = f"{wanted:,} to fetch" if wanted else f"{fetched:,} fetched ({amount(size)})"
        out.say(f"{job.revision}: {new}, {linked:,} were here, {len(failed):,} failed")
        _warn(failed, job.revision, out)
    return len(failed)


def _warn(failed: tuple[Unfetched, ...], revision: str, out: Out) -> None:
    for each in failed[: None if out.verbose else MANY]:
        out.warn(f"failed: {each.name}: {each.reason}")
    if len(failed) > MANY and not out.verbose:
        more = len(failed) - MANY
        out.warn(f"... and {more:,} more; /tarballs/revisions/{revision}/log has them all")


def _tell(event: Event, revision: str, bar: Bar, out: Out) -> None:
    facts: dict[str, object] = {"event": type(event).__name__.lower(), "revision": revision}
    match event:
        case Linked(number):
            facts["sources"] = number
        case Wanted(name, digest, urls):
            facts |= {"name": name, "hash": digest.sri, "urls": urls}
            out.event(facts, f"{digest} {name} {' '.join(urls)}")
            return
        case Fetched(name, digest, url, size):
            facts |= {"name": name, "hash": digest.sri, "url": url, "size": size}
            if out.verbose:
                bar.say(f"{name} from {url}")
        case Failed(source):
            facts |= {"what": source.what, "name": source.name, "reason": source.reason}
        case Done(failed):
            facts["failed"] = len(failed)
    if out.json:
        out.event(facts)
