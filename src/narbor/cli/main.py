"""`narbor`: read the command line, run one command, end with its exit code.

0 all done · 1 done but for what is listed · 2 the call or the configuration is wrong · 3 nothing
could be done · 130 interrupted.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from narbor.cli.options import Commands, Parser, add_globals
from narbor.cli.out import Out
from narbor.errors import NarborError, Refused

# The modules of the commands, in the order of the help; each is loaded when it is asked for.
COMMANDS: Final = (
    "demo",
    "mirror",
    "watch",
    "serve",
    "agent",
    "release",
    "tarballs",
    "publish",
    "replicate",
    "export",
    "import_",
    "backup",
    "forget",
    "info",
    "ls",
    "cat",
    "search",
    "which",
    "failed",
    "status",
    "verify",
    "collect",
    "reindex",
    "key",
    "config",
    "init",
)
_OF_OLD: Final = "familiar"
_VALUED: Final = ("--home", "--config")


def entry() -> int:
    """Run the program; return its exit code."""
    return run(sys.argv[1:])


def run(words: Sequence[str]) -> int:
    """Run one command line; every way to fail ends in one line and a code."""
    out = Out()
    try:
        args = parser(words).parse_args(words)
        out = Out(args.json, args.quiet, args.verbose, not args.no_progress)
        code: int = args.run(args, out)
        sys.stdout.flush()
    except KeyboardInterrupt:
        out.warn("interrupted")
        return 128 + signal.SIGINT
    except Refused as error:
        return _failed(out, error, 2)
    except BrokenPipeError:
        # The reader has gone (`narbor ls | head`): nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (NarborError, OSError) as error:
        return _failed(out, error, 3)
    return code


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of as much of it as these words need."""
    whole = Parser(
        prog="narbor",
        description="One verified store of Nix and Guix software, and every door to it.",
        allow_abbrev=False,
    )
    add_globals(whole)
    _fill(whole, _needed(words))
    return whole


def _fill(whole: argparse.ArgumentParser, modules: Sequence[str]) -> None:
    commands = whole.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name in modules:
        importlib.import_module(f"narbor.cli.{name}").add(commands)
    _spread(commands)


def _needed(words: Sequence[str]) -> Sequence[str]:
    """Return the modules that a command line needs: all, unless its verb is one of ours."""
    rest = iter(words)
    for word in rest:
        if word in _VALUED:
            next(rest, None)
        elif not word.startswith("-"):
            modules = [name for name in COMMANDS if name.rstrip("_") == word]
            return modules or (*COMMANDS, _OF_OLD)
    return (*COMMANDS, _OF_OLD)


def _spread(commands: Commands) -> None:
    """Give the global options to every command, and to its sub-commands."""
    # A command that has an alias stands there twice.
    for each in dict.fromkeys(commands.choices.values()):
        each.allow_abbrev = False
        add_globals(each, argparse.SUPPRESS)
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                _spread(action)


def _failed(out: Out, error: Exception, code: int) -> int:
    out.warn(str(error))
    return code
