"""`narbor mirror URL [PATH...]`: bring items, and all they refer to, into the store."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from narbor import config as configuration
from narbor import wiring
from narbor.cli import options, store
from narbor.cli.options import Commands
from narbor.cli.out import Bar, Out, amount
from narbor.config import Config
from narbor.errors import Refused, Rejected, Unavailable
from narbor.formats import narinfo
from narbor.names import storepath
from narbor.names.keys import Keyring
from narbor.names.storepath import StorePath
from narbor.tasks import mirror
from narbor.tasks.mirror import Options
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.progress import Admitted, Done, Failed, Found, Listed, Moved, Noted, Progress
from narbor.upstream import Cache

MANY = 20


class NothingAskedFor(Refused):
    """A call names an upstream and no paths."""


class NoSuchCache(Refused):
    """A key is to be believed from a cache that nobody asks."""


class NoPathsFile(Refused):
    """A file of paths cannot be read."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "mirror", help="bring items from a binary cache into the store, with all they refer to"
    )
    parser.add_argument(
        "url", metavar="URL", help="a cache: http(s)://, file://, a folder, or a known one's name"
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a store path, or its hash")
    _what(parser.add_argument_group("what to fetch"))
    _whom(parser.add_argument_group("whom to ask and to believe"))
    _how(parser.add_argument_group("how"))
    parser.set_defaults(run=run)


def _what(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--paths-from",
        type=Path,
        metavar="FILE",
        help="store paths, one a line; - is standard input",
    )
    group.add_argument(
        "--store-paths",
        metavar="URL",
        help="a channel's list of store paths (.xz and its like too)",
    )
    group.add_argument(
        "--no-closure",
        dest="closure",
        action="store_const",
        const=False,
        help="only the paths themselves, without what they refer to",
    )
    group.add_argument("--logs", action="store_const", const=True, help="fetch build logs too")
    group.add_argument(
        "--print-only",
        action="store_true",
        help="fetch nothing; print `url,filehash,size` of every NAR that is missing here",
    )


def _whom(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="URL",
        help="another cache, for what URL lacks (again and again)",
    )
    group.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="KEY",
        help="believe this public key, NAME:BASE64 or a file (again and again)",
    )
    group.add_argument(
        "--trust-from",
        nargs=2,
        action="append",
        default=[],
        metavar=("URL", "KEY"),
        help="believe a key where this cache brings it, and from no other (again and again)",
    )
    group.add_argument(
        "--trusted", action="store_true", help="believe the caches themselves, signed or not"
    )
    group.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust")
    group.add_argument("--netrc", type=Path, metavar="FILE", help="passwords for private caches")
    group.add_argument(
        "--token-file",
        action="append",
        default=[],
        metavar="HOST=FILE",
        help="a bearer token for a private cache (again and again)",
    )


