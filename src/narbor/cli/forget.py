"""`narbor forget PATH...`: take pins away, so that `collect` may free the room."""

import argparse

from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("forget", help="take away the pins of what was asked for by name")
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Unpin; 1 when something was not pinned."""
    code = 0
    with store.opened(args, write=True) as (config, library):
        for path in [store.path_of(text, config.store) for text in args.paths]:
            was = library.forget(path)
            out.event({"path": str(path), "forgotten": was}, f"forgotten  {path}" if was else None)
            if not was:
                out.warn(f"{path} was not pinned (pins are set by `narbor mirror URL PATH`)")
                code = 1
    return code
