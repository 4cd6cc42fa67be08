"""A folder that others read while it is written: nothing appears in it half.

A file is written under a name of its own in `.narbor/`, synced, and then moved to its place in one
step. Who kills the writer leaves rubbish in `.narbor/`, which the next one clears away, and nothing
else. One writer at a time, by a lock.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from narbor.errors import Refused, Unavailable

OWN: Final = ".narbor"
_LOCK: Final = "lock"


class NotOurs(Refused):
    """A folder holds other things than what is to be written into it."""


class TreeBusy(Unavailable):
    """Somebody writes to the folder already."""


class TreeFull(Unavailable):
    """The folder cannot be written to: full, read-only, gone."""


class Tree:
    """A folder, and how to change it. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = count()

    @contextmanager
    def owned(self, marks: Iterable[str]) -> Iterator[None]:
        """Make the folder if need be, and keep other writers away.

        One with files in it must have one of `marks` or have been written by us. Raises NotOurs,
        TreeBusy, TreeFull.
        """
        own = self.folder / OWN
        with self._named(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            there = {entry.name for entry in os.scandir(self.folder)} - {"lost+found"}
            if there and OWN not in there and not there & set(marks):
                some = ", ".join(sorted(there)[:3])
                raise NotOurs(f"{self.folder} holds other things ({some}): name a folder for this")
            own.mkdir(exist_ok=True)
            lock = os.open(own / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with self._locked(lock):
                _clear(own)
                try:
                    yield
                finally:
                    _clear(own)
        finally:
            os.close(lock)

    @contextmanager
    def _locked(self, lock: int) -> Iterator[None]:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TreeBusy(f"another narbor writes to {self.folder}") from None
        yield

    # --- looking -------------------------------------------------------------------------------

    def read(self, name: str, limit: int) -> bytes | None:
        """Return what a small file holds; None if it is absent, no file, or longer."""
        try:
            with (self.folder / name).open("rb") as file:
                text = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise TreeFull(f"{self.folder / name} cannot be read: {error.strerror}") from error
        return text if len(text) <= limit else None

    def size(self, name: str) -> int | None:
        """Return the size of a regular file; None if there is none."""
        found = _seen(self.folder / name)
        return None if found is None or not stat.S_ISREG(found.st_mode) else found.st_size

    def same(self, name: str, size: int, modified: int) -> bool:
        """Tell whether there is a regular file of this size and time (seconds since 1970)."""
        found = _seen(self.folder / name)
        seen = None if found is None or not stat.S_ISREG(found.st_mode) else found
        return seen is not None and (seen.st_size, int(seen.st_mtime)) == (size, modified)

    def files(self, name: str) -> list[str]:
        """Return the names of what stands in a folder and is no folder, sorted."""
        return [each for each in self.names(name) if not self._is_folder(f"{name}/{each}")]

    def folders(self, name: str) -> list[str]:
        """Return the names of the folders in a folder, sorted."""
        return [each for each in self.names(name) if self._is_folder(f"{name}/{each}")]

    def links(self, name: str) -> list[str]:
        """Return the names of the symlinks in a folder, sorted."""
        return [each for each in self.names(name) if (self.folder / name / each).is_symlink()]

    def _is_folder(self, name: str) -> bool:
        found = _seen(self.folder / name)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def names(self, name: str = "") -> list[str]:
        """Return the names in a folder, sorted; none if there is no such folder."""
        try:
            return sorted(entry.name for entry in os.scandir(self.folder / name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    # --- writing -------------------------------------------------------------------------------

    def reserve(self) -> Path:
        """Return where a file may be written that nobody sees yet."""
        return self.folder / OWN / str(next(self._number))

    def stage(
        self, chunks: Iterable[bytes], modified: int | None = None, mode: int = 0o666
    ) -> Path:
        """Write a file that nobody sees yet, and make its content durable; raises TreeFull.

        `modified`: the time it is to have, in seconds since 1970. `mode` is cut by the umask.
        """
        path = self.reserve()
        try:
            with self._named(path):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                file = os.fdopen(os.open(path, flags, mode), "wb")
            with file:
                for chunk in chunks:
                    with self._named(path):
                        file.write(chunk)
                with self._named(path):
                    file.flush()
                    if modified is not None:
                        os.utime(file.fileno(), (modified, modified))
                    os.fsync(file.fileno())
        except BaseException:
            self.drop(path)
            raise
        return path

    def place(self, staged: Path, name: str) -> None:
        """Move what was staged to its place in one step; what was there before is gone."""
        with self._named(self.folder / name):
            staged.replace(self.folder / name)

    def write(self, name: str, content: bytes) -> bool:
        """Make a small file hold `content`; tell whether it did not already."""
        if self.read(name, len(content)) == content:
            return False
        self.place(self.stage([content]), name)
        return True

    def link(self, source: Path, name: str) -> bool:
        """Make `name` one file with `source` (a hard link); tell whether it was not already.

        Across file systems the content is copied, with its time: what has both is not changed.
        """
        place = self.folder / name
        with self._named(place):
            found, wanted = _seen(place), source.stat()
            if found is not None and (
                os.path.samestat(found, wanted)
                or (found.st_size, found.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
            ):
                return False
            staged = self.reserve()
            try:
                os.link(source, staged)
            except OSError:
                with source.open("rb") as file:
                    staged = self.stage(iter(lambda: file.read(1 << 20), b""))
                os.utime(staged, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
            staged.replace(place)
        return True

    def is_same(self, name: str, source: Path) -> bool:
        """Tell whether `name` and `source` are one file."""
        found = _seen(self.folder / name)
        return found is not None and os.path.samestat(found, source.stat())

    def try_link(self, source: Path, name: str) -> bool:
        """Make `name` one file with `source`; False where that cannot be (another file system)."""
        staged = self.reserve()
        try:
            os.link(source, staged)
        except OSError:
            return False
        self.place(staged, name)
        return True

    def extend(self, name: str, start: int, chunks: Iterable[bytes]) -> Iterator[int]:
        """Write behind the first `start` bytes of a file, durably; gives the sizes of `chunks`."""
        place = self.folder / name
        with self._named(place):
            os.truncate(place, start)
            file = place.open("ab")
        with file:
            for chunk in chunks:
                with self._named(place):
                    file.write(chunk)
                yield len(chunk)
        self.sync(name)

    def point(self, name: str, target: str) -> bool:
        """Make `name` a symlink to `target`; tell whether it was not already."""
        place = self.folder / name
        with self._named(place):
            if place.is_symlink() and str(place.readlink()) == target:
                return False
            staged = self.reserve()
            staged.symlink_to(target)
            staged.replace(place)
        return True

    def mkdir(self, name: str) -> None:
        """Make a folder, and those above it."""
        with self._named(self.folder / name):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def remove(self, name: str) -> int:
        """Unlink a file; return its size. One that is absent is no error."""
        with self._named(self.folder / name):
            found = _seen(self.folder / name)
            (self.folder / name).unlink(missing_ok=True)
        return 0 if found is None else found.st_size

    def prune(self, name: str) -> None:
        """Remove a folder if it is empty."""
        with suppress(OSError):
            (self.folder / name).rmdir()

    def sync(self, name: str = "") -> None:
        """Make durable which names stand in a folder, or what stands in a file."""
        with self._named(self.folder / name):
            descriptor = os.open(self.folder / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def drop(self, staged: Path) -> None:
        """Forget what was staged."""
        with suppress(OSError):
            staged.unlink()

    @contextmanager
    def _named(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TreeFull(f"cannot write {path}: {error.strerror}") from error


def _clear(own: Path) -> None:
    """Take away what a writer left that is no more."""
    for path in own.iterdir():
        if path.name != _LOCK:
            path.unlink(missing_ok=True)


def _seen(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
