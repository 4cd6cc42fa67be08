"""`narbor replicate TARGET`: give another place all that hangs from a root, and check it."""

import argparse
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Bar, Out, amount
from narbor.config import Config
from narbor.formats.exchange import Outcome
from narbor.library import Library
from narbor.names import cid, provider
from narbor.pins.carfolder import CarFolder
from narbor.pins.narbor import NarborHolder
from narbor.tasks import replicate
from narbor.tasks.replicate import (
    Checked,
    Circumstances,
    Done,
    Event,
    Kept,
    Lacking,
    Looked,
    Lost,
    Order,
    Unkept,
    promise,
    what,
)
from narbor.wiring import holders
from narbor.wiring.holders import Wish

SHOWN = 20
_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Words:
    """One call: the target, what goes there, and how. `since` is a word as `what` is."""

    target: str
    what: str = "cache"
    name: str | None = None
    since: str | None = None
    check: bool = False
    whole: bool = False
    wait: bool = True


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "replicate",
        help="give a node, another narbor, a service or a CAR all that hangs from a root",
        epilog="Exit codes: 0 it is all there · 1 something lacks, and is listed · 2 the call is "
        "wrong · 3 the target cannot be reached. docs/guide/replicate.md says more.",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="kubo:URL, http(s)://HOST of another narbor, pin:URL, FILE.car, FOLDER/",
    )
    parser.add_argument(
        "--what",
        default="cache",
        metavar="WHAT",
        help="cache (what was published last), CHANNEL/RELEASE, a store path, a CID",
    )
    parser.add_argument("--name", metavar="NAME", help="keep it there under this name")
    parser.add_argument("--check", action="store_true", help="give nothing: list what lacks there")
    parser.add_argument(
        "--since", metavar="WHAT", help="into CARs: leave out what hangs from this root"
    )
    parser.add_argument(
        "--whole", action="store_true", help="into a folder of CARs: begin anew, with everything"
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait until a service has it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Replicate; 1 when not all is there in the end."""
    words = Words(
        args.target, args.what, args.name, args.since, args.check, args.whole, not args.no_wait
    )
    holders.kind(words.target)  # before a store is made for nothing
    with store.opened(args) as (config, _):
        pass
    with store.opened(args, write=True) as (config, library):
        return once(config, library, words, out)


def once(config: Config, library: Library, words: Words, out: Out) -> int:
    """Replicate once, with a store that is open for writing; return the exit code."""
    name, root = what.find(library, words.what)
    since = None if words.since is None else what.find(library, words.since)[1]
    order = Order(words.name or name, root, since)
    wish = Wish(root, since, words.whole, thorough=words.check)
    if holders.kind(words.target) == holders.SERVICE:
        return _promise(config, words, order, out)
    at = Circumstances(int(time.time()), wiring.process())
    with holders.opened(config, words.target, wish) as holder:
        if isinstance(holder, CarFolder):
            for file in holder.carried():
                out.say(f"{file} is not here any more: what it held counts as carried over")
        work = replicate.check if words.check else replicate.replicate
        with (
            out.bar(f"replicate {words.target}") as bar,
            closing(work(library, holder, order, at)) as events,
        ):
            done = _follow(events, bar, out)
        if isinstance(holder, NarborHolder) and holder.outcome is not None:
            _tell_outcome(holder.outcome, out)
    _tell(done, order, words, out)
    return 0 if done.whole else 1


def _promise(config: Config, words: Words, order: Order, out: Out) -> int:
    """Let a pinning service keep the root; it is waited for unless told otherwise."""
    if words.since is not None or words.whole:
        raise holders.NoTarget(f"{words.target}: --since and --whole are for CARs")
    origins = tuple(map(provider.public, config.ipfs.public_url))
    root = cid.text(order.root)
    with holders.promised(config, words.target) as service:
        if words.check:
            stands = promise.look(service, order)
        else:
            if not origins:
                out.say("nobody is told where the blocks are: set public-url in the table ipfs")
            for stands in promise.ask(service, order, origins):
                out.detail(f"{words.target}: {stands.state}")
                if not stands.pending or not words.wait:
                    break
                time.sleep(_PAUSE)
        reason = "" if stands.whole else service.reason(order.name, order.root)
    facts = {"event": "done", "target": words.target, "name": order.name, "root": root}
    out.event({**facts, "state": stands.state, "reason": reason}, f"{order.name}  {root}")
    if not stands.whole:
        out.warn(f"{words.target}: {stands.state}{': ' if reason else ''}{reason}")
    return 0 if stands.whole else 1


def _follow(events: Iterator[Event], bar: Bar, out: Out) -> Done:
    shown = 0
    for event in events:
        match event:
            case Looked(blocks, _, size):
                bar.update(blocks, None, size, None, "blocks")
            case Checked(blocks):
                bar.update(blocks, None, 0, None, "blocks checked")
            case Kept(name, root):
                out.detail(f"kept there as {name}: {cid.text(root)}")
            case Unkept(reason):
                out.event({"event": "unkept", "reason": reason}, None)
                out.warn(f"it is not kept there: {reason}")
            case Lost(name, reason):
                out.event({"event": "lost", "cid": cid.text(name), "reason": reason}, None)
                out.warn(f"lost here: {cid.text(name)}: {reason}")
            case Lacking(name, mended):
                shown += 1
                facts = {"event": "lacking", "cid": cid.text(name), "mended": mended}
                text = "was given again" if mended else "lacks there"
                out.event(facts, f"{cid.text(name)}  {text}" if shown <= SHOWN else None)
            case Done():
                if shown > SHOWN:
                    out.say(f"... and {shown - SHOWN:,} more (--json lists all)")
                return event
    raise AssertionError("replicating ends with what was done")


def _tell(done: Done, order: Order, words: Words, out: Out) -> None:
    root = cid.text(done.root)
    facts = {
        "event": "done",
        "target": words.target,
        "name": order.name,
        "root": root,
        "blocks": done.blocks,
        "sent": done.sent,
        "bytes": done.size,
        "lacking": done.lacking,
        "lost": done.lost,
        "kept": done.kept,
    }
    gave = f"{done.sent:,} blocks given ({amount(done.size)}), {done.blocks:,} checked"
    if done.whole:
        out.event(facts, f"{order.name}  {root}")
        out.say(f"{gave}: all of it is there")
        return
    out.event(facts, None)
    if done.lost:
        out.warn(f"{done.lost:,} blocks are lost here: `narbor verify --repair` looks for them")
    if done.lacking:
        out.warn(f"{done.lacking:,} of {done.blocks:,} blocks lack there{_next(words)}")
    elif not done.kept and words.check:
        out.warn(f"all {done.blocks:,} blocks are there, but not kept{_next(words)}")


def _tell_outcome(outcome: Outcome, out: Out) -> None:
    """Say what became of a cache's items at another narbor, which has keys of its own."""
    out.say(
        f"there, {outcome.admitted:,} items came in, {outcome.known:,} were there, "
        f"{outcome.failed:,} failed"
    )
    for each in outcome.failures[:SHOWN]:
        out.warn(f"there: {each.what}: {each.reason}")


def _next(words: Words) -> str:
    return f": `narbor replicate {words.target}` gives them" if words.check else ""
