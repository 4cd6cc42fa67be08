"""`narbor search WORD...`: packages of the releases that are here; without releases, items."""

import argparse
from collections.abc import Iterator
from itertools import islice

from narbor.catalogue import Package
from narbor.cli import store
from narbor.cli.options import Commands, count
from narbor.cli.out import Out
from narbor.library import Library
from narbor.names.item import Item

LIMIT = 50


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "search", help="find packages by attribute, name or description; or items by name"
    )
    parser.add_argument("words", nargs="+", metavar="WORD", help="all of them must stand there")
    parser.add_argument("--channel", metavar="NAME", help="only what this channel has now")
    parser.add_argument("--release", metavar="NAME", help="... or had in this release")
    parser.add_argument("--system", metavar="SYSTEM", help="only for this one: x86_64-linux")
    parser.add_argument(
        "--limit", type=count, metavar="N", default=LIMIT, help=f"at most so many ({LIMIT})"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Give what was found; 1 when that is nothing."""
    if args.release and not args.channel:
        raise store.NoSuchPlace("--release names a release of a channel: say --channel too")
    with store.opened(args) as (_, library):
        if not library.catalogue.releases():
            out.detail("no release is here: items are searched by name")
            return _items(library, args, out)
        known = [each.name for each in library.catalogue.channels()]
        if args.channel and args.channel not in known:
            raise store.NoSuchPlace(
                f"no channel is called {args.channel!r}; there are {', '.join(known)}"
            )
        found = library.catalogue.search(
            args.words, args.channel, args.release, args.system, args.limit
        )
        for package in found:
            out.event(_facts(library, package), _spell(package))
    return 0 if found else 1


def _facts(library: Library, package: Package) -> dict[str, object]:
    here = library.known(base for _, base in package.outputs)
    return {
        "attribute": package.attribute,
        "system": package.system,
        "name": package.name,
        "description": package.description,
        "outputs": {
            name: {"path": f"{library.store}/{base}", "here": base in here}
            for name, base in package.outputs
        },
    }


def _spell(package: Package) -> str:
    said = f"  {package.description}" if package.description else ""
    return f"{package.attribute:<32}  {package.name:<32}  {package.system}{said}"


def _items(library: Library, args: argparse.Namespace, out: Out) -> int:
    found = list(islice(_named(library, [word.lower() for word in args.words]), args.limit))
    for item in found:
        out.event({"path": str(item.path), "narSize": item.seal.size}, str(item.path))
    return 0 if found else 1


def _named(library: Library, words: list[str]) -> Iterator[Item]:
    for item in library.items():
        name = item.path.name.lower()
        if all(word in name for word in words):
            yield item
