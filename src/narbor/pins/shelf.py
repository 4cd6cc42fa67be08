"""A folder in which files appear whole or not at all: the few calls that this hangs on.

A file is written under a name that begins with a dot, made durable, and moved to its own in one
step. What a killed writer leaves under its dotted name is a draft, for the next one to go on with.
`Folder` is the real one. Tests give another, in memory, that fails as it is told.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from narbor.errors import Unavailable

_LOCK: Final = ".lock"
_PIECE: Final = 1 << 20


class ShelfFull(Unavailable):
    """A folder cannot be written to: full, read-only, gone."""


class ShelfBusy(Unavailable):
    """Somebody writes to the folder already."""


class Draft(Protocol):
    """A file that is being written."""

    def size(self) -> int:
        """Return its length in bytes."""
        ...

    def append(self, data: bytes) -> None:
        """Write at the end; all of it, or ShelfFull is raised and nothing counts as written."""
        ...

    def patch(self, data: bytes) -> None:
        """Write over its beginning."""
        ...

    def truncate(self, size: int) -> None:
        """Cut it off."""
        ...

    def sync(self) -> None:
        """Make it durable."""
        ...

    def close(self) -> None:
        """Give it up; it stays as it is."""
        ...


class Shelf(Protocol):
    """One folder. Names are those of files in it."""

    def path(self, name: str) -> str:
        """Return what a file is called in a message."""
        ...

    def names(self) -> list[str]:
        """Return the names of all files, drafts too, sorted."""
        ...

    def size(self, name: str) -> int | None:
        """Return the length of a file in bytes; None if there is none."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`; fewer only at the end; b"" if it is not there."""
        ...

    def open(self, name: str) -> Draft:
        """Open a file to write to it; it is made if it is not there."""
        ...

    def move(self, old: str, new: str) -> None:
        """Give a durable file another name, in one step; what had that name is no more."""
        ...

    def remove(self, name: str) -> None:
        """Unlink a file; absent is no error."""
        ...

    def close(self) -> None:
        """Let the folder go."""
        ...


def content(shelf: Shelf, name: str) -> Iterator[bytes]:
    """Give all bytes of a file."""
    at = 0
    while data := shelf.read(name, at, _PIECE):
        yield data
        at += len(data)


class _Draft:
    def __init__(self, path: Path) -> None:
        self._path = path
        with _told(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o666)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def append(self, data: bytes) -> None:
        start = self.size()
        try:
            self._write(data, start)
        except ShelfFull:
            with suppress(OSError):
                os.ftruncate(self._descriptor, start)
            raise

    def patch(self, data: bytes) -> None:
        self._write(data, 0)

    def _write(self, data: bytes, at: int) -> None:
        view = memoryview(data)
        with _told(self._path):
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written

    def truncate(self, size: int) -> None:
        with _told(self._path):
            os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        with _told(self._path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in the house's words what the system says of a file."""
    try:
        yield
    except OSError as error:
        raise ShelfFull(f"{path} cannot be written: {error.strerror}") from error


class Folder:
    """A folder of a local file system; `whole`: nobody else may write to it meanwhile."""

    def __init__(self, folder: Path, whole: bool) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._reading: tuple[str, int] | None = None
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if whole:
                self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if self._lock is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.close()
                raise ShelfBusy(f"another narbor writes to {folder}") from None

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._folder / name)

    def names(self) -> list[str]:
        """Return the names of all files."""
        with _told(self._folder):
            return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_file())

    def size(self, name: str) -> int | None:
        """Return the length of a file."""
        try:
            return (self._folder / name).stat().st_size
        except OSError:
            return None

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Read from a file, which stays open until another one is read."""
        try:
            if self._reading is None or self._reading[0] != name:
                self._end_reading()
                self._reading = name, os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._reading[1], length, offset)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise ShelfFull(f"{self._folder / name} cannot be read: {error.strerror}") from error

    def _end_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    def open(self, name: str) -> Draft:
        """Open a file to write to it."""
        return _Draft(self._folder / name)

    def move(self, old: str, new: str) -> None:
        """Move a file, and sync the folder."""
        self._end_reading()
        with _told(self._folder / new):
            (self._folder / old).replace(self._folder / new)
            self._sync()

    def remove(self, name: str) -> None:
        """Unlink a file."""
        self._end_reading()
        with _told(self._folder / name):
            (self._folder / name).unlink(missing_ok=True)

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let the lock go."""
        self._end_reading()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
