"""`narbor publish`: the whole cache as one directory; its root is printed."""

import argparse
import time
from contextlib import closing

from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out, amount
from narbor.names import cid
from narbor.tasks import publish
from narbor.tasks.publish import Circumstances, Looked, Published


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "publish", help="put the cache under one name, for any IPFS gateway"
    )
    parser.add_argument(
        "--whole", action="store_true", help="make it anew, not from what was published before"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Publish; the root goes to standard output, alone."""
    with store.opened(args, write=True) as (config, library), out.bar("publish") as bar:
        keys = wiring.signing_keys(config)
        at = Circumstances(int(time.time()), wiring.process(), keys, config.serve.priority)
        with closing(publish.publish(library, at, args.whole)) as events:
            for event in events:
                match event:
                    case Looked(items):
                        bar.update(items, None)
                    case Published():
                        _show(event, out)
    return 0


def _show(done: Published, out: Out) -> None:
    root = cid.text(done.root)
    facts = {
        "event": "published",
        "root": root,
        "path": f"/ipfs/{root}",
        "dnslink": f"dnslink=/ipfs/{root}",
        "items": done.items,
        "added": done.added,
        "removed": done.removed,
        "blocks": done.blocks,
        "bytes": done.size,
    }
    out.event(facts, root)
    out.say(
        f"{done.items:,} items ({done.added:,} new, {done.removed:,} gone); "
        f"{done.blocks:,} blocks written ({amount(done.size)})"
    )
