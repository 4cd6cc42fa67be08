"""`narbor reindex`: make the index again from the packs alone."""

import argparse

from narbor import config as configuration
from narbor import wiring
from narbor.cli.options import Commands
from narbor.cli.out import Out


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("reindex", help="make the index again from the packs alone")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Read all packs; 1 when something in them is damaged."""
    config = configuration.load(args.home, args.config)
    packs = blocks = 0
    code = 0
    with out.bar("reindex") as bar:
        for each in wiring.reindex(config):
            packs += 1
            blocks += each.blocks
            bar.update(blocks, None, what="blocks")
            facts = {
                "event": "pack",
                "name": each.name,
                "blocks": each.blocks,
                "damaged": each.damaged,
                "skipped": each.skipped,
            }
            bad = each.damaged or each.skipped
            frames, rest = _many(each.damaged, "frame"), _many(each.skipped, "more byte")
            lost = f"damaged  {each.name}: {frames}, {rest}"
            code |= bool(bad)
            out.event(facts, lost if bad else None)
    out.event(
        {"event": "reindexed", "packs": packs, "blocks": blocks},
        f"{_many(blocks, 'block')} in {_many(packs, 'pack')}",
    )
    if code:
        out.say("`narbor verify --repair` fetches again what was in the damaged frames")
    return code


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