def _how(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--jobs", type=options.count, metavar="N", help="NARs at one time")
    group.add_argument("--rate", type=options.rate, metavar="MB/S", help="no faster than this")
    group.add_argument("--level", type=options.level, metavar="N", help="zstd level at rest, 1-22")
    group.add_argument(
        "--min-free", type=options.size, metavar="SIZE", help="stop when less is free on the disk"
    )


def run(args: argparse.Namespace, out: Out) -> int:
    """Mirror; 1 when something could not be had."""
    config = configuration.replace(
        configuration.load(args.home, args.config),
        level=args.level,
        min_free=args.min_free,
        mirror_jobs=args.jobs,
        mirror_rate=args.rate,
        mirror_logs=args.logs,
        mirror_closure=args.closure,
        mirror_ca_file=args.ca_file,
        mirror_netrc=args.netrc,
    )
    config = configuration.replace(
        config, mirror_tokens=config.mirror.tokens | _tokens(args.token_file)
    )
    if not (args.paths or args.paths_from or args.store_paths):
        raise NothingAskedFor(
            "nothing to mirror: name store paths, or give --paths-from or --store-paths"
        )
    urls = [args.url, *args.also]
    rings = _rings(config, args, urls)
    with wiring.open_http(config) as http:
        caches = [wiring.open_upstream(url, http) for url in urls]
        paths, unknown = _paths(args, config, caches)
        upstreams = [
            Upstream(cache, ring, args.trusted or wiring.says_trusted(url))
            for url, cache, ring in zip(urls, caches, rings, strict=True)
        ]
        with store.library(config, args.print_only) as library:
            how = _options(config, args.print_only)
            done = follow(mirror.mirror(library, upstreams, paths, how), out)
    for word, reason in unknown.items():
        out.warn(f"failed: {word}: {reason}")
    return 1 if done.failed or unknown else 0


def _rings(config: Config, args: argparse.Namespace, urls: list[str]) -> list[Keyring]:
    """Return whom to believe about what each cache says."""
    strange = [url for url, _ in args.trust_from if url not in urls]
    if strange:
        raise NoSuchCache(f"--trust-from {strange[0]}: no such cache is asked ({', '.join(urls)})")
    rings = []
    for url in urls:
        own = [key for only, key in args.trust_from if only == url]
        rings.append(wiring.keyring(config, [*args.trust, *own], urls))
    return rings


def _tokens(words: Iterable[str]) -> dict[str, str]:
    """Read tokens from the files that are named, each with its host; raises BadConfig."""
    files = configuration.tokens(words)
    return {host: wiring.read_secret(Path(file)) for host, file in files.items()}


def _options(config: Config, print_only: bool) -> Options:
    return Options(
        closure=config.mirror.closure,
        jobs=config.mirror.jobs,
        print_only=print_only,
        logs=config.mirror.logs,
        realisations=True,
        min_free=config.min_free,
    )


def _paths(
    args: argparse.Namespace, config: Config, caches: list[Cache]
) -> tuple[list[StorePath], dict[str, str]]:
    """Return what is asked for, each once, in the order given; and hashes nobody knows, with why.

    A bare hash part is completed by the first cache that knows it. Raises NoSuchPlace when all
    that is asked for are hashes that nobody knows.
    """
    words = list(args.paths)
    if args.paths_from:
        words += _lines(args.paths_from)
    found: list[StorePath] = []
    unknown: dict[str, str] = {}
    for word in words:
        if not storepath.is_hash_part(word):
            found.append(store.path_of(word, config.store))
        elif isinstance(named := _named(word, caches), StorePath):
            found.append(named)
        else:
            unknown[word] = named
    if args.store_paths:
        listed = wiring.store_paths(args.store_paths, caches[0])
        found += [store.path_of(line, config.store) for line in listed]
    if unknown and not found:
        raise store.NoSuchPlace("; ".join(unknown.values()))
    return list(dict.fromkeys(found)), unknown


def _named(hash_part: str, caches: list[Cache]) -> StorePath | str:
    """Ask the caches for the path with this hash part; return why there is none."""
    reasons = [f"no cache knows an item with the hash {hash_part}"]
    for cache in caches:
        try:
            claim = cache.narinfo(hash_part)
            if claim is not None:
                return narinfo.parse(claim).path
        except (Rejected, Unavailable) as error:
            reasons.append(str(error))
    return ": ".join(reasons)


def _lines(path: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoPathsFile(f"{path} cannot be read: {error}") from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def follow(steps: Iterator[Progress], out: Out, title: str = "mirror") -> Done:
    """Show a mirror's progress to its end; say what it came to, and what failed."""
    done = Done(())
    listed = 0
    with out.bar(title) as bar:
        for step in _held_back(steps):
            _show(step, bar, out)
            listed += isinstance(step, Listed)
            if isinstance(step, Done):
                done = step
    if not out.json:
        _sum_up(done, listed, out)
    return done


def _held_back(steps: Iterator[Progress]) -> Iterator[Progress]:
    """Give notes one step late: where one is followed by the end, the error says the same."""
    note: Noted | None = None
    for step in steps:
        if note is not None:
            yield note
        note = step if isinstance(step, Noted) else None
        if note is None:
            yield step
    if note is not None:
        yield note


def _show(step: Progress, bar: Bar, out: Out) -> None:
    counts = step.counts
    bar.update(counts.done, counts.wanted, counts.fetched, counts.expected)
    if isinstance(step, Failed) and out.verbose:
        bar.say(f"failed {step.path}: {_why(step.reasons)}")
    if out.json:
        if not isinstance(step, Moved | Found):
            out.event(_facts(step))
        return
    match step:
        case Listed(_, url, file_hash, file_size):
            size = "" if file_size is None else str(file_size)
            out.event({}, f"{url},{file_hash or ''},{size}")
        case Noted(text):
            bar.say(f"narbor: {text}")
        case Admitted(path, upstream, _, str(difference)):
            bar.say(f"narbor: {path}: {upstream}: {difference}")


def _facts(step: Progress) -> dict[str, object]:
    return {"event": type(step).__name__.lower(), **asdict(step)}


def _sum_up(done: Done, listed: int, out: Out) -> None:
    counts = done.counts
    if listed:
        did = f"{listed:,} items to fetch ({amount(counts.expected)})"
    else:
        did = f"{counts.admitted:,} items admitted ({amount(counts.fetched)} fetched)"
    out.say(f"{did}, {counts.skipped:,} were here, {counts.failed:,} failed")
    for failed in done.failed[: None if out.verbose else MANY]:
        out.warn(f"failed: {failed.path}: {_why(failed.reasons)}")
    if len(done.failed) > MANY and not out.verbose:
        out.warn(f"... and {len(done.failed) - MANY:,} more; `narbor failed` lists them all")


def _why(reasons: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{upstream}: {reason}" for upstream, reason in reasons)
