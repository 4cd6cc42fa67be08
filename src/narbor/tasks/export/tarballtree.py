"""Tarballs as a plain folder, which nginx, rsync or a stick can carry, for `hashed-mirrors`.

    sha512/HEX                                            the files
    md5/HEX sha1/HEX sha256/HEX sha256/NIX32 sha512/NIX32  links to them
    by-name/REV/NAME  revisions/REV/HEX                    by revision
    revisions/REV/log                                      what could not be had
    lastsync                                               when this was written, in seconds

Only what changed is touched. A file comes before what leads to it, and goes after.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from narbor.library import Library
from narbor.names.tarball import Tarball
from narbor.tasks.export.tree import Tree

MARKS: Final = ("sha512", "lastsync")
FOLDERS: Final = ("sha512", "sha256", "sha1", "md5", "by-name", "revisions")


@dataclass(frozen=True, slots=True)
class Done:
    """So far: files that are there, those that were written and their bytes, names taken away."""

    files: int
    written: int
    size: int
    removed: int


def export(library: Library, folder: Path, now: int) -> Iterator[Done]:
    """Write all tarballs of a library into a folder; gives the counts as they grow.

    Raises NotOurs, TreeBusy, TreeFull, and what the library raises for content it has lost.
    """
    tree = Tree(folder)
    done = Done(0, 0, 0, 0)
    with tree.owned(MARKS):
        for name in FOLDERS:
            tree.mkdir(name)
        kept: dict[str, set[str]] = {name: set() for name in FOLDERS}
        for tarball in library.catalogue.tarballs():
            done = _file(library, tree, tarball, kept, done)
            yield done
        for revision, _ in library.revisions():
            _revision(library, tree, revision, kept)
        removed = sum(_tidy(tree, name, names) for name, names in kept.items())
        for name in kept:
            tree.sync(name)
        tree.write("lastsync", str(now).encode())
        yield replace(done, removed=removed)


def _file(
    library: Library, tree: Tree, tarball: Tarball, kept: dict[str, set[str]], done: Done
) -> Done:
    """Write one file, unless it is there, and the links to it."""
    place = f"sha512/{tarball.sha512.hex}"
    written = tree.size(place) != tarball.size
    if written:
        # A file is named by its content: one of the right size is the right one.
        tree.place(tree.stage(library.content(tarball.root)), place)
    names = [f"{each.algorithm}/{each.hex}" for each in tarball.digests]
    names += [f"{each.algorithm}/{each.nix32}" for each in (tarball.sha256, tarball.sha512)]
    for name in names:
        if name != place:
            tree.point(name, f"../{place}")
        top, _, last = name.partition("/")
        kept[top].add(last)
    more = tarball.size if written else 0
    return Done(done.files + 1, done.written + written, done.size + more, 0)


def _revision(library: Library, tree: Tree, revision: str, kept: dict[str, set[str]]) -> None:
    names, hashes = f"by-name/{revision}", f"revisions/{revision}"
    for folder in (names, hashes):
        tree.mkdir(folder)
        kept[folder] = set()
    for name, tarball in library.tarballs_of(revision):
        place = tarball.sha512.hex
        tree.point(f"{names}/{name}", f"../../sha512/{place}")
        tree.point(f"{hashes}/{place}", f"../../sha512/{place}")
        kept[names].add(name)
        kept[hashes].add(place)
    text = "".join(each.line for each in library.unfetched(revision))
    tree.write(f"{hashes}/log", text.encode("utf-8", "backslashreplace"))
    kept[hashes].add("log")
    kept["by-name"].add(revision)
    kept["revisions"].add(revision)


def _tidy(tree: Tree, folder: str, kept: set[str]) -> int:
    """Take away what is not kept; return how many names that were."""
    gone = [name for name in tree.names(folder) if name not in kept]
    for name in gone:
        if name in tree.folders(folder):
            _tidy(tree, f"{folder}/{name}", set())
            tree.prune(f"{folder}/{name}")
        else:
            tree.remove(f"{folder}/{name}")
    return len(gone)
