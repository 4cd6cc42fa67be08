"""The agent's own store: what was admitted is committed, what was not used for long goes.

Every item has a pin with the time of its last use. When more lies at rest than may, the oldest are
unpinned and collected as everywhere. An item that is being read is never among them.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from narbor.errors import NarborError
from narbor.library import Library
from narbor.tasks.keep import collect
from narbor.tasks.keep.collect import Circumstances, Waiting

_SECONDS: Final = 0.5  # between two commits
_GOAL: Final = 0.9  # of the size: what is left when room was made
_PATIENCE: Final = 120  # turns that a collection waits for what is on its way in
_PAUSE: Final = 60.0  # seconds between two collections
_AGAIN: Final = 5.0  # ... and after one that failed


class Keeper:
    """Commits and makes room, on a thread of its own."""

    def __init__(
        self,
        library: Library,
        size: int,
        at: Callable[[], Circumstances],
        clock: Callable[[], float],
        committed: Callable[[], None],
    ) -> None:
        """`size`: bytes of blocks that may lie at rest. `committed` is called after a commit."""
        self._library = library
        self._size = size
        self._at = at
        self._clock = clock
        self._committed = committed
        self._changed = threading.Condition()
        self._used: set[str] = set()
        self._reading: Counter[str] = Counter()
        self._leaving: set[str] = set()
        self._due = False
        self._over = False
        self._next_look = 0.0
        self.last = ""
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)
        self._thread.start()

    @contextmanager
    def using(self, base: str) -> Iterator[None]:
        """Keep an item here while it is looked up and read."""
        with self._changed:
            self._reading[base] += 1
            self._used.add(base)
            if base in self._leaving:
                self._library.catalogue.pin_all([base], self._at().now, True)
        try:
            yield
        finally:
            with self._changed:
                self._reading[base] -= 1
                if not self._reading[base]:
                    del self._reading[base]

    def admitted(self, base: str) -> None:
        """Commit soon."""
        with self._changed:
            self._used.add(base)
            self._due = True
            self._changed.notify_all()

    def close(self) -> None:
        """Commit what waits, and end."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()
        self._settle()

    def _work(self) -> None:
        while not self._over:
            with self._changed:
                pause = _AGAIN if self.last else _PAUSE
                self._changed.wait_for(lambda: self._due or self._over, pause)
                self._changed.wait_for(lambda: self._over, _SECONDS)
            try:
                self._settle()
                self._look()
                self.last = ""
            except NarborError as error:
                self.last = str(error)
                self._next_look = self._clock() + _AGAIN

    def _settle(self) -> None:
        """Write down what was used, and make durable what was admitted."""
        with self._changed:
            used, self._used, self._due = self._used, set(), False
        if used:
            self._library.catalogue.pin_all(sorted(used), self._at().now, True)
        self._library.commit()
        self._committed()

    def _look(self) -> None:
        """Make room where too much lies at rest."""
        if self._over or self._clock() < self._next_look:
            return
        at_rest = self._library.blocks.index.count()[1]
        if at_rest > self._size:
            self._next_look = self._clock() + _PAUSE
            self._let_go(at_rest)
            self._collect()

    def _let_go(self, at_rest: int) -> None:
        """Unpin what was not used for longest."""
        items = {item.path.base: item.seal.size for item in self._library.items()}
        share = at_rest / max(sum(items.values()), 1)
        excess = at_rest - _GOAL * self._size
        leaving: list[str] = []
        pins = sorted(self._library.pins(), key=lambda pin: pin.time)
        with self._changed:
            for pin in pins:
                if excess <= 0:
                    break
                if pin.base not in self._reading and pin.base not in self._used:
                    leaving.append(pin.base)
                    excess -= share * items.get(pin.base, 0)
            self._leaving = set(leaving)
            self._library.catalogue.unpin_all(leaving)

    def _collect(self) -> None:
        turns = 0
        with closing(collect.collect(self._library, self._at())) as events:
            for event in events:
                if self._over or turns > _PATIENCE:
                    break
                if isinstance(event, Waiting):
                    turns += 1
                    self._settle()
                    with self._changed:
                        self._changed.wait_for(lambda: self._over, _SECONDS)
        with self._changed:
            self._leaving = set()
