"""`narbor status`: how much is here, what it takes, and what is hidden and why."""

import argparse

from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out, amount
from narbor.names import cid

SHOWN = 10


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("status", help="how much is here, and what it takes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Tell the state of the store."""
    with store.opened(args) as (config, library):
        sizes = library.sizes()
        hidden = tuple(library.hidden())
        free = library.free_bytes()
        tarballs, tarball_size = library.catalogue.tarball_totals()
        channels = library.channels()
        kept = library.catalogue.kept_roots()
    at_rest = wiring.at_rest(config)
    facts: dict[str, object] = {
        "home": str(config.home),
        "store": config.store,
        "items": sizes.items,
        "narSize": sizes.nar_size,
        "atRest": at_rest,
        "free": free,
        "pins": sizes.pins,
        "failures": sizes.failures,
        "conflicts": sizes.conflicts,
        "logs": sizes.logs,
        "tarballs": tarballs,
        "tarballSize": tarball_size,
        "channels": {each.name: each.current for each in channels},
        "roots": {each.name: cid.text(each.root) for each in kept},
        "hidden": {each.base: list(each.missing) for each in hidden},
    }
    lines = [
        f"home       {config.home}",
        f"items      {sizes.items:,} of {config.store}, {amount(sizes.nar_size)} as NARs",
        f"at rest    {amount(at_rest)}{_share(at_rest, sizes.nar_size)}, {amount(free)} free",
        f"pins       {sizes.pins:,}",
        *(f"channel    {each.name} at {each.current or 'no release yet'}" for each in channels),
        *(f"root       {each.name}  {cid.text(each.root)}" for each in kept),
        f"failed     {sizes.failures:,}, conflicts {sizes.conflicts:,} (narbor failed)",
        f"hidden     {len(hidden):,} items whose references are not all here",
    ]
    if tarballs:
        lines.insert(2, f"tarballs   {tarballs:,} sources, {amount(tarball_size)}")
    for each in hidden[:SHOWN]:
        lines.append(f"           {each.base} lacks {', '.join(each.missing[:3])}")
    if len(hidden) > SHOWN:
        lines.append(f"           ... and {len(hidden) - SHOWN:,} more (--json lists all)")
    out.result(facts, "\n".join(lines))
    return 0


def _share(at_rest: int, nar_size: int) -> str:
    return f" ({100 * at_rest / nar_size:.1f} %)" if nar_size else ""
