"""Blocks from several sources: who is asked, what is believed, who is set aside."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import pytest

from narbor.errors import Rejected, Unavailable
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.tasks.gather import BlocksLost, Gatherer, Lane, Terms
from narbor.tasks.gather.standing import FIRST_REST, LIAR_REST, LONGEST_REST, Standing
from tests.fakes.sources import FAULTS, FakeSource, Fault

BLOCKS = {cid.raw(data): data for data in (Random(n).randbytes(500) for n in range(40))}
WANTED = [(name, 500) for name in BLOCKS]


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def gatherer(*sources: FakeSource, at_once: int = 7, stall: float = 5.0) -> Iterator[Gatherer]:
    lanes = [
        Lane(source, Standing(source.name, time.monotonic), 2, lambda: at_once)
        for source in sources
    ]
    made = Gatherer(lanes, time.monotonic, stall)
    try:
        yield made
    finally:
        for source in sources:
            source.let_go()
        made.close()


def fetched(made: Gatherer) -> dict[Cid, bytes]:
    return {name: block for group in made.gather(WANTED) for name, block in group}


def fake(fault: Fault = "none") -> FakeSource:
    return FakeSource(fault, BLOCKS.get, fault)


def test_each_block_comes_once_and_many_in_one_request() -> None:
    source = fake()
    with gatherer(source) as made:
        groups = [name for group in made.gather(WANTED) for name, _ in group]
    assert sorted(groups) == sorted(BLOCKS)
    assert len(source.asked) == 6


@pytest.mark.parametrize("fault", FAULTS)
def test_what_one_does_not_give_another_does(fault: Fault) -> None:
    with gatherer(fake(fault), fake()) as made:
        assert fetched(made) == BLOCKS


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "none"])
def test_where_nobody_has_them_it_says_who_was_asked(fault: Fault) -> None:
    with gatherer(fake(fault), stall=0.5) as made, pytest.raises(BlocksLost, match="cannot be had"):
        fetched(made)


def test_nothing_that_lies_is_given() -> None:
    with gatherer(fake("lies")) as made:
        got: dict[Cid, bytes] = {}
        with pytest.raises(BlocksLost):
            for group in made.gather(WANTED):
                got.update(group)
        assert all(BLOCKS[name] == block for name, block in got.items())
        (lane,) = made.lanes
        assert lane.standing.count().lies >= 1
        assert not lane.standing.ready()


def test_no_source_at_all() -> None:
    with gatherer() as made, pytest.raises(BlocksLost):
        fetched(made)


def test_rest_grows_with_failures_and_ends_with_a_success() -> None:
    clock = Clock()
    standing = Standing("x", clock)
    rests = []
    for _ in range(9):
        standing.failed(Unavailable("no"))
        standing.failed(Unavailable("at the same time"))
        rests.append(standing.count().resting)
        assert not standing.ready()
        clock.now += rests[-1]
        assert standing.ready()
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-1] == LONGEST_REST
    standing.gave(1, 10, clock.now)
    standing.failed(Unavailable("no"))
    assert standing.count().resting == FIRST_REST


def test_a_liar_rests_for_an_hour() -> None:
    clock = Clock()
    standing = Standing("x", clock)
    standing.failed(Rejected("a lie"))
    assert standing.count().resting == LIAR_REST
    clock.now += LIAR_REST
    assert standing.ready()


def test_the_faster_one_costs_less_and_who_has_nothing_more() -> None:
    clock = Clock()
    fast, slow, empty = (Standing(name, clock) for name in ("fast", "slow", "empty"))
    for standing, seconds in ((fast, 0.1), (slow, 2.0), (empty, 0.1)):
        begun = standing.asked()
        clock.now += seconds
        standing.began(begun)
        standing.gave(1, 1 << 20, begun)
        standing.looked(0 if standing is empty else 1, 9 if standing is empty else 0)
    assert fast.cost() < slow.cost()
    assert fast.cost() < empty.cost()


class Read(Clock):
    """A clock that tells how often it was read."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.times = 0

    def __call__(self) -> float:
        with self.changed:
            self.times += 1
            self.changed.notify_all()
        return self.now

    def wait(self, times: int) -> None:
        """Wait until it was read so often from now on."""
        with self.changed:
            last = self.times + times
            self.changed.wait_for(lambda: self.times >= last)


def test_who_gathers_may_take_its_time() -> None:
    clock = Read()

    class Late(FakeSource):
        """A source that lets whoever asks look at the clock some times."""

        def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
            clock.wait(9)
            return super().fetch(names)

    source = Late("late", BLOCKS.get)
    lane = Lane(source, Standing(source.name, clock), 1, lambda: 20)
    made = Gatherer([lane], clock, 5.0)
    came: dict[Cid, bytes] = {}
    for group in made.gather(WANTED):
        came.update(group)
        clock.now += 60
    made.close()
    assert came == BLOCKS


def test_what_is_not_taken_is_not_asked_for() -> None:
    source = fake()
    mine = set(list(BLOCKS)[::2])
    told: list[Cid] = []

    def take(names: list[Cid]) -> list[Cid]:
        told.extend(names)
        return [name for name in names if name in mine]

    with gatherer(source) as made:
        came = dict(
            each for group in made.gather(WANTED, None, Terms(take, lambda: 0.01)) for each in group
        )
    assert came.keys() == mine
    assert {name for group in source.asked for name in group} == mine
    assert sorted(told) == sorted(BLOCKS)


def test_what_was_taken_is_asked_for_elsewhere_without_a_question() -> None:
    told: list[Cid] = []

    def take(names: list[Cid]) -> list[Cid]:
        told.extend(names)
        return names

    with gatherer(fake("stops"), fake()) as made:
        came = dict(
            each for group in made.gather(WANTED, None, Terms(take, lambda: 0.01)) for each in group
        )
    assert came == BLOCKS
    assert sorted(told) == sorted(BLOCKS)
