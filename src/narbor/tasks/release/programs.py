"""Which programs the packages of a release bring, read out of their items' own trees.

No evaluator and no listing of an upstream is asked: what is here is looked at. A program is a file
that may be executed, right in `bin`, whose name does not begin with a dot; links are followed.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from narbor.catalogue import Package
from narbor.formats.programs import Program
from narbor.library import links
from narbor.library.links import Elsewhere, Found
from narbor.names.item import Item

_BIN: Final = b"bin"


class Trees(links.Items, Protocol):
    """What is needed of a library."""

    def names(self, item: Item, path: bytes) -> list[bytes]:
        """Return the names in a directory."""
        ...


def programs(library: Trees, packages: Iterable[Package]) -> Iterator[Program]:
    """Give the programs of all packages; outputs that are not here bring none.

    A path that several packages put out belongs to the one with the shortest attribute, among
    equals the first: so it was in NixOS's own index.
    """
    owners: dict[tuple[str, str], str] = {}
    for package in packages:
        for _, base in package.outputs:
            key = (base, package.system)
            owner = owners.get(key)
            if owner is None or _rank(package.attribute) < _rank(owner):
                owners[key] = package.attribute
    for (base, system), attribute in sorted(owners.items()):
        item = library.item(base)
        if item is not None:
            yield from ((name, system, attribute) for name in in_bin(library, item))


def in_bin(library: Trees, item: Item) -> Iterator[str]:
    """Give the names of an item's programs. Names that are not UTF-8 cannot be asked for."""
    for name in library.names(item, _BIN):
        if name.startswith(b"."):
            continue
        found = links.follow(library, item, _BIN + b"/" + name)
        # A link into an item that is not here is taken at its word.
        there = isinstance(found, Elsewhere) and found.target.startswith(library.store.encode())
        if there or (isinstance(found, Found) and found.entry.executable):
            try:
                yield name.decode()
            except UnicodeDecodeError:
                continue


def _rank(attribute: str) -> tuple[int, str]:
    return len(attribute), attribute
