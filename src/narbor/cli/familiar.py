"""The commands of nixipfs-scripts and nix-ipfs under their own names, with their own flags.

    release-nixos             narbor release make, then collect (--gc) and publish (no --no_ipfs)
    create-channel-release    narbor release make, for one channel that the flags describe
    update-binary-cache       narbor mirror --paths-from RELEASE/store-paths
    garbage-collect           narbor collect
    create-nixipfs            narbor publish
    ipfs-mirror-push          narbor publish, then narbor replicate to the Kubo of this machine

The underscores of old are taken too. docs/guide/channels.md says what each flag has become.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from narbor import config as configuration
from narbor.cli import channels, collect, mirror, publish, release, replicate
from narbor.cli.options import Commands, Parser, count
from narbor.cli.out import Out
from narbor.errors import Refused

HYDRA: Final = "https://hydra.nixos.org"
CACHE: Final = "https://cache.nixos.org"
HERE: Final = ("127.0.0.1", "localhost", "::1")
KUBO: Final = "kubo:http://127.0.0.1:5001"


class OverThere(Refused):
    """A node of another machine is meant, whose RPC is not to be had without further ado."""


class NoRelease(Refused):
    """A folder that should be a release is none."""


def add(commands: Commands) -> None:
    """Register the commands. They are not listed in the help: there are new names."""
    for name, fill, does in (
        ("release-nixos", _add_nixos, nixos),
        ("create-channel-release", _add_channel, channel),
        ("update-binary-cache", _add_update, update),
        ("garbage-collect", _add_garbage, garbage),
        ("create-nixipfs", _add_nixipfs, nixipfs),
        ("ipfs-mirror-push", _add_push, push),
    ):
        parser = commands.add_parser(name, aliases=[name.replace("-", "_")])
        fill(parser)
        parser.set_defaults(run=does)


def _add_nixos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, metavar="DIR", help="now --home")
    parser.add_argument("--tmpdir", metavar="DIR", help="not needed: nothing is unpacked")
    _ipfs(parser)
    parser.add_argument("--print_only", "--print-only", action="store_true")
    parser.add_argument("--gc", action="store_true", help="collect when the releases are made")
    parser.add_argument("--no_ipfs", "--no-ipfs", action="store_true", help="do not publish")


def _add_channel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--channel", required=True, metavar="NAME")
    parser.add_argument("--hydra", default=HYDRA, metavar="URL")
    parser.add_argument("--project", required=True)
    parser.add_argument("--jobset", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--cache", default=CACHE, metavar="URL", help="download from here")
    parser.add_argument("--target_cache", "--target-cache", default=CACHE, metavar="URL")
    parser.add_argument("--outdir", type=Path, metavar="DIR", help="now --home")
    parser.add_argument("--tmpdir", metavar="DIR", help="not needed: nothing is unpacked")


def _add_update(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", default=CACHE, metavar="URL")
    parser.add_argument("--release", type=Path, required=True, metavar="DIR")
    parser.add_argument("--outdir", type=Path, metavar="DIR", help="now --home")
    parser.add_argument("--concurrent", type=count, metavar="N", help="now --jobs")
    # The old program took any word for yes, `False` too.
    parser.add_argument("--print_only", "--print-only", action="store_true")


def _add_garbage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, metavar="DIR", help="now --home")
    parser.add_argument("--releases", nargs="*", metavar="DIR", help="not needed: they are known")


def _add_nixipfs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, metavar="DIR", help="now --home")
    _ipfs(parser)


def _ipfs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ipfsapi", nargs=2, metavar=("IP", "PORT"), help="not needed: narbor serves it"
    )


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ssh", metavar="HOST", default=HERE[0], help="the machine of the node")
    parser.add_argument("--path", metavar="DIR", help="not needed: the store is published")


def nixos(args: argparse.Namespace, out: Out) -> int:
    """Make all releases; then collect with --gc, and publish unless told not to."""
    config = configuration.load(args.home or args.dir, args.config)
    _became(out, "release make", tmpdir=args.tmpdir)
    code = release.run(config, channels.chosen(config, ()), args.print_only, out)
    if args.gc and not args.print_only:
        code = max(code, _call(collect.add, "collect", args, args.dir))
    if not (args.no_ipfs or args.print_only):
        code = max(code, _call(publish.add, "publish", args, args.dir))
    return code


def channel(args: argparse.Namespace, out: Out) -> int:
    """Make the release of one channel, whatever the configuration says of others."""
    config = configuration.load(args.home or args.outdir, args.config)
    _became(out, "release make", tmpdir=args.tmpdir)
    values = {
        "name": args.channel,
        "hydra": args.hydra,
        "project": args.project,
        "jobset": args.jobset,
        "job": args.job,
        "caches": [args.cache],
        "public-url": args.target_cache,
    }
    return release.run(config, [configuration.channel(values, "the flags")], False, out)


def update(args: argparse.Namespace, out: Out) -> int:
    """Mirror what a release of the older program lists."""
    listing = args.release / "store-paths"
    if not listing.is_file():
        raise NoRelease(f"{args.release} is no release: it has no store-paths")
    words = [args.cache, "--paths-from", str(listing)]
    words += ["--print-only"] if args.print_only else []
    words += ["--jobs", str(args.concurrent)] if args.concurrent else []
    _became(out, f"mirror {' '.join(words)}")
    return _call(mirror.add, "mirror", args, args.outdir, words)


def garbage(args: argparse.Namespace, out: Out) -> int:
    """Collect."""
    _became(out, "collect", releases=args.releases)
    return _call(collect.add, "collect", args, args.cache)


def nixipfs(args: argparse.Namespace, out: Out) -> int:
    """Put the cache under one name."""
    _became(out, "publish", ipfsapi=args.ipfsapi)
    return _call(publish.add, "publish", args, args.dir)


def push(args: argparse.Namespace, out: Out) -> int:
    """Publish the cache, and give it to the Kubo of this machine."""
    if args.ssh not in HERE:
        raise OverThere(
            f"nobody logs in on {args.ssh} any more: forward its RPC, "
            f"`ssh -N -L 5001:127.0.0.1:5001 {args.ssh}`, then `narbor replicate {KUBO}`"
        )
    _became(out, f"replicate {KUBO}", path=args.path)
    code = _call(publish.add, "publish", args, None)
    return code or _call(replicate.add, "replicate", args, None, [KUBO])


def _call(
    add: Callable[[Commands], None],
    verb: str,
    args: argparse.Namespace,
    home: Path | None,
    words: Sequence[str] = (),
) -> int:
    """Run another command as if it had been called with these words, in the same home."""
    parser: argparse.ArgumentParser = Parser(prog="narbor", allow_abbrev=False)
    add(parser.add_subparsers())
    asked = parser.parse_args([verb, *words])
    asked.home, asked.config = args.home or home, args.config
    out = Out(args.json, args.quiet, args.verbose, not args.no_progress)
    code: int = asked.run(asked, out)
    return code


def _became(out: Out, command: str, **unneeded: object) -> None:
    out.say(f"this is `narbor {command}` now")
    for name, value in unneeded.items():
        if value:
            out.say(f"--{name} is not needed any more")
