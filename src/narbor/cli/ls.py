"""`narbor ls PATH`: what lies inside an item."""

import argparse
from collections.abc import Iterator

from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out
from narbor.library import Entry


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("ls", help="list what lies inside an item")
    parser.add_argument("path", metavar="PATH", help="an item, or a folder in it: HASH-NAME/bin")
    parser.add_argument("-R", "--recursive", action="store_true", help="folders in folders too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """List a folder, or one file."""
    with store.opened(args) as (_, library):
        item, inside = store.locate(library, args.path)
        there = False
        for entry in _below(library.entries(item), inside, args.recursive):
            there = True
            if entry.kind != "directory" or entry.path != inside:
                out.event(_facts(entry), _spell(entry))
        if not there:
            raise store.NoSuchPlace(f"there is no {store.shown(inside)} in {item.path}")
    return 0


def _below(entries: Iterator[Entry], inside: bytes, recursive: bool) -> Iterator[Entry]:
    """Give the entry at `inside` and what lies in it."""
    start = inside + b"/" if inside else b""
    for entry in entries:
        rest = entry.path[len(start) :] if entry.path.startswith(start) else None
        if entry.path == inside or (rest is not None and (recursive or b"/" not in rest)):
            yield entry


def _facts(entry: Entry) -> dict[str, object]:
    facts: dict[str, object] = {"path": store.shown(entry.path), "type": entry.kind}
    if entry.kind == "regular":
        facts |= {
            "size": entry.size,
            "executable": entry.executable,
            "narOffset": entry.offset,
        }
    if entry.kind == "symlink":
        facts["target"] = store.shown(entry.target)
    return facts


def _spell(entry: Entry) -> str:
    name = store.shown(entry.path)
    if entry.kind == "directory":
        return f"d {'':>13}  {name}/"
    if entry.kind == "symlink":
        return f"l {'':>13}  {name} -> {store.shown(entry.target)}"
    return f"{'x' if entry.executable else '-'} {entry.size:>13,}  {name}"
