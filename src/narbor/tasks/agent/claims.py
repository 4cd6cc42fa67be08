"""Narinfos from all upstreams: the first that is vouched for counts, and nobody is waited for long.

The first upstream is asked at once, the next when it said no, failed, or took its time. What was
found is remembered, what was not for a short while; questions about one thing are joined.
"""

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TimedOut
from dataclasses import dataclass
from typing import Final

from narbor.dag import cachedir
from narbor.errors import NarborError, Unavailable
from narbor.formats import narinfo, vouched
from narbor.formats.narinfo import Narinfo
from narbor.formats.vouched import Vouched
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.tasks.gather.standing import Standing
from narbor.tasks.mirror.sources import AnotherItem, Upstream

WAIT: Final = 5.0
"""Seconds after which the answer is no, whatever upstreams do."""
HEDGE: Final = 0.3
THREADS: Final = 32
_HINT: Final = 1.0  # seconds that a hint is waited for
_REMEMBERED: Final = 10_000
_GOOD: Final = 3600.0  # seconds for which a claim is remembered
_BAD: Final = 10.0  # ... and that nobody has one
_UNSURE: Final = 2.0  # ... and that somebody could not be asked


@dataclass(frozen=True, slots=True)
class Found:
    """A claim that is vouched for, and the number of the upstream that made it."""

    vouched: Vouched
    upstream: int


@dataclass(frozen=True, slots=True)
class _Said:
    """What one upstream said: `failed` where it said nothing."""

    upstream: int
    found: Found | None
    failed: bool


def root_of(claim: Narinfo) -> Cid | None:
    """Return the root of the archive that a narinfo names, None where it names none."""
    said = next((value for name, value in claim.extra if name == cachedir.FIELD), None)
    if said is None:
        return None
    try:
        return cid.parse(said)
    except cid.MalformedCid:
        return None


class Asked:
    """An upstream, its standing, and threads of its own."""

    def __init__(self, upstream: Upstream, standing: Standing) -> None:
        self.cache = upstream.cache
        self.upstream = upstream
        self.standing = standing
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="narinfo")


