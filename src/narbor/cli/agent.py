"""`narbor agent`: a substituter for the Nix of this machine; `narbor agent status` asks it.

Like `narbor serve`, it says how to use it and becomes a program of its own; flags go over as the
NARBOR_* variables that say the same.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from narbor import config as configuration
from narbor import wiring
from narbor.cli import loopback
from narbor.cli.options import Commands, size
from narbor.cli.out import Out, amount, duration
from narbor.cli.serve import ALLOCATOR
from narbor.config import Config
from narbor.errors import Unavailable

_WAYS: Final = (("seed", "from the local store"), ("blocks", "by blocks"), ("nar", "as NARs"))


class NoAgent(Unavailable):
    """What answers where the agent should be is something else."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "agent",
        help="a substituter on this machine: only what is new is fetched",
        epilog="Exit codes: 0 stopped by SIGTERM or SIGINT, or told · 2 the configuration is wrong "
        "· 3 the address is taken, the store cannot be opened, or no agent answers.",
    )
    parser.add_argument(
        "what", nargs="?", choices=("run", "status"), default="run", help="status: what it has done"
    )
    many: dict[str, Any] = {"action": "append", "metavar": "URL"}
    parser.add_argument("--upstream", **many, help="a cache to ask; again and again, in order")
    parser.add_argument(
        "--from", dest="source", **many, help="a narbor or gateway with blocks; again and again"
    )
    parser.add_argument(
        "--trust", action="append", metavar="KEY", help="a public key, or a file of some"
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="where (127.0.0.1:8643)")
    parser.add_argument("--size", type=size, metavar="SIZE", help="of its own store (5GB)")
    parser.add_argument(
        "--seed-store", type=Path, metavar="DIR", help="a Nix store to take from (/nix/store)"
    )
    parser.add_argument(
        "--access-log",
        nargs="?",
        const="-",
        metavar="FILE",
        help="note every answer in FILE, or on standard error",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Start the agent, or ask it."""
    environment = {**os.environ, **variables(args)}
    config = configuration.load(environment=environment)
    return _status(config, out) if args.what == "status" else _start(args, config, environment, out)


def _start(
    args: argparse.Namespace, config: Config, environment: dict[str, str], out: Out
) -> NoReturn:
    """Check what can be checked, say how to use the agent, become it."""
    # Keys may stand in files: the program that we become is told the keys.
    ring = wiring.keyring(config, args.trust or (), config.agent.upstreams)
    environment["NARBOR_KEYS"] = " ".join(map(str, ring.keys))
    out.say("in nix.conf:")
    out.say(f"  substituters = http://{config.agent.listen} {' '.join(config.agent.upstreams)}")
    _become({**ALLOCATOR, **environment})


def variables(args: argparse.Namespace) -> dict[str, str]:
    """Spell the flags that were given as variables; paths in full. An own home is `HOME/agent`."""
    said = {
        "NARBOR_HOME": args.home and args.home.absolute(),
        "NARBOR_AGENT_FOLDER": args.home and args.home.absolute() / "agent",
        "NARBOR_CONFIG": args.config and args.config.absolute(),
        "NARBOR_AGENT_UPSTREAMS": args.upstream and " ".join(args.upstream),
        "NARBOR_AGENT_SOURCES": args.source and " ".join(args.source),
        "NARBOR_AGENT_LISTEN": args.listen,
        "NARBOR_AGENT_SIZE": args.size,
        "NARBOR_AGENT_SEEDS": args.seed_store and args.seed_store.absolute(),
        "NARBOR_ACCESS_LOG": args.access_log,
    }
    return {name: str(value) for name, value in said.items() if value is not None}


def _status(config: Config, out: Out) -> int:
    url = f"http://{config.agent.listen}/agent/status"
    try:
        facts = json.loads(loopback.get(url))
        text = describe(facts)
    except (ValueError, KeyError, TypeError) as error:
        raise NoAgent(f"what answers at {url} is no agent: {error}") from error
    out.result(facts, text)
    return 0


def describe(facts: Mapping[str, Any]) -> str:
    """Tell a person what the agent has done."""
    sums: Mapping[str, int] = facts["sums"]
    most, own = amount(facts["size"]), amount(sums.get("own_bytes", 0))
    lines = [
        f"running    {duration(facts['seconds'])}, for {facts['store']}",
        f"own store  {facts['items']:,} items, {amount(facts['atRest'])}, at most {most}",
        f"given      {amount(sums.get('given', 0))}, of that {own} from the own store",
    ]
    for way, text in _WAYS:
        count, total = sums.get(f"{way}_items", 0), sums.get(f"{way}_bytes", 0)
        if count:
            lines.append(
                f"{'made' if way == 'seed' else '':10} {count:,} items {text}, {amount(total)}"
            )
    plain = sums.get("plain", 0)
    share = f" ({100 * facts['fetched'] / plain:.2f} %)" if plain else ""
    lines.append(f"fetched    {amount(facts['fetched'])} in place of {amount(plain)}{share}")
    for each in facts["wire"]:
        received, sent = amount(each["received"]), amount(each["sent"])
        lines.append(f"{'wire':10} {each['name']}: {received} received, {sent} sent")
    lines += [_line("upstream", each) for each in facts["upstreams"]]
    lines += [_line("source", each) for each in facts["sources"]]
    if facts["trouble"]:
        lines.append(f"trouble    {facts['trouble']}")
    return "\n".join(lines)


def _line(kind: str, each: Mapping[str, Any]) -> str:
    """Tell of one upstream or source."""
    parts = [f"{each['requests']:,} requests", amount(each["bytes"])]
    if each["blocks"]:
        parts.insert(1, f"{each['blocks']:,} blocks")
    if each["failures"]:
        parts.append(f"{each['failures']:,} failures, {each['lies']:,} of them lies")
    if each["resting"]:
        parts.append(f"left alone for {duration(each['resting'])} more ({each['last']})")
    return f"{kind:10} {each['name']}: {', '.join(parts)}"


def _become(environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: what lies in the current folder is no part of the program.
    os.execve(sys.executable, (sys.executable, "-P", "-m", "narbor.serve.agent"), environment)
