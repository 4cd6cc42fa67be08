"""`narbor config example|check`: what can be configured, and whether what is there is right."""

import argparse

from narbor import config
from narbor.cli.options import Commands
from narbor.cli.out import Out


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("config", help="print an example configuration, or check yours")
    verbs = parser.add_subparsers(metavar="WHAT", required=True)
    verbs.add_parser("example", help="print narbor.toml with every key").set_defaults(run=example)
    verbs.add_parser("check", help="read the configuration and say what holds").set_defaults(
        run=check
    )


def example(args: argparse.Namespace, out: Out) -> int:
    """Print the example."""
    out.result({"example": config.example()}, config.example().rstrip("\n"))
    return 0


def check(args: argparse.Namespace, out: Out) -> int:
    """Read the configuration as every command does."""
    found = config.load(args.home, args.config)
    values = config.plain(found)
    lines = [f"{key} = {value!r}" for key, value in _flat(values)]
    out.result(values, "\n".join(lines))
    for note in config.notes(args.config):
        out.say(f"note: {note}")
    out.say("the configuration is right")
    return 0


def _flat(values: dict[str, object]) -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            flat += [(f"{key}.{inner}", what) for inner, what in value.items()]
        elif key == "channel" and isinstance(value, list | tuple):
            for each in value:
                flat += [(f"{key}.{each['name']}.{inner}", what) for inner, what in each.items()]
        else:
            flat.append((key, value))
    return flat
