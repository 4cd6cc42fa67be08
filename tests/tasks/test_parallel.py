"""The pool: it grows, keeps its order and its bounds, and ends cleanly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.errors import Unavailable
from narbor.tasks.parallel import Cancelled, Pool, ahead


@given(numbers=st.lists(st.integers(0, 12), max_size=8), jobs=st.integers(1, 5))
def test_the_queue_grows_while_it_is_worked_off(numbers: list[int], jobs: int) -> None:
    def work(task: int, pool: Pool[int, int]) -> None:
        pool.emit(task)

    came = []
    with Pool[int, int](work, jobs) as pool:
        for number in numbers:
            pool.put(number)
        for result in pool.results():
            assert result is not None
            came.append(result)
            if result > 0:
                pool.put(result - 1)
    assert sorted(came) == sorted(each for number in numbers for each in range(number + 1))


def test_lower_keys_come_first() -> None:
    gate = threading.Event()

    def work(task: int, pool: Pool[int, int]) -> None:
        gate.wait()
        pool.emit(task)

    with Pool[int, int](work, 1, key=lambda task: task) as pool:
        for task in (0, 5, 3, 9, 1):
            pool.put(task)
        gate.set()
        assert list(pool.results()) == [0, 1, 3, 5, 9]


def test_all_jobs_work_at_once() -> None:
    together = threading.Barrier(4)

    def work(task: int, pool: Pool[int, int]) -> None:
        together.wait(timeout=30)
        pool.emit(task)

    with Pool[int, int](work, 4) as pool:
        for task in range(4):
            pool.put(task)
        assert len(list(pool.results())) == 4
        for task in range(4):
            pool.put(task)
        assert len(list(pool.results())) == 4


def test_workers_wait_for_the_reader() -> None:
    emitted = []

    def work(task: int, pool: Pool[int, int]) -> None:
        for number in range(100):
            emitted.append(number)
            pool.emit(number)

    with Pool[int, int](work, 2) as pool:
        pool.put(0)
        for taken, _ in enumerate(pool.results(), 1):
            assert len(emitted) <= taken + 9


def test_an_error_ends_the_whole() -> None:
    begun = []
    other_waits = threading.Event()

    def work(task: int, pool: Pool[int, int]) -> None:
        begun.append(task)
        if task == 0:
            other_waits.wait()
            pool.emit(7)
            raise KeyError("boom")

        def endless() -> "list[bytes]":
            other_waits.set()
            return [b"x"]

        while True:
            for _ in pool.alive(endless()):
                pass

    came = []
    with Pool[int, int](work, 2) as pool, pytest.raises(KeyError, match="boom"):
        for task in range(10):
            pool.put(task)
        for result in pool.results():
            came.append(result)
    assert came == [7]
    assert sorted(begun) == [0, 1]


def test_giving_up_breaks_what_is_waited_for() -> None:
    waiting = threading.Event()
    stopped = threading.Event()
    events: list[str] = []

    @contextmanager
    def stop() -> Iterator[None]:
        stopped.set()
        yield
        events.append("through")

    def work(task: int, pool: Pool[int, int]) -> None:
        pool.emit(task)
        waiting.set()
        stopped.wait()
        events.append("broken")
        raise Cancelled("stopped")

    with pytest.raises(KeyboardInterrupt), Pool[int, int](work, 1, stop=stop) as pool:
        pool.put(1)
        pool.put(2)
        for result in pool.results():
            assert result == 1
            waiting.wait()
            raise KeyboardInterrupt
    assert events == ["broken", "through"]


def test_a_worker_cannot_cancel_on_its_own() -> None:
    def work(task: int, pool: Pool[int, int]) -> None:
        raise Cancelled("no reason")

    with Pool[int, int](work, 1) as pool, pytest.raises(Unavailable, match="no reason"):
        pool.put(1)
        list(pool.results())


def test_a_tick_comes_while_nothing_else_does() -> None:
    ticked = threading.Event()

    def work(task: int, pool: Pool[int, int]) -> None:
        ticked.wait()
        pool.emit(task)

    came = []
    with Pool[int, int](work, 1) as pool:
        pool.put(3)
        for result in pool.results(tick=0.001):
            came.append(result)
            ticked.set()
    assert came[0] is None
    assert [result for result in came if result is not None] == [3]


def test_no_tasks_no_results() -> None:
    with Pool[int, int](lambda task, pool: pool.emit(task), 3) as pool:
        assert list(pool.results()) == []


# --- ahead ---


@given(st.lists(st.integers(), max_size=50), st.integers(1, 5))
def test_ahead_changes_nothing(numbers: list[int], most: int) -> None:
    assert list(ahead(iter(numbers), most)) == numbers


def test_ahead_goes_on_while_nobody_reads_and_no_further_than_it_may() -> None:
    made: list[int] = []
    came = threading.Semaphore(0)

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            came.release()
            yield number

    reader = ahead(numbers(), 3)
    assert next(reader) == 0
    # The first three waited, or were taken together with it; then three more may wait.
    for _ in range(4):
        assert came.acquire(timeout=60)
    assert len(made) <= 8
    assert list(reader) == list(range(1, 100))


def test_ahead_raises_in_its_place() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise KeyError("here")

    reader = ahead(numbers(), 3)
    assert next(reader) == 1
    with pytest.raises(KeyError, match="here"):
        next(reader)


def test_ahead_ends_with_its_reader() -> None:
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    reader = ahead(numbers(), 2)
    assert next(reader) == 1
    before = threading.active_count()
    reader.close()
    assert closed.is_set() and threading.active_count() == before - 1
