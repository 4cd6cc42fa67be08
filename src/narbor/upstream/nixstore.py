"""The store of the Nix on this machine: its items as NAR events, read from the file system.

Nothing but names is taken on trust: who uses the bytes hashes them. A file that changes while it
is read, and what can stand in no store, end in an error that names it.
"""

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from narbor.errors import Rejected, Unavailable
from narbor.formats import nar
from narbor.names import storepath

_PIECE: Final = 1 << 20
_HASH: Final = 32
_MOST: Final = 2_000_000  # names in a store
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Unreadable(Unavailable):
    """Something in the store cannot be read, or changed while it was."""


class NotAnArchive(Rejected):
    """Something in the store can be no part of an archive: a socket, a name that is too long."""


class NixStore:
    """A store directory, `/nix/store` or one like it. For any number of threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen = -1
        self._named: dict[str, list[str]] = {}

    def called(self, name: str) -> list[str]:
        """Return the base names of the items that are called `name`, the newest first."""
        self._look()
        found = self._named.get(name, [])
        return sorted(found, key=self._arrival, reverse=True) if len(found) > 1 else list(found)

    def names(self) -> Iterable[str]:
        """Return the names of all items, without their hash parts."""
        self._look()
        return tuple(self._named)

    def _look(self) -> None:
        """Read the names anew where the folder has changed."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            changed = -1
        with self._lock:
            if changed == self._seen:
                return
            self._named = self._read() if changed != -1 else {}
            self._seen = changed

    def _read(self) -> dict[str, list[str]]:
        named: dict[str, list[str]] = {}
        try:
            with os.scandir(self.folder) as entries:
                for number, entry in enumerate(entries):
                    base = entry.name
                    if number >= _MOST:
                        break
                    if storepath.is_hash_part(base[:_HASH]) and base[_HASH : _HASH + 1] == "-":
                        named.setdefault(base[_HASH + 1 :], []).append(base)
        except OSError:
            return {}
        return named

    def _arrival(self, base: str) -> int:
        try:
            return self.folder.joinpath(base).lstat().st_ctime_ns
        except OSError:
            return 0

    def events(self, base: str) -> Iterator[nar.Event[bytes]]:
        """Give an item as the events of its NAR; raises Unreadable, NotAnArchive."""
        return self._events(base, True)

    def size(self, base: str) -> int:
        """Return how many bytes the item's NAR has, by the sizes of its files alone.

        Raises Unreadable, NotAnArchive.
        """
        contents = 0

        def counted() -> Iterator[nar.Event[bytes]]:
            nonlocal contents
            for event in self._events(base, False):
                contents += event.size if isinstance(event, nar.File) else 0
                yield event

        return sum(map(len, nar.write(counted()))) + contents

    def _events(self, base: str, contents: bool) -> Iterator[nar.Event[bytes]]:
        try:
            with _opened(os.fsencode(self.folder), None, _FOLDER) as here:
                yield from _node(here, os.fsencode(base), b"", 0, contents)
        except OSError as error:
            place = self.folder / base
            raise Unreadable(f"{place} cannot be read: {error.strerror or error}") from error


@contextmanager
def _opened(name: bytes, folder: int | None, flags: int) -> Iterator[int]:
    here = os.open(name, flags, dir_fd=folder)
    try:
        yield here
    finally:
        os.close(here)


def _node(
    folder: int, entry: bytes, name: bytes, depth: int, contents: bool
) -> Iterator[nar.Event[bytes]]:
    """Give what stands in an open folder as `entry`, and all below it, under `name`."""
    found = os.stat(entry, dir_fd=folder, follow_symlinks=False)
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        yield nar.File(name, bool(found.st_mode & stat.S_IXUSR), found.st_size)
        if contents:
            yield from _contents(folder, entry, found)
    elif kind == stat.S_IFLNK:
        target = os.readlink(entry, dir_fd=folder)
        if not 0 < len(target) <= nar.LONGEST_TARGET:
            raise NotAnArchive(f"{_shown(entry)} is a link to {len(target)} bytes")
        yield nar.Symlink(name, target)
    elif kind == stat.S_IFDIR:
        if depth >= nar.DEEPEST:
            raise NotAnArchive(f"{_shown(entry)} lies deeper than {nar.DEEPEST} directories")
        yield nar.Directory(name)
        with _opened(entry, folder, _FOLDER) as here:
            for child in _sorted(here):
                yield from _node(here, child, child, depth + 1, contents)
        yield nar.END
    else:
        raise NotAnArchive(f"{_shown(entry)} is neither a file, a link nor a directory")


def _sorted(folder: int) -> list[bytes]:
    """Return the names in an open folder as a NAR has them; raises NotAnArchive."""
    with os.scandir(folder) as entries:
        names = sorted(os.fsencode(entry.name) for entry in entries)
    for name in names:
        if len(name) > nar.LONGEST_NAME:
            raise NotAnArchive(f"a name of {len(name)} bytes: {_shown(name)}")
    return names


def _contents(folder: int, entry: bytes, found: os.stat_result) -> Iterator[nar.Event[bytes]]:
    """Give a file's content, which must be as long as was said, and the file the same."""
    with _opened(entry, folder, _FILE) as here:
        opened = os.fstat(here)
        if (opened.st_dev, opened.st_ino) != (found.st_dev, found.st_ino):
            raise Unreadable(f"{_shown(entry)} was exchanged while it was read")
        left = found.st_size
        while left:
            piece = os.read(here, min(left, _PIECE))
            if not piece:
                raise Unreadable(f"{_shown(entry)} became shorter while it was read")
            left -= len(piece)
            yield nar.Data(piece)
        if os.read(here, 1):
            raise Unreadable(f"{_shown(entry)} became longer while it was read")


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
