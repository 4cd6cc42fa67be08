"""A pool of threads over a queue that may grow while it is worked off. Threads live nowhere else.

    with Pool(work, jobs) as pool:
        pool.put(task)
        for result in pool.results():       # ends when nothing waits and nobody works
            pool.put(...)                   # what the result led to

A worker gives results with `pool.emit`, as many as it likes, and is held back while too many wait
to be taken, so memory is bounded by the tasks alone. The first error that leaves a worker ends the
whole: `results` raises it, no further task begins, and what is under way stops at its next piece.

`ahead` puts a reader's source on a thread of its own; `in_order` keeps results in their order.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from heapq import heappop, heappush
from types import TracebackType
from typing import Generic, Self, TypeVar

from narbor.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")


def ahead(chunks: Iterable[T], most: int) -> Generator[T, None, None]:
    """Give `chunks`, made on a thread of its own that is up to `most` of them ahead.

    What the making raises is raised here, in its place. Closing the iterator ends the thread, once
    it has made the piece that it is at.
    """
    made = _Made[T](most)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        making = thread.submit(made.fill, chunks)
        making.add_done_callback(lambda done: made.end())
        try:
            yield from made.taken()
            making.result()
        finally:
            made.end()


def in_order(
    pool: Executor, work: Callable[[T], R], given: Iterable[T], most: int = 4
) -> Iterator[R]:
    """Give the results in order, with up to `most` jobs under way."""
    jobs: deque[Future[R]] = deque()
    try:
        for each in given:
            jobs.append(pool.submit(work, each))
            if len(jobs) > most:
                yield jobs.popleft().result()
        while jobs:
            yield jobs.popleft().result()
    finally:
        for job in jobs:
            job.cancel()


class _Made(Generic[T]):
    """What was made and waits to be taken: one maker, one taker."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[T] = deque()
        self._over = False

    def fill(self, chunks: Iterable[T]) -> None:
        """Make all there is, until nobody wants more."""
        with closing(_drawn(chunks)) as drawn:
            for chunk in drawn:
                if not self._put(chunk):
                    break

    def _put(self, chunk: T) -> bool:
        with self._lock:
            while len(self._waiting) >= self._most and not self._over:
                self._changed.wait()
            self._waiting.append(chunk)
            self._changed.notify_all()
            return not self._over

    def taken(self) -> Iterator[T]:
        """Give what is made, until there is no more."""
        while True:
            with self._lock:
                while not self._waiting and not self._over:
                    self._changed.wait()
                batch = list(self._waiting)
                self._waiting.clear()
                self._changed.notify_all()
            if not batch:
                return
            yield from batch

    def end(self) -> None:
        """Let nobody wait: all is made, or nobody wants more."""
        with self._lock:
            self._over = True
            self._changed.notify_all()


def _drawn(chunks: Iterable[T]) -> Generator[T, None, None]:
    """A generator can be closed, with all that it draws from."""
    yield from chunks


class Cancelled(Unavailable):
    """The work was given up, because of an error elsewhere or by the user."""


class Pool(Generic[T, R]):
    """`jobs` threads that do `work(task, pool)`; tasks with a lower `key` come first.

    When the work is given up, `stop` is entered until the last worker is through, to break what
    they wait for.
    """

    def __init__(
        self,
        work: "Callable[[T, Pool[T, R]], None]",
        jobs: int,
        key: Callable[[T], int] = lambda task: 0,
        stop: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._work = work
        self._jobs = jobs
        self._key = key
        self._stop = stop
        # One lock, three things to wait for: a task, room for a result, a result.
        self._lock = threading.Lock()
        self._task_came = threading.Condition(self._lock)
        self._room_came = threading.Condition(self._lock)
        self._result_came = threading.Condition(self._lock)
        self._tasks: list[tuple[int, int, T]] = []
        self._results: deque[R] = deque()
        self._put = 0
        self._idle = 0
        self._working = 0
        self._threads = 0
        self._error: BaseException | None = None
        self._over = False
        self._executor = ThreadPoolExecutor(jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            given_up = self._busy() or error is not None
            self._end()
        with self._stop() if given_up else nullcontext():
            self._executor.shutdown()

    def put(self, task: T) -> None:
        """Queue a task; never waits."""
        with self._lock:
            # The number keeps the order of arrival, and tasks out of comparisons.
            heappush(self._tasks, (self._key(task), self._put, task))
            self._put += 1
            self._task_came.notify()
            wanted = len(self._tasks) > self._idle and self._threads < self._jobs
            self._threads += wanted
        if wanted:
            self._executor.submit(self._serve).add_done_callback(self._ended)

    def results(self, tick: float | None = None) -> Iterator[R | None]:
        """Give results as they come, until all tasks are done.

        None comes when `tick` seconds brought nothing. Raises the first error of a worker, once
        what came before it has been given.
        """
        while True:
            with self._lock:
                if not self._results and self._error is None and self._busy():
                    self._result_came.wait(tick)
                if self._results:
                    result: R | None = self._results.popleft()
                    self._room_came.notify()
                elif self._error is not None:
                    raise self._error
                elif self._busy():
                    result = None
                else:
                    return
            if result is not None or tick is not None:
                yield result

    def ready(self) -> Iterator[R]:
        """Give the results that wait, and wait for none; raises the first error of a worker."""
        while True:
            with self._lock:
                if self._results:
                    result = self._results.popleft()
                    self._room_came.notify()
                elif self._error is not None:
                    raise self._error
                else:
                    return
            yield result

    def alive(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Give `chunks` for as long as the work goes on; raises Cancelled then."""
        for chunk in chunks:
            if self._over:
                raise Cancelled("the work was given up")
            yield chunk

    def emit(self, result: R) -> None:
        """Give a result, from inside the work; waits while nobody takes them."""
        with self._lock:
            while len(self._results) >= 4 * self._jobs and not self._over:
                self._room_came.wait()
            self._results.append(result)
            self._result_came.notify()

    def _busy(self) -> bool:
        return bool(self._tasks or self._working)

    def _end(self) -> None:
        self._over = True
        for condition in (self._task_came, self._room_came, self._result_came):
            condition.notify_all()

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                while not self._tasks and not self._over:
                    self._task_came.wait()
                self._idle -= 1
                if self._over:
                    return
                _, _, task = heappop(self._tasks)
                self._working += 1
            try:
                self._work(task, self)
            except Cancelled:
                if not self._over:
                    raise
            # After an error the task still counts as under way, until `_ended` has seen the error.
            with self._lock:
                self._working -= 1
                self._result_came.notify()

    def _ended(self, future: "Future[None]") -> None:
        error = future.exception()
        if error is not None:
            with self._lock:
                self._working -= 1
                self._error = self._error or error
                self._end()
