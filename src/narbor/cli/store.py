"""What commands that read the store share: opening it, and finding what a person means."""

import argparse
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from narbor import config as configuration
from narbor import wiring
from narbor.cli.out import printable
from narbor.config import Config
from narbor.errors import Refused
from narbor.library import Library
from narbor.names import storepath
from narbor.names.item import Item
from narbor.names.storepath import StorePath

_PLACE = re.compile(r"(?:.*/)?([0-9a-df-np-sv-z]{32}(?:-[^/]*)?)(?:/+(.*))?", re.DOTALL)


class NoSuchPlace(Refused):
    """A text names no item, or nothing inside it."""


@contextmanager
def opened(args: argparse.Namespace, write: bool = False) -> Iterator[tuple[Config, Library]]:
    """Open the library that the global options name, and close it in the end."""
    config = configuration.load(args.home, args.config)
    library = wiring.open_library(config, write)
    try:
        yield config, library
    finally:
        library.close()


@contextmanager
def library(config: Config, looking: bool) -> Iterator[Library]:
    """Open the store to write, and close it in the end; who only looks makes none for it."""
    try:
        found = wiring.open_library(config, write=not looking)
    except wiring.NoStore:
        with tempfile.TemporaryDirectory(prefix="narbor-") as folder:
            empty = configuration.replace(config, home=Path(folder))
            with closing(wiring.open_library(empty, write=True)) as nothing:
                yield nothing
        return
    with closing(found):
        yield found


def locate(library: Library, text: str) -> tuple[Item, bytes]:
    """Return the item and the path inside it that `HASH-NAME/some/file` means.

    A store directory in front and a bare hash part do as well. Raises Refused.
    """
    base, inside = place(text)
    return library.resolve(base), inside


def place(text: str) -> tuple[str, bytes]:
    """Split `HASH-NAME/some/file`, as `locate` takes it; raises NoSuchPlace where there is none.

    Returns the base name or bare hash part, and the path inside.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise NoSuchPlace(f"{text!r} names no store item (HASH-NAME, or only its HASH)")
    return match[1], os.fsencode(match[2] or "").strip(b"/")


def path_of(text: str, store: str) -> StorePath:
    """Return the store path that a full path or a base name spells; raises NoSuchPlace."""
    whole = text.rstrip("/")
    try:
        return storepath.parse(whole) if "/" in whole else storepath.of_base(whole, store)
    except storepath.MalformedStorePath as error:
        raise NoSuchPlace(str(error)) from error


def shown(name: bytes) -> str:
    """Spell a file name for a person: bytes that are no text, and control characters, escaped."""
    return printable(name.decode(errors="backslashreplace"))
