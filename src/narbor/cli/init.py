"""`narbor init`: make the home, an empty store and a configuration file."""

import argparse

from narbor import config as configuration
from narbor import wiring
from narbor.cli.options import Commands
from narbor.cli.out import Out


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("init", help="make the home and an example configuration")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Make what is not there yet; what is there stays as it is."""
    config = configuration.load(args.home, args.config)
    wiring.open_library(config, write=True).close()
    file = config.home / configuration.FILE_NAME
    made = not file.exists()
    if made:
        file.write_text(configuration.example(), "utf-8")
    out.result(
        {"home": str(config.home), "config": str(file), "written": made},
        f"{config.home} is ready; the configuration is {file}",
    )
    return 0