class Claims:
    """Asks upstreams for narinfos, from any thread."""

    def __init__(
        self,
        upstreams: Sequence[Asked],
        hints: Sequence[Asked],
        store: str,
        clock: Callable[[], float],
        wait: float = WAIT,
        hedge: float = HEDGE,
    ) -> None:
        """Ask `upstreams`; where they name no root, `hints` may, and are not believed either."""
        self.upstreams = tuple(upstreams)
        self._hints = tuple(hints)
        self._store = store
        self._clock = clock
        self._wait = wait
        self._hedge = hedge
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, Found | None]] = OrderedDict()
        self._under_way: dict[str, Future[Found | None]] = {}

    def find(self, hash_part: str) -> Found | None:
        """Return a claim that is vouched for, None where none can be had now."""
        with self._lock:
            known = self._known.get(hash_part)
            if known is not None and self._clock() < known[0]:
                self._known.move_to_end(hash_part)
                return known[1]
            waiting = self._under_way.get(hash_part)
            if waiting is None:
                mine: Future[Found | None] = Future()
                self._under_way[hash_part] = mine
        if waiting is not None:
            try:
                return waiting.result(self._wait)
            except TimedOut:
                return None
        try:
            found, seconds = self._ask(hash_part)
            self._remember(hash_part, found, seconds)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._under_way[hash_part]
        mine.set_result(found)
        return found

    def forget(self, hash_part: str) -> None:
        """Ask anew the next time."""
        with self._lock:
            self._known.pop(hash_part, None)

    def others(self, hash_part: str, without: Sequence[int]) -> list[Found]:
        """Return what the upstreams that are not in `without` say, each waited for a while."""
        asked = [index for index in range(len(self.upstreams)) if index not in without]
        said: queue.SimpleQueue[_Said] = queue.SimpleQueue()
        begun = [index for index in asked if self._begin(index, hash_part, said)]
        deadline = self._clock() + self._wait
        found = [self._next(said, deadline) for _ in begun]
        return [each.found for each in found if each is not None and each.found is not None]

    def root(self, claim: Narinfo) -> Cid | None:
        """Return the root of an archive, as its narinfo or one of the hints names it.

        Nobody signs a root: what is read from it is checked against the claim.
        """
        said = root_of(claim)
        if said is not None:
            return said
        answers: queue.SimpleQueue[Cid | None] = queue.SimpleQueue()

        def ask(hint: Asked) -> None:
            answers.put(self._hinted(hint, claim))

        ready = [hint for hint in self._hints if hint.standing.ready()]
        for hint in ready:
            hint.threads.submit(ask, hint)
        waited = len(ready)
        deadline = self._clock() + _HINT
        while waited and said is None and self._clock() < deadline:
            try:
                said = answers.get(timeout=max(deadline - self._clock(), 0.001))
                waited -= 1
            except queue.Empty:
                break
        return said

    def _hinted(self, hint: Asked, claim: Narinfo) -> Cid | None:
        begun = hint.standing.asked()
        try:
            text = hint.cache.narinfo(claim.path.hash_part)
            hint.standing.began(begun)
            other = None if text is None else narinfo.parse(text)
        except Unavailable as error:
            hint.standing.failed(error)
            return None
        except NarborError as error:
            hint.standing.spoke_nonsense(error)
            return None
        return root_of(other) if other is not None and other.seal == claim.seal else None

    def close(self) -> None:
        """Let go of all threads; what is under way is not waited for."""
        for each in (*self.upstreams, *self._hints):
            each.threads.shutdown(wait=False, cancel_futures=True)

    def _remember(self, hash_part: str, found: Found | None, seconds: float) -> None:
        with self._lock:
            self._known[hash_part] = (self._clock() + seconds, found)
            self._known.move_to_end(hash_part)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _ask(self, hash_part: str) -> tuple[Found | None, float]:
        """Ask one upstream after the other; return the answer, and how long it is good."""
        deadline = self._clock() + self._wait
        said: queue.SimpleQueue[_Said] = queue.SimpleQueue()
        ahead = list(range(len(self.upstreams)))
        waited, unsure = 0, False
        while True:
            while ahead and not waited:
                begun = self._begin(ahead.pop(0), hash_part, said)
                waited += begun
                unsure |= not begun
            if not waited:
                return None, _UNSURE if unsure else _BAD
            until = deadline if not ahead else min(deadline, self._clock() + self._hedge)
            answer = self._next(said, until)
            if answer is None:
                if self._clock() >= deadline:
                    return None, _UNSURE
                if ahead:
                    waited += self._begin(ahead.pop(0), hash_part, said)
                continue
            waited -= 1
            unsure |= answer.failed
            if answer.found is not None:
                return answer.found, _GOOD

    def _next(self, said: "queue.SimpleQueue[_Said]", until: float) -> _Said | None:
        try:
            return said.get(timeout=max(until - self._clock(), 0.001))
        except queue.Empty:
            return None

    def _begin(self, index: int, hash_part: str, said: "queue.SimpleQueue[_Said]") -> bool:
        """Ask an upstream; False where it is left alone."""
        asked = self.upstreams[index]
        if not asked.standing.ready():
            return False
        due = self._clock() + self._wait
        asked.threads.submit(lambda: said.put(self._said(index, hash_part, due)))
        return True

    def _said(self, index: int, hash_part: str, due: float) -> _Said:
        asked = self.upstreams[index]
        if not asked.standing.ready() or self._clock() > due:
            return _Said(index, None, True)
        begun = asked.standing.asked()
        try:
            text = asked.cache.narinfo(hash_part)
            asked.standing.began(begun)
            asked.standing.gave(0, len(text or b""), begun)
            found = None if text is None else Found(self._vouch(asked, text, hash_part), index)
        except Unavailable as error:
            asked.standing.failed(error)
            return _Said(index, None, True)
        except NarborError as error:
            asked.standing.spoke_nonsense(error)
            return _Said(index, None, False)
        return _Said(index, found, False)

    def _vouch(self, asked: Asked, text: bytes, hash_part: str) -> Vouched:
        """Read a claim; raises Rejected where it is none, is of something else, or is unsigned."""
        claim = narinfo.parse(text)
        if claim.path.hash_part != hash_part or claim.path.store != self._store:
            name = asked.cache.name
            raise AnotherItem(f"{name} was asked for {hash_part}, and answers with {claim.path}")
        return vouched.vouch(claim, asked.upstream.keyring, asked.upstream.trusted)
