"""The file layer under the packs: the few calls that durability hangs on.

`Files` is the real one. Tests give the packs another that forgets what was not synced.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from narbor.errors import Unavailable


class StoreFull(Unavailable):
    """The disk has no room left."""


class Appending(Protocol):
    """A file that only grows, owned by this process until it is closed."""

    name: str

    def size(self) -> int:
        """Return its length in bytes."""
        ...

    def append(self, data: bytes) -> None:
        """Write at the end; all of it, or StoreFull is raised and nothing counts as written."""
        ...

    def sync(self) -> None:
        """Make all that was appended durable."""
        ...

    def close(self) -> None:
        """Give the file up."""
        ...


class FileLayer(Protocol):
    """One folder of files."""

    def create(self, name: str) -> Appending:
        """Make a new file, durable by name; it must not exist."""
        ...

    def adopt(self, name: str) -> Appending | None:
        """Open a file to append to it; None while another process owns it."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`; fewer only at the end; b"" if it is gone."""
        ...

    def size(self, name: str) -> int:
        """Return the length of a file in bytes; 0 if it is gone."""
        ...

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Unlink a file; absent is no error. Who has it open may read on."""
        ...

    def close(self) -> None:
        """Let go of what is open for reading; a later read opens it again."""
        ...


class _Appending:
    def __init__(self, path: Path, descriptor: int) -> None:
        self.name = path.name
        self._path = path
        self._descriptor = descriptor

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def append(self, data: bytes) -> None:
        start = self.size()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, start)
            raise StoreFull(f"cannot write to {self._path}: {error.strerror}") from error

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreFull(f"cannot make {self._path} durable: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._descriptor)


class Files:
    """The files of one folder on a local file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, name: str) -> Appending:
        """Make a new file and sync the folder, so that the name outlives a power cut."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self._folder / name, flags, 0o644)
        except OSError as error:
            raise StoreFull(f"cannot make {self._folder / name}: {error.strerror}") from error
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._sync_folder()
        return _Appending(self._folder / name, descriptor)

    def adopt(self, name: str) -> Appending | None:
        """Open a file to append; None while another process owns it, or it is gone."""
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self._folder / name, flags)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return _Appending(self._folder / name, descriptor)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Read from a file that stays open from then on."""
        descriptor = self._open.get(name)
        if descriptor is None:
            try:
                descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
            first = self._open.setdefault(name, descriptor)
            if first != descriptor:
                os.close(descriptor)
                descriptor = first
        return os.pread(descriptor, length, offset)

    def size(self, name: str) -> int:
        """Return the length of a file in bytes; 0 if it is gone."""
        try:
            return (self._folder / name).stat().st_size
        except FileNotFoundError:
            return 0

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(entry.name for entry in self._entries())

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self._folder) as entries:
            yield from entries

    def remove(self, name: str) -> None:
        """Unlink a file. Its descriptor stays open, so that readers may finish."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / name).unlink()
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free(self) -> int:
        """Return how many bytes the disk has left for us."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Close what was opened for reading."""
        while self._open:
            os.close(self._open.popitem()[1])
