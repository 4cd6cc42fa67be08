"""`narbor publish`: the whole cache as one directory; its root is printed.

With `--name NAME`, or `names` in the configuration, IPNS names lead to it. The key of one is
`HOME/keys/NAME.pem`, made when it is first asked for, in the form that `ipfs key import` takes and
gives.
"""

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out, amount
from narbor.config import Config, peerkeys
from narbor.formats import ipns
from narbor.library import Library
from narbor.names import cid, peerkey
from narbor.names.peerkey import PeerKey
from narbor.tasks import publish
from narbor.tasks.publish import Circumstances, Looked, Published, naming
from narbor.tasks.publish.naming import Lasting
from narbor.tasks.release.lock import locked
from narbor.wiring import holders

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Named:
    """A name that leads to what was published, and the record that says so."""

    key_name: str
    key: PeerKey
    record: ipns.Record

    @property
    def text(self) -> str:
        """The name as IPNS spells it."""
        return peerkey.text(self.key.name)

    def facts(self) -> dict[str, object]:
        """Return what is said of it as JSON."""
        record = self.record
        return {
            "key": self.key_name,
            "name": self.text,
            "sequence": record.sequence,
            "until": record.until // _SECOND,
        }


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "publish", help="put the cache under one name, for any IPFS gateway"
    )
    parser.add_argument(
        "--whole", action="store_true", help="make it anew, not from what was published before"
    )
    parser.add_argument(
        "--name",
        action="append",
        metavar="NAME",
        help="let the IPNS name of this key lead to it, in place of those of the configuration; "
        "again and again",
    )
    parser.add_argument("--lifetime", type=int, metavar="HOURS", help="the name is good for (48)")
    parser.add_argument("--ttl", type=int, metavar="MINUTES", help="others may keep it for (5)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Publish; the root goes to standard output, and its names, a line each."""
    with store.opened(args, write=True) as (config, library):
        names = config.publish.names if args.name is None else tuple(args.name)
        lifetime, ttl = config.publish.lifetime * _SECOND, config.publish.ttl * _SECOND
        lasting = Lasting(
            lifetime if args.lifetime is None else args.lifetime * ipns.HOUR,
            ttl if args.ttl is None else args.ttl * ipns.MINUTE,
        )
        done, named = _turn(config, library, names, lasting, args.whole, out)
    _show(done, named, out)
    _hand_over(config, named, out)
    return 0


def turn(config: Config, out: Out) -> int:
    """Publish as the configuration says, for `narbor watch`."""
    lasting = Lasting(config.publish.lifetime * _SECOND, config.publish.ttl * _SECOND)
    with closing(wiring.open_library(config, write=True)) as library:
        done, named = _turn(config, library, config.publish.names, lasting, False, out)
    _show(done, named, out)
    _hand_over(config, named, out)
    return 0


def _turn(
    config: Config,
    library: Library,
    names: Sequence[str],
    lasting: Lasting,
    whole: bool,
    out: Out,
) -> tuple[Published, tuple[Named, ...]]:
    """Publish, and let names lead there. Nobody else here does so meanwhile."""
    who = wiring.process()
    with locked(config.home / "locks", "publish", who, "the cache is being published"):
        keys = [_key(config, name, out) for name in names]
        done = _published(config, library, whole, out)
        value = f"/ipfs/{cid.text(done.root)}".encode()
        records = [naming.name(library, key, value, time.time_ns(), lasting) for key in keys]
    return done, tuple(map(Named, names, keys, records))


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
    key = peerkeys.find(config, name)
    return key or _made(peerkeys.file(config, name), out)


def _made(file: Path, out: Out) -> PeerKey:
    key = PeerKey.generate()
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(str(key))
    out.say(f"a new key: {file}. Keep a copy; the name is nobody's without it")
    return key


def _hand_over(config: Config, names: Sequence[Named], out: Out) -> None:
    """Give the records to a Kubo, where there is one, so that the network learns of them.

    Each time anew, changed or not: it lets go of records that are not its own after two days.
    """
    url = config.ipfs.kubo
    if url is None or not names:
        return
    with closing(holders.open_kubo(config, url)) as kubo:
        for each in names:
            kubo.name_put(each.text, each.record.text)
            out.say(f"{kubo.name} was told of {each.text}")


def _show(done: Published, names: Sequence[Named], out: Out) -> None:
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
    said = [each.facts() for each in names]
    if said:
        # A domain that points at the name need not change with each root.
        facts |= {**said[0], "dnslink": f"dnslink=/ipns/{said[0]['name']}", "names": said}
    out.event(facts, "\n".join([root, *(each.text for each in names)]))
    out.say(
        f"{done.items:,} items ({done.added:,} new, {done.removed:,} gone); "
        f"{done.blocks:,} blocks written ({amount(done.size)})"
    )
    out.say(f"for a TXT record of _dnslink.DOMAIN: {facts['dnslink']}")
