"""Options that many commands share, and how they are read."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from narbor import config
from narbor.errors import Rejected
from narbor.names import storepath
from narbor.names.storepath import StorePath

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line and says where help is.

    Options may stand between arguments: `mirror URL --trust KEY PATH`.
    """

    _mixing = False

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse; argparse's own way would end a list of arguments at the first option."""
        verbs = any(isinstance(each, argparse._SubParsersAction) for each in self._actions)
        if verbs or self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        """Write the complaint and exit with 2."""
        self.exit(2, f"narbor: {message} (see `{self.prog} --help`)\n")


def add_globals(parser: argparse.ArgumentParser, default: Any = None) -> None:
    """Add the options that stand before or after the verb."""
    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--home", type=Path, metavar="DIR", default=default, help="where everything is kept"
    )
    group.add_argument(
        "--config", type=Path, metavar="FILE", default=default, help="narbor.toml to read"
    )
    for names, what in (
        (("--json",), "results as JSON"),
        (("-q", "--quiet"), "only results and errors"),
        (("-v", "--verbose"), "say more"),
        (("--no-progress",), "no progress bars or lines"),
    ):
        group.add_argument(*names, action="store_true", default=default or False, help=what)


def size(text: str) -> int:
    """Read a size for argparse."""
    try:
        return config.size(text)
    except config.BadConfig as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    """Read a whole number of 1 or more for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def level(text: str) -> int:
    """Read a zstd level, 1 to 22, for argparse."""
    number = count(text)
    if number > 22:
        raise argparse.ArgumentTypeError(f"{text!r}: zstd levels go from 1 to 22")
    return number


def rate(text: str) -> float:
    """Read MB/s, more than 0, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate in MB/s above 0")
    return number


def store_path(text: str) -> StorePath:
    """Read a full store path for argparse."""
    try:
        return storepath.parse(text)
    except Rejected as error:
        raise argparse.ArgumentTypeError(str(error)) from error
