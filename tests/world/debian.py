"""Debian's package index: which packages a few names need, and in which order they build.

Specification: Debian Policy, chapters 5 (control files) and 7 (relationships).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True, slots=True)
class Package:
    """One binary package: `depends` holds groups of alternatives, `provides` virtual names."""

    name: str
    version: str
    depends: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]


def read(index: str) -> Iterator[Package]:
    """Read the stanzas of a Packages file, as `apt-cache dumpavail` prints them."""
    for stanza in index.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if _is_field(line))
        if "Package" not in fields:
            continue
        needed = ", ".join(fields[field] for field in ("Pre-Depends", "Depends") if field in fields)
        yield Package(
            fields["Package"],
            fields["Version"],
            tuple(_names(group) for group in needed.split(",") if group.strip()),
            _names(fields.get("Provides", "").replace(",", "|")),
        )


def _is_field(line: str) -> bool:
    """Tell a field's first line from its continuation lines."""
    return not line.startswith(" ") and ": " in line


def _names(group: str) -> tuple[str, ...]:
    """Read the names of `one (>= 1) | other:any`, without versions and architectures."""
    found = (_NAME.match(choice.strip()) for choice in group.split("|"))
    return tuple(name[0] for name in found if name is not None)


def closure(packages: Iterable[Package], roots: Iterable[str]) -> dict[str, list[str]]:
    """Map each package that `roots` need to its direct dependencies, dependencies first.

    Of alternatives the first that exists is taken. Debian has circles of dependencies, a store has
    none: an edge back to a package that is not finished yet is left out.
    """
    known: dict[str, Package] = {}
    provided: dict[str, str] = {}
    for package in packages:
        known.setdefault(package.name, package)
        for name in package.provides:
            provided.setdefault(name, package.name)
    finished: dict[str, list[str]] = {}
    _visit(known, provided, list(roots), finished, set())
    return finished


def _visit(
    known: Mapping[str, Package],
    provided: Mapping[str, str],
    names: Iterable[str],
    finished: dict[str, list[str]],
    open_: set[str],
) -> list[str]:
    """Finish `names` depth first and return those that are finished."""
    done = []
    for name in dict.fromkeys(names):
        if name not in finished and name not in open_:
            open_.add(name)
            wanted = (_choose(known, provided, group) for group in known[name].depends)
            needs = [need for need in wanted if need is not None]
            finished[name] = _visit(known, provided, needs, finished, open_)
        if name in finished:
            done.append(name)
    return done


def _choose(
    known: Mapping[str, Package], provided: Mapping[str, str], group: Iterable[str]
) -> str | None:
    """Choose the package that stands for a group of alternatives; None when there is none."""
    choices = list(group)
    real = [name for name in choices if name in known]
    return next(iter(real or [provided[name] for name in choices if name in provided]), None)
