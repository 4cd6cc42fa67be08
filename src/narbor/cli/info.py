"""`narbor info [PATH...]`: what is here, and what is known of it."""

import argparse

from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out, amount
from narbor.errors import Refused
from narbor.library import Library
from narbor.names import cid
from narbor.names.item import Item


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("info", help="what is known of items; without PATH: all items")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a store path, or its hash")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Tell of the items asked for; 1 when some are not here."""
    code = 0
    with store.opened(args) as (_, library):
        if not args.paths:
            for item in library.items():
                brief = {"path": str(item.path), "narSize": item.seal.size}
                out.event(brief, f"{item.seal.size:>13,}  {item.path}")
        for text in args.paths:
            try:
                item, _ = store.locate(library, text)
            except Refused as error:
                out.warn(str(error))
                code = 1
            else:
                facts = _facts(library, item)
                out.event(facts, _spell(facts))
    return code


def _facts(library: Library, item: Item) -> dict[str, object]:
    rendering = library.rendering(item, "zstd")
    return {
        "path": str(item.path),
        "narHash": str(item.seal.digest),
        "narSize": item.seal.size,
        "references": list(item.references),
        "deriver": item.deriver,
        "signatures": list(item.signatures),
        "ca": item.ca,
        "complete": library.complete(item.path.base),
        "origin": item.origin,
        "profile": item.profile,
        "tree": cid.text(item.tree),
        "archive": cid.text(item.archive),
        "fileHash": str(rendering.digest),
        "fileSize": rendering.size,
    }


def _spell(facts: dict[str, object]) -> str:
    lines = []
    for name, value in facts.items():
        if isinstance(value, list):
            lines += [f"{name:>11}  {each}" for each in value]
        elif isinstance(value, int) and not isinstance(value, bool):
            lines.append(f"{name:>11}  {value:,} ({amount(value)})")
        elif value is not None:
            lines.append(f"{name:>11}  {value}")
    return "\n".join(lines) + "\n"
