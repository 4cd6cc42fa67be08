"""`narbor publish`: the whole cache as one directory; its root is printed.

With `--name NAME` an IPNS name leads to it: its key is `HOME/keys/NAME.pem`, made when it is first
asked for, in the form that `ipfs key import` takes and gives.
"""

import argparse
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out, amount
from narbor.config import Config
from narbor.formats import ipns
from narbor.library import Library
from narbor.names import cid, peerkey
from narbor.names.keys import CorruptKey
from narbor.names.peerkey import PeerKey
from narbor.tasks import publish
from narbor.tasks.publish import Circumstances, Looked, Published, naming
from narbor.tasks.publish.naming import Lasting

_SECOND: Final = 1_000_000_000


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "publish", help="put the cache under one name, for any IPFS gateway"
    )
    parser.add_argument(
        "--whole", action="store_true", help="make it anew, not from what was published before"
    )
    parser.add_argument("--name", metavar="NAME", help="let the IPNS name of this key lead to it")
    parser.add_argument(
        "--lifetime", type=int, default=48, metavar="HOURS", help="the name is good for (48)"
    )
    parser.add_argument(
        "--ttl", type=int, default=5, metavar="MINUTES", help="others may keep it for (5)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Publish; the root goes to standard output, and the name if there is one, a line each."""
    lasting = Lasting(args.lifetime * ipns.HOUR, args.ttl * ipns.MINUTE)
    with store.opened(args, write=True) as (config, library):
        key = None if args.name is None else _key(config, args.name, out)
        done = _published(config, library, args.whole, out)
        record = None
        if key is not None:
            value = f"/ipfs/{cid.text(done.root)}".encode()
            record = naming.name(library, key, value, time.time_ns(), lasting)
        _show(done, key, record, out)
    return 0


def _published(config: Config, library: Library, whole: bool, out: Out) -> Published:
    keys = wiring.signing_keys(config)
    at = Circumstances(int(time.time()), wiring.process(), keys, config.serve.priority)
    with out.bar("publish") as bar, closing(publish.publish(library, at, whole)) as events:
        for event in events:
            match event:
                case Looked(items):
                    bar.update(items, None)
                case Published():
                    return event
    raise AssertionError("publishing ends with what was published")


def _key(config: Config, name: str, out: Out) -> PeerKey:
    """Read the key of a name, or make it."""
    if "/" in name or name.startswith(".") or not name:
        raise CorruptKey(f"{name!r} cannot be the name of a file")
    file = wiring.key_folder(config) / f"{name}.pem"
    try:
        return PeerKey.parse(file.read_text("ascii"))
    except FileNotFoundError:
        return _made(file, out)
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptKey(f"{file} cannot be read: {error}") from error


def _made(file: Path, out: Out) -> PeerKey:
    key = PeerKey.generate()
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(str(key))
    out.say(f"a new key: {file}. Keep a copy; the name is nobody's without it")
    return key


def _show(done: Published, key: PeerKey | None, record: ipns.Record | None, out: Out) -> None:
    root = cid.text(done.root)
    facts: dict[str, object] = {
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
    lines = [root]
    if key is not None and record is not None:
        name = peerkey.text(key.name)
        facts |= {"name": name, "sequence": record.sequence, "until": record.until // _SECOND}
        # A domain that points at the name need not change with each root.
        facts["dnslink"] = f"dnslink=/ipns/{name}"
        lines.append(name)
    out.event(facts, "\n".join(lines))
    out.say(
        f"{done.items:,} items ({done.added:,} new, {done.removed:,} gone); "
        f"{done.blocks:,} blocks written ({amount(done.size)})"
    )
    out.say(f"for a TXT record of _dnslink.DOMAIN: {facts['dnslink']}")
