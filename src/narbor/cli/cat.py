"""`narbor cat PATH`: a file inside an item, or an item's NAR, as bytes."""

import argparse

from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("cat", help="write out a file inside an item")
    parser.add_argument("path", metavar="PATH", help="a file in an item: HASH-NAME/bin/hello")
    parser.add_argument("--nar", action="store_true", help="the whole item, as a NAR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Write the bytes to standard output."""
    with store.opened(args) as (_, library):
        item, inside = store.locate(library, args.path)
        if args.nar and inside:
            raise store.NoSuchPlace(f"--nar gives whole items; {args.path} is a place inside one")
        chunks = library.archive(item) if args.nar else library.file(item, inside)
        if chunks is None:
            what = store.shown(inside) or "the item itself"
            raise store.NoSuchPlace(f"in {item.path}, {what} is no regular file (see `narbor ls`)")
        sink = out.binary()
        for chunk in chunks:
            sink.write(chunk)
        sink.flush()
    return 0
