"""`narbor failed`: what could not be had, and where upstreams contradict each other."""

import argparse
from datetime import UTC, datetime

from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("failed", help="what could not be had, and why")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """List failures, then conflicts."""
    with store.opened(args) as (_, library):
        failures, conflicts = library.failures(), library.conflicts()
    for kind, records in (("failed", failures), ("conflict", conflicts)):
        for record in records:
            when = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="seconds")
            facts = {
                "kind": kind,
                "item": record.base,
                "upstream": record.upstream,
                "reason": record.reason,
                "time": when,
            }
            out.event(facts, f"{kind}  {when}  {record.base}\n  {record.upstream}: {record.reason}")
    if not failures and not conflicts:
        out.say("nothing failed")
    return 0
