"""`narbor which bin/htop`: the items that have a file, and the packages that they are."""

import argparse

from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out
from narbor.library import Entry, Library
from narbor.names.item import Item


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("which", help="which items have a file: bin/htop, or only htop")
    parser.add_argument(
        "path", metavar="FILE", help="a path inside an item; a bare name is looked for in bin"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Look into every item; 1 when none has it."""
    path = args.path.strip("/")
    inside = (path if "/" in path else f"bin/{path}").encode(errors="surrogateescape")
    found = 0
    with store.opened(args) as (_, library):
        expected = library.sizes().items
        with out.bar("which") as bar:
            for number, item in enumerate(library.items(), 1):
                bar.update(number, expected)
                entry = library.entry(item, inside)
                if entry is not None:
                    found += 1
                    out.event(*_told(library, item, entry))
    return 0 if found else 1


def _told(library: Library, item: Item, entry: Entry) -> tuple[dict[str, object], str]:
    place = f"{item.path}/{store.shown(entry.path)}"
    packages = library.catalogue.packages_with(item.path.base)
    names = sorted({f"{each.attribute} ({each.system})" for each in packages})
    facts: dict[str, object] = {
        "path": str(item.path),
        "file": store.shown(entry.path),
        "type": entry.kind,
        "executable": entry.executable,
        "packages": [{"attribute": each.attribute, "system": each.system} for each in packages],
    }
    return facts, "  ".join([place, *names])
