"""`narbor ls PATH`: what lies inside an item that is here, or in a cache that lists it."""

import argparse
from collections.abc import Iterable, Iterator

from narbor import config as configuration
from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out
from narbor.errors import Unavailable
from narbor.formats import listing, narinfo
from narbor.formats.listing import Entry
from narbor.upstream import Cache


class NoListing(Unavailable):
    """A cache does not say what lies in an item."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("ls", help="list what lies inside an item")
    parser.add_argument("path", metavar="PATH", help="an item, or a folder in it: HASH-NAME/bin")
    parser.add_argument("-R", "--recursive", action="store_true", help="folders in folders too")
    parser.add_argument(
        "--from",
        dest="cache",
        metavar="CACHE",
        help="an item of this cache, which need not be here: as its .ls says, which nobody signs",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """List a folder, or one file."""
    if args.cache is not None:
        return _listed(args, out)
    with store.opened(args) as (_, library):
        item, inside = store.locate(library, args.path)
        _show(args, out, library.entries(item), inside, str(item.path))
    return 0


def _listed(args: argparse.Namespace, out: Out) -> int:
    """List what a cache says of an item; no store is needed for that."""
    base, inside = store.place(args.path)
    config = configuration.load(args.home, args.config)
    with wiring.open_http(config) as http:
        cache = wiring.open_upstream(args.cache, http)
        text = cache.listing(base[:32])
        if text is None:
            raise _unlisted(cache, base)
    try:
        entries = listing.parse(text)
    except listing.MalformedListing as error:
        raise listing.MalformedListing(f"{cache.name}/{base[:32]}.ls: {error}") from error
    _show(args, out, entries, inside, f"{base} of {cache.name}")
    return 0


def _unlisted(cache: Cache, base: str) -> NoListing:
    """Say why there is no listing: nothing is known of the item, or only its archive."""
    claim = cache.narinfo(base[:32])
    if claim is None:
        return NoListing(f"{cache.name} does not have {base}")
    path = narinfo.parse(claim).path
    return NoListing(
        f"{cache.name} has {path.base}, but no listing of it: mirror it, and list it here "
        f"(`narbor mirror {cache.name} --no-closure {path}`)"
    )


def _show(
    args: argparse.Namespace, out: Out, entries: Iterable[Entry], inside: bytes, where: str
) -> None:
    """Give what lies at `inside`; raises NoSuchPlace where that is nothing."""
    there = False
    for entry in _below(entries, inside, args.recursive):
        there = True
        if entry.kind != "directory" or entry.path != inside:
            out.event(_facts(entry), _spell(entry))
    if not there:
        raise store.NoSuchPlace(f"there is no {store.shown(inside)} in {where}")


def _below(entries: Iterable[Entry], inside: bytes, recursive: bool) -> Iterator[Entry]:
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
