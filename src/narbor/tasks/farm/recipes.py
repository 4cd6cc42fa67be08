"""Recipes: what the items of a small build farm are made of, before they are built.

A recipe names its own parts and the recipes it needs; nothing in it depends on a store path.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Copied:
    """A file as it lies on this machine."""

    source: Path
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Linked:
    """A program or library; its loader and run path will point into the recipes it needs.

    `loader` is the path of the loader inside the recipe `libraries[0]`, None for a library.
    `own` tells that libraries of its own recipe are needed too.
    """

    source: Path
    libraries: tuple[str, ...]
    loader: str | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """A text whose first line names its interpreter: a program of the recipe `by`."""

    source: Path
    by: str
    program: str


@dataclass(frozen=True, slots=True)
class Written:
    """A text written for the farm; `{NAME}` stands for the store path of that recipe."""

    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Pointer:
    """A symbolic link to `target` inside the recipe `to` (None: to `target` as it stands)."""

    to: str | None
    target: str


Part = Copied | Linked | Script | Written | Pointer


@dataclass(frozen=True, slots=True)
class Recipe:
    """One item to be: its name (`bash`, `zlib-1.2.13`), its files by path, what it needs."""

    name: str
    parts: tuple[tuple[str, Part], ...]
    needs: tuple[str, ...]
