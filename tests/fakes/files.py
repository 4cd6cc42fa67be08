"""A file layer that forgets: what was not synced may be gone after a power cut, in any order."""

from collections.abc import Callable
from random import Random

from narbor.blocks.files import Appending, StoreFull

Event = tuple[str, str, bytes]  # what happened (create, append, sync, remove), file name, data


class _Appending:
    def __init__(self, layer: "LossyFiles", name: str) -> None:
        self.name = name
        self._layer = layer

    def size(self) -> int:
        return len(self._layer.contents[self.name])

    def append(self, data: bytes) -> None:
        self._layer.happen("append", self.name, data)

    def sync(self) -> None:
        self._layer.happen("sync", self.name, b"")

    def close(self) -> None:
        self._layer.owned.discard(self.name)


class LossyFiles:
    """Files in memory, with a log of all that was done to them.

    `watch` is called before each event; `room` bytes may be written before the disk is full.
    """

    def __init__(
        self,
        contents: dict[str, bytes] | None = None,
        watch: Callable[[], None] = lambda: None,
        room: int = 1 << 40,
    ) -> None:
        self.contents = {name: bytearray(data) for name, data in (contents or {}).items()}
        self.owned: set[str] = set()
        self.log: list[Event] = []
        self.room = room
        self._watch = watch

    def happen(self, what: str, name: str, data: bytes) -> None:
        """Do one thing, and write it down."""
        self._watch()
        if what == "append":
            if len(data) > self.room:
                raise StoreFull(f"cannot write to {name}: no space left")
            self.room -= len(data)
            self.contents[name] += data
        elif what == "create":
            assert name not in self.contents
            self.contents[name] = bytearray()
        elif what == "remove":
            self.contents.pop(name, None)
        self.log.append((what, name, data))

    def create(self, name: str) -> Appending:
        """Make a file, durable by name."""
        self.happen("create", name, b"")
        self.owned.add(name)
        return _Appending(self, name)

    def adopt(self, name: str) -> Appending | None:
        """Open a file that nobody owns."""
        if name in self.owned or name not in self.contents:
            return None
        self.owned.add(name)
        return _Appending(self, name)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Read what was written, synced or not."""
        return bytes(self.contents.get(name, b"")[offset : offset + length])

    def size(self, name: str) -> int:
        """Return the length of a file."""
        return len(self.contents.get(name, b""))

    def names(self) -> list[str]:
        """Return all names."""
        return sorted(self.contents)

    def remove(self, name: str) -> None:
        """Unlink a file."""
        self.happen("remove", name, b"")

    def close(self) -> None:
        """Nothing is open."""


def survivors(log: list[Event], luck: Random) -> dict[str, bytes]:
    """Return what may be on the disk when the power fails behind the last event of `log`.

    Of each file all that was synced is there. Of each write behind that, either the bytes or zeros
    are there, or the file ends before it or in it.
    """
    writes: dict[str, list[bytes]] = {}
    safe: dict[str, int] = {}
    for what, name, data in log:
        if what == "create":
            writes[name], safe[name] = [], 0
        elif what == "append":
            writes.setdefault(name, []).append(data)
        elif what == "sync":
            safe[name] = len(writes.setdefault(name, []))
        elif what == "remove":
            writes.pop(name, None)
    out = {}
    for name, parts in writes.items():
        start = safe.get(name, 0)
        lost = [luck.choice([part, bytes(len(part))]) for part in parts[start:]]
        tail = b"".join(lost)
        out[name] = b"".join(parts[:start]) + tail[: luck.randint(0, len(tail))]
    return out
