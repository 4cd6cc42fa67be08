"""Blocks from several sources at once: many in one request, some requests ahead, none believed.

    the best source that has a lane free gets the next names; then the next best
    nothing new of a request for a while    its names are asked for elsewhere too (hedging)
    a failure                               the names go to others, the source rests
    a block that is not what it should be   the same, and the source rests for an hour

Requests are made on the threads of their source, so one that hangs holds up nobody else. What came
is handed over in the caller's thread; requests under way bound what waits for it.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from narbor.blocks import BlockSource, ThinSource
from narbor.errors import NarborError, Rejected, Unavailable
from narbor.formats.exchange import Stretch
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.tasks.gather.standing import Standing

Block = tuple[Cid, bytes]
Wanted = tuple[Cid, int]
"""A block's name and its size; 0 where nobody knows."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller has to say while its blocks are gathered.

    `take` is told what is about to be asked for, and returns what is to be: the rest is dropped.
    `pause` tells how many seconds may be waited for news now.
    """

    take: Callable[[list[Cid]], Sequence[Cid]]
    pause: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Likeness:
    """What wanted blocks are like: blocks that are here, and how to get these.

    `get` raises Unavailable for a block that is not here after all.
    """

    basis: Mapping[Cid, tuple[Cid, ...]]
    get: Callable[[Cid], bytes]


_LARGEST: Final = 4 << 20  # bytes asked for in one request
_SOONEST: Final = 0.25  # seconds before names are asked for elsewhere too
_TIMES: Final = 4.0  # ... and not before so many times what the source usually takes
_FAR_WORSE: Final = 16.0  # times the cost of the best: not asked as long as the best can be
_POLL: Final = 0.05


class BlocksLost(Unavailable):
    """Blocks that no source can give now."""


class Lied(Rejected):
    """A source gave bytes that are not the block it was asked for."""


class Lane:
    """A source, its standing, and threads of its own: at most `lanes` requests at one time.

    `together` tells how many names one request should have.
    """

    def __init__(
        self, source: BlockSource, standing: Standing, lanes: int, together: Callable[[], int]
    ) -> None:
        self.source = source
        self.standing = standing
        self.lanes = lanes
        self.together = together
        self._busy = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="source")

    @property
    def free(self) -> bool:
        """Whether one more request may be made."""
        return self._busy < self.lanes

    def submit(self, work: Callable[[], None]) -> None:
        """Do `work` on a thread of this source."""
        self._count(1)
        self._threads.submit(work)

    def done(self) -> None:
        """Say that a request is over."""
        self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._busy += more

    def close(self, wait: bool = False) -> None:
        """Take nothing more; what is under way is waited for only if told so."""
        self._threads.shutdown(wait, cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Asking:
    """A request under way: what it still owes, and when it last brought something."""

    lane: Lane
    names: set[Cid]
    news: float
    hedged: bool = False


@dataclass(frozen=True, slots=True)
class _Came:
    asking: _Asking
    block: Block


@dataclass(frozen=True, slots=True)
class _Over:
    asking: _Asking
    error: NarborError | None


@dataclass(slots=True)
class _Name:
    """A block that is wanted: who was asked for it, and how many requests for it are under way."""

    size: int
    tried: list[Lane] = field(default_factory=list)
    under_way: int = 0


class Gatherer:
    """All sources of blocks."""

    def __init__(self, lanes: Sequence[Lane], clock: Callable[[], float], stall: float) -> None:
        """`stall`: seconds without any news after which a gathering gives up."""
        self.lanes = tuple(lanes)
        self._clock = clock
        self._stall = stall

    def gather(
        self,
        wanted: Sequence[Wanted],
        likeness: Likeness | None = None,
        terms: Terms | None = None,
    ) -> Iterator[list[Block]]:
        """Give all of these blocks, checked, in about the order asked for, some at a time.

        Whoever can gives differences to what is here and `likeness` says to be like them. With
        `terms`, the caller gets word from time to time, also when there is nothing to give. Raises
        BlocksLost when the rest cannot be had; what came before has been given.
        """
        run = _Run(self.lanes, dict.fromkeys(wanted), likeness, terms, self._clock, self._stall)
        try:
            yield from run.all()
        finally:
            run.over = True

    def close(self, wait: bool = False) -> None:
        """Let go of all threads; with `wait`, not before what is under way is over."""
        for lane in self.lanes:
            lane.close(wait)


class _Run:
    """One gathering. All but `_ask` runs in one thread."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        wanted: "dict[Wanted, None]",
        likeness: "Likeness | None",
        terms: "Terms | None",
        clock: Callable[[], float],
        stall: float,
    ) -> None:
        self.over = False
        self._likeness = likeness
        self._terms = terms
        self._lanes = lanes
        self._names = {name: _Name(size) for name, size in wanted}
        self._waiting: deque[Cid] = deque(self._names)
        self._asked: list[_Asking] = []
        self._events: queue.SimpleQueue[_Came | _Over] = queue.SimpleQueue()
        self._clock = clock
        self._stall = stall
        self._news = clock()
        self._complaints: dict[str, str] = {}

    def all(self) -> Iterator[list[Block]]:
        """Give the blocks as they come."""
        while self._names:
            self._hand_out()
            if not self._names:
                return
            if not self._asked and not self._can_wait():
                raise BlocksLost(self._lost())
            came = self._take()
            now = self._clock()
            if came:
                self._news = now
            elif now - self._news > self._stall:
                raise BlocksLost(f"nothing came for {self._stall:g} s; {self._lost()}")
            if came or self._terms is not None:
                yield came
                self._news += self._clock() - now  # whoever gathers may have taken its time
            self._hedge()

    def _lost(self) -> str:
        why = "; ".join(f"{name}: {reason}" for name, reason in self._complaints.items())
        return f"{len(self._names)} blocks cannot be had ({why or 'no source has them'})"

    def _can_wait(self) -> bool:
        """Tell whether a lane that could be asked is merely busy for others."""
        return any(
            lane.standing.ready() and not lane.free and lane not in each.tried
            for lane in self._lanes
            for each in self._names.values()
        )

    def _hand_out(self) -> None:
        """Ask for what waits, the best source first."""
        if not self._waiting:
            return
        ready = [lane for lane in self._lanes if lane.standing.ready()]
        ready.sort(key=lambda lane: lane.standing.cost())
        best = ready[0].standing.cost() if ready else 0.0
        for lane in ready:
            useful = lane.standing.cost() <= _FAR_WORSE * best
            while self._waiting and lane.free:
                names = self._share(lane, useful)
                if not names:
                    break
                names = self._taken(names)
                if names:
                    self._begin(lane, names)

    def _taken(self, names: list[Cid]) -> list[Cid]:
        """Leave out what need not be asked for any more; what was asked for before, must."""
        fresh = [name for name in names if not self._names[name].tried]
        if self._terms is None or not fresh:
            return names
        dropped = set(fresh).difference(self._terms.take(fresh))
        for name in dropped:
            del self._names[name]
        return [name for name in names if name not in dropped]

    def _share(self, lane: Lane, useful: bool) -> list[Cid]:
        """Take names out of what waits that this source was not asked for yet."""
        share: list[Cid] = []
        size, left, most = 0, deque[Cid](), lane.together()
        while self._waiting and len(share) < most and size < _LARGEST:
            name = self._waiting.popleft()
            each = self._names.get(name)
            if each is None:
                continue
            if lane in each.tried or not (useful or each.tried):
                left.append(name)
                continue
            share.append(name)
            size += each.size
        left.extend(self._waiting)
        self._waiting = left
        return share

    def _begin(self, lane: Lane, names: list[Cid]) -> None:
        for name in names:
            self._names[name].tried.append(lane)
            self._names[name].under_way += 1
        asking = _Asking(lane, set(names), self._clock())
        self._asked.append(asking)
        lane.submit(lambda: self._ask(asking, names))

    def _ask(self, asking: _Asking, names: list[Cid]) -> None:
        """Make a request, on a thread of its source."""
        lane, standing = asking.lane, asking.lane.standing
        begun, count, size = standing.asked(), 0, 0
        error: NarborError | None = None
        left = set(names)
        try:
            with closing(_drawn(self._fetched(lane.source, names))) as blocks:
                for name, block in blocks:
                    if not count:
                        standing.began(begun)
                    if name not in left or not cid.matches(name, block):
                        raise Lied(f"{lane.source.name} gave other bytes for {cid.text(name)}")
                    left.discard(name)
                    count, size = count + 1, size + len(block)
                    self._events.put(_Came(asking, (name, block)))
                    if self.over:
                        break
        except NarborError as caught:
            error = caught
            standing.failed(caught)
        finally:
            if count or error is None:
                standing.gave(count, size, begun)
            if error is None and not self.over:
                standing.looked(count, len(left))
            lane.done()
            self._events.put(_Over(asking, error))

    def _fetched(self, source: BlockSource, names: list[Cid]) -> Iterator[Block]:
        likeness = self._likeness
        if likeness is None or not isinstance(source, ThinSource):
            return source.fetch(names)
        grouped: dict[tuple[Cid, ...], list[Cid]] = {}
        for name in names:
            grouped.setdefault(likeness.basis.get(name, ()), []).append(name)
        stretches = [Stretch(tuple(wanted), basis) for basis, wanted in grouped.items()]
        return source.resembling(stretches, likeness.get)

    def _take(self) -> list[Block]:
        """Wait for news, and take all there is."""
        came: list[Block] = []
        try:
            pause = _POLL if self._terms is None else min(self._terms.pause(), _POLL)
            event = self._events.get(timeout=pause)
            while True:
                self._note(event, came)
                event = self._events.get_nowait()
        except queue.Empty:
            return came

    def _note(self, event: "_Came | _Over", came: list[Block]) -> None:
        asking = event.asking
        if isinstance(event, _Came):
            asking.news = self._clock()
            asking.names.discard(event.block[0])
            if self._names.pop(event.block[0], None) is not None:
                came.append(event.block)
            return
        self._asked.remove(asking)
        if event.error is not None:
            self._complaints[asking.lane.source.name] = str(event.error)
        for name in asking.names:
            each = self._names.get(name)
            if each is not None:
                each.under_way -= 1
                if not each.under_way or not asking.hedged:
                    self._waiting.append(name)

    def _hedge(self) -> None:
        """Let the names of requests that bring nothing be asked for elsewhere too."""
        now = self._clock()
        for asking in self._asked:
            slow = max(_SOONEST, _TIMES * asking.lane.standing.usual())
            if not asking.hedged and now - asking.news > slow:
                asking.hedged = True
                self._waiting.extendleft(name for name in asking.names if name in self._names)


def _drawn(blocks: Iterator[Block]) -> Generator[Block, None, None]:
    """A generator can be closed, with all that it draws from."""
    yield from blocks
