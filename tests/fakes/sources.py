"""Sources of blocks that have what they are given, count, and fail as they are told."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from narbor.errors import Refused, Unavailable
from narbor.formats.exchange import Stretch
from narbor.names.cid import Cid

Fault = Literal["none", "dead", "hangs", "lies", "stops", "empty", "denies", "other"]
FAULTS: tuple[Fault, ...] = ("none", "dead", "hangs", "lies", "stops", "empty", "denies", "other")


@dataclass(eq=False)
class FakeSource:
    """Blocks from `get`. What goes wrong is `fault`:

    `dead` answers nothing, `hangs` nothing until `let_go`, `lies` changes the last block it gives,
    `stops` breaks off behind the first, `empty` has none, `denies` wants a password, `other` gives
    a block that nobody asked for.
    """

    name: str
    get: Callable[[Cid], bytes | None]
    fault: Fault = "none"
    asked: list[tuple[Cid, ...]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give blocks, or fail."""
        self.asked.append(tuple(names))
        if self.fault == "dead":
            raise Unavailable(f"{self.name} is dead")
        if self.fault == "denies":
            raise Refused(f"{self.name} wants a password")
        if self.fault == "hangs":
            self.over.wait()
            raise Unavailable(f"{self.name} was let go")
        found = [(name, block) for name in names if (block := self.get(name)) is not None]
        if self.fault == "empty":
            return
        for number, (name, block) in enumerate(found):
            if self.fault == "stops" and number:
                raise Unavailable(f"{self.name} broke off")
            if self.fault == "lies" and number == len(found) - 1:
                block = bytes([block[0] ^ 1]) + block[1:]
            if self.fault == "other":
                name = Cid(name[:-1] + bytes([name[-1] ^ 1]))
            yield name, block

    def count(self) -> int:
        """Return how many names it was asked for."""
        return sum(map(len, self.asked))

    def let_go(self) -> None:
        """End what hangs."""
        self.over.set()


@dataclass(eq=False)
class FakeThinSource(FakeSource):
    """A source that notes which differences it is asked for."""

    thin: list[Stretch] = field(default_factory=list)

    def resembling(
        self, stretches: Iterable[Stretch], get: Callable[[Cid], bytes]
    ) -> Iterator[tuple[Cid, bytes]]:
        """Give what is wanted; all of the basis must be there."""
        for each in stretches:
            self.thin.append(each)
            assert all(get(name) == self.get(name) for name in each.basis)
            yield from self.fetch(each.wanted)
