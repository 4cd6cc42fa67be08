"""A folder in memory that forgets what was not synced, and fails as it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field

from narbor.pins.shelf import Draft, ShelfFull


class Killed(BaseException):
    """The process is no more."""


@dataclass(slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    safe: bytes = b""


class _Draft:
    def __init__(self, shelf: "FakeShelf", file: _File) -> None:
        self._shelf = shelf
        self._file = file

    def size(self) -> int:
        return len(self._file.data)

    def append(self, data: bytes) -> None:
        self._shelf.happen()
        if len(data) > self._shelf.room:
            raise ShelfFull("the fake: no space left on device")
        self._shelf.room -= len(data)
        self._file.data += data

    def patch(self, data: bytes) -> None:
        self._shelf.happen()
        self._file.data[: len(data)] = data

    def truncate(self, size: int) -> None:
        del self._file.data[size:]

    def sync(self) -> None:
        self._shelf.happen()
        self._file.safe = bytes(self._file.data)

    def close(self) -> None:
        pass


@dataclass(slots=True)
class FakeShelf:
    """Files in memory; `room` bytes may be written, and `watch` is called before each change."""

    files: dict[str, _File] = field(default_factory=dict)
    room: int = 1 << 40
    watch: Callable[[], None] = lambda: None
    changes: int = 0

    def happen(self) -> None:
        """Count one change."""
        self.watch()
        self.changes += 1

    def path(self, name: str) -> str:
        """Return a name."""
        return name

    def names(self) -> list[str]:
        """Return all names."""
        return sorted(self.files)

    def size(self, name: str) -> int | None:
        """Return a length."""
        return len(self.files[name].data) if name in self.files else None

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Read what was written, synced or not."""
        return bytes(self.files[name].data[offset : offset + length]) if name in self.files else b""

    def open(self, name: str) -> Draft:
        """Open a file."""
        self.happen()
        return _Draft(self, self.files.setdefault(name, _File()))

    def move(self, old: str, new: str) -> None:
        """Move a file, which must have been synced."""
        self.happen()
        file = self.files.pop(old)
        assert file.safe == bytes(file.data), f"{new} would appear before it is durable"
        self.files[new] = file

    def remove(self, name: str) -> None:
        """Unlink a file."""
        self.happen()
        self.files.pop(name, None)

    def close(self) -> None:
        """Let nothing go."""

    def after_a_power_cut(self) -> "FakeShelf":
        """Return what is there when the power comes back: what was synced, and some of the rest."""
        found = FakeShelf()
        for name, file in self.files.items():
            torn = bytes(file.data[: len(file.safe) + (len(file.data) - len(file.safe)) // 2])
            kept = torn if torn.startswith(file.safe) else file.safe
            found.files[name] = _File(bytearray(kept), kept)
        return found
