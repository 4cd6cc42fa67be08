"""`narbor import SRC...`: take in a whole cache from a folder, or CARs: an export, a USB stick.

With `--from URL`, a root is brought from others who have it: pull.py.
"""

import argparse
import time
from contextlib import closing
from pathlib import Path

from narbor import config as configuration
from narbor import wiring
from narbor.cli import carfiles, mirror, options, pull
from narbor.cli.options import Commands
from narbor.cli.out import Out
from narbor.config import Config
from narbor.errors import Refused, Rejected
from narbor.formats import narinfo
from narbor.formats.narinfo import Narinfo
from narbor.names.keys import Keyring
from narbor.names.storepath import StorePath
from narbor.tasks.mirror import Options
from narbor.tasks.mirror import mirror as bring
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.replicate import intake
from narbor.tasks.replicate.arrive import ManyRoots, Terms
from narbor.upstream.directory import DirectoryCache
from narbor.wiring.sources import open_sources

INFO = "nix-cache-info"


class NoCacheThere(Refused):
    """A folder that should be imported holds no binary cache."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "import",
        help="take in all of a cache in a folder, or CARs, or a root that others have",
        epilog="Exit codes: 0 all of it is here · 1 something lacks or failed, and is listed "
        "· 2 the call is wrong · 3 a folder cannot be read, or none of the sources answers.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        help="a folder with a cache, or with folders of caches; a CAR, a folder of CARs, - (a "
        "CAR); with --from: /ipfs/CID, /ipns/NAME",
    )
    parser.add_argument(
        "--from",
        dest="urls",
        action="append",
        default=[],
        metavar="URL",
        help="a narbor or gateway that may have blocks of a root (again and again)",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="KEY",
        help="believe this public key, NAME:BASE64 or a file (again and again)",
    )
    parser.add_argument(
        "--trusted", action="store_true", help="believe the folders themselves, signed or not"
    )
    parser.add_argument(
        "--jobs",
        type=options.count,
        metavar="N",
        help="NARs at one time, or requests to a --from",
    )
    parser.add_argument("--level", type=options.level, metavar="N", help="zstd level at rest, 1-22")
    parser.add_argument(
        "--min-free", type=options.size, metavar="SIZE", help="stop when less is free"
    )
    parser.add_argument("--name", metavar="NAME", help="keep the root under this name")
    parser.add_argument("--incomplete", action="store_true", help="keep roots though blocks lack")
    parser.add_argument("--logs", action="store_const", const=True, help="take build logs too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Import one after the other; 1 when something could not be had."""
    config = configuration.replace(
        configuration.load(args.home, args.config),
        level=args.level,
        min_free=args.min_free,
        mirror_jobs=args.jobs,
        mirror_logs=args.logs,
    )
    if args.urls:
        return _pull(config, args, out)
    boxes = [(source, carfiles.find(source)) for source in args.sources]
    folders = [folder for source, box in boxes if box is None for folder in caches(source)]
    ring = wiring.keyring(config, args.trust, [])
    terms = _terms(config, args, ring)
    bad = 0
    with closing(wiring.open_library(config, write=True)) as library:
        for box in (box for _, box in boxes if box is not None):
            bad += carfiles.take_in(library, box, terms, out)
        for folder in folders:
            claims, unread = read(folder)
            for text in unread:
                out.warn(f"failed: {text}")
            upstream = Upstream(DirectoryCache(str(folder)), ring, args.trusted)
            steps = bring(library, [upstream], tops(claims), _options(config))
            done = mirror.follow(steps, out, f"import {folder}")
            bad += len(done.failed) + len(unread)
    return 1 if bad else 0


def _pull(config: Config, args: argparse.Namespace, out: Out) -> int:
    """Bring roots from those who have them, one after the other."""
    wanted = [pull.wanted(source) for source in args.sources]
    if args.name is not None and len(wanted) > 1:
        raise ManyRoots(f"{len(wanted)} roots cannot all be kept as {args.name}: give no name")
    terms = _terms(config, args, wiring.keyring(config, args.trust, args.urls))
    bad = 0
    with (
        open_sources(config, args.urls, config.mirror.jobs) as sources,
        closing(wiring.open_library(config, write=True)) as library,
    ):
        for each in wanted:
            bad += pull.take_in(library, each, sources, terms, out)
    return 1 if bad else 0


def _terms(config: Config, args: argparse.Namespace, ring: Keyring) -> Terms:
    now, process = int(time.time()), wiring.process()
    return Terms(ring, args.trusted, now, process, config.min_free, args.incomplete, args.name)


def _options(config: Config) -> Options:
    return Options(
        jobs=config.mirror.jobs,
        logs=config.mirror.logs,
        realisations=True,
        min_free=config.min_free,
    )


def caches(source: str) -> list[Path]:
    """Return the folder that is meant if it is a cache, else the caches in it.

    Raises NoCacheThere.
    """
    if not Path(source).exists() and pull.find(source) is not None:
        raise NoCacheThere(f"{source} lies with others: say with whom, --from URL")
    url = wiring.upstream_url(source) if "://" in source else ""
    if url and not url.startswith("file:"):
        raise NoCacheThere(f"{source} is no folder: `narbor mirror` brings items from servers")
    folder = Path(url.removeprefix("file://") or source)
    if (folder / INFO).is_file():
        return [folder]
    found = sorted(info.parent for info in folder.glob(f"*/{INFO}"))
    if not found:
        raise NoCacheThere(f"{source} is no binary cache, nor has it one in it (no {INFO})")
    return found


def read(folder: Path) -> tuple[list[Narinfo], list[str]]:
    """Return all narinfos of a cache, and what is wrong with those that are none."""
    claims: list[Narinfo] = []
    unread: list[str] = []
    for path in sorted(folder.glob("*.narinfo")):
        try:
            claims.append(narinfo.parse(path.read_bytes()))
        except (Rejected, OSError) as error:
            unread.append(f"{path}: {error}")
    return claims, unread


def tops(claims: list[Narinfo]) -> list[StorePath]:
    """Return the paths that lead to all of them: these are pinned."""
    chosen = set(intake.tops({claim.path.base: claim.references for claim in claims}))
    return [claim.path for claim in claims if claim.path.base in chosen]
