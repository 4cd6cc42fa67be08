"""Leaves on their way in: what one archive is fetching, no other archive fetches too.

Who lacks a leaf that is under way for somebody else waits for it, and goes on with its own leaves
meanwhile: so two that wait for each other both come to their end. Where it does not come, or who
fetches it gives up, it is fetched after all.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from narbor.blocks.packs import PackStore
from narbor.names.cid import Cid
from narbor.tasks.gather import Block, BlocksLost, Gatherer, Likeness, Terms

_PATIENCE: Final = 2.0  # seconds without any news in which leaves of others are waited for
_TICK: Final = 0.05


class UnderWay:
    """Who is fetching which leaves. For any number of threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owners: dict[Cid, object] = {}
        self._times = 0

    def take(self, owner: object, names: Iterable[Cid]) -> list[Cid]:
        """Return those that nobody is fetching: from now on `owner` is."""
        with self._changed:
            return [name for name in names if self._owners.setdefault(name, owner) is owner]

    def taken(self, names: Iterable[Cid]) -> set[Cid]:
        """Return those that somebody is fetching."""
        with self._changed:
            return {name for name in names if name in self._owners}

    def came(self, owner: object, names: Iterable[Cid]) -> None:
        """Say that `owner` has put these into the store, or gives them up."""
        with self._changed:
            for name in names:
                if self._owners.get(name) is owner:
                    del self._owners[name]
            self._times += 1
            self._changed.notify_all()

    @property
    def times(self) -> int:
        """How often there was news so far."""
        return self._times

    def wait(self, times: int) -> None:
        """Wait until there was news more often than so, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: self._times > times, _TICK)


class Arriving:
    """The leaves that one archive lacks. One thread reads; `close` when it is over."""

    def __init__(
        self,
        store: PackStore,
        gatherer: Gatherer,
        under_way: UnderWay,
        lacking: Mapping[Cid, int],
        likeness: Likeness,
        clock: Callable[[], float],
    ) -> None:
        """Gather `lacking`, names with their sizes, as they are needed."""
        self._store = store
        self._gatherer = gatherer
        self._under_way = under_way
        self._likeness = likeness
        self._clock = clock
        self._sizes = lacking
        self._absent = set(lacking)
        self._mine: set[Cid] = set()
        self._left: set[Cid] = set()
        self._pause = _TICK
        terms = Terms(self._take, lambda: self._pause)
        self._came = gatherer.gather(tuple(lacking.items()), likeness, terms)
        self._news = clock()

    def close(self) -> None:
        """Give up what is under way still."""
        self._under_way.came(self, self._mine)

    def until(self, names: Iterable[Cid]) -> Iterator[list[Block]]:
        """Give what comes until all of these are in the store; what others bring is not given.

        Raises BlocksLost.
        """
        needed = self._absent.intersection(names)
        self._news = self._clock()
        while needed:
            times = self._under_way.times
            # Where all that is needed comes from others, there is no time for ours.
            waiting = needed <= self._left
            self._pause = 0.0 if waiting else _TICK
            group = next(self._came, None)
            if group:
                self._store.put_many(group)
                self._note({name for name, _ in group})
                yield group
            self._look_elsewhere(needed & self._left)
            needed &= self._absent
            if needed and group is None and not needed <= self._left:
                raise BlocksLost(f"{len(needed)} blocks did not come")
            if needed and waiting and not group:
                self._under_way.wait(times)

    def _take(self, names: list[Cid]) -> list[Cid]:
        """Return which of these are to be asked for: those not here, nor on their way to others."""
        free = set(self._under_way.take(self, names))
        absent = self._store.missing(free)  # somebody may have brought some since we looked
        self._mine |= absent
        self._left |= set(names) - free
        self._note(free - absent)
        return [name for name in names if name in absent]

    def _note(self, names: set[Cid]) -> None:
        """Note that these are in the store."""
        if not names:
            return
        self._absent -= names
        self._left -= names
        self._mine -= names
        self._under_way.came(self, names)
        self._news = self._clock()

    def _look_elsewhere(self, names: set[Cid]) -> None:
        """Look what became of leaves that others fetch; fetch what they do not bring."""
        if not names:
            return
        settled = names - self._under_way.taken(names)
        absent = self._store.missing(settled)
        self._note(settled - absent)
        if self._clock() - self._news > _PATIENCE:
            absent |= names - settled
        if absent:
            self._left -= absent
            wanted = [(name, size) for name, size in self._sizes.items() if name in absent]
            self._came = chain(self._gatherer.gather(wanted, self._likeness), self._came)
            self._news = self._clock()
