"""The contract of a catalogue, over each implementation."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.catalogue import (
    ADMIT,
    HOLD,
    Admission,
    Admitted,
    Catalogue,
    Conflict,
    Failure,
    Hidden,
    Pin,
    Root,
)
from narbor.errors import Refused, Rejected, Unavailable
from narbor.names.cid import node
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item
from tests.catalogue.world import (
    HERE,
    THERE,
    admitted,
    base,
    claim,
    hash_part,
    item,
    rendered,
    signed,
)

Opener = Callable[[bool], Catalogue]


@pytest.fixture(params=["file", "memory"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """A maker of empty catalogues of one implementation; told whether to show all."""
    made: list[Catalogue] = []

    def make(show_incomplete: bool) -> Catalogue:
        if request.param == "memory":
            made.append(Catalogue.in_memory(show_incomplete=show_incomplete))
        else:
            path = tmp_path / f"{len(made)}.sqlite"
            made.append(Catalogue.open(path, show_incomplete=show_incomplete))
        return made[-1]

    yield make
    for catalogue in made:
        catalogue.close()


@pytest.fixture
def catalogue(opener: Opener) -> Catalogue:
    """An empty catalogue."""
    return opener(False)


def put(catalogue: Catalogue, *items: Item, upstream: str = HERE) -> None:
    """Record items under an admission of their own."""
    admission = catalogue.begin_admission(1, "test")
    catalogue.record([admitted(each, admission, upstream) for each in items])
    catalogue.end_admission(admission)


def test_what_was_recorded_is_found_again(catalogue: Catalogue) -> None:
    full = replace(
        item(1, (2, 3)),
        ca="fixed:r:sha256:abc",
        extra=(("X-Cid", "bafy: \n"), ("X-Cid", "twice\udcff")),
        signatures=("a:1", "b:2"),
        seal=Seal(Digest("sha512", b"\x01" * 64), 1 << 40),
    )
    bare = replace(item(2), deriver=None, signatures=())
    guix = replace(item(3), path=replace(item(3).path, store="/gnu/store"), profile="other")
    put(catalogue, full, bare, guix)
    for each in (full, bare, guix):
        assert catalogue.find(each.path.hash_part) == each
        assert catalogue.item(each.path.base) == each
    assert list(catalogue.items()) == [full, bare, guix]
    assert catalogue.count() == 3


@pytest.mark.parametrize("name", ["", "x", "0" * 32, "e" * 32, f"{hash_part(1)}", "é" * 32])
def test_nothing_is_found_under_other_names(catalogue: Catalogue, name: str) -> None:
    put(catalogue, item(1))
    assert catalogue.item(name) is None
    assert catalogue.find(name) == (item(1) if name == hash_part(1) else None)
    assert catalogue.item(f"{name}-x") is None
    assert not catalogue.complete(name)
    assert not catalogue.visible(name)
    assert catalogue.claims(name) == ()
    assert catalogue.roots(name) == ()
    assert catalogue.rendering(name, "zstd") is None
    assert catalogue.debuginfo(name) is None
    catalogue.remove([name])
    assert catalogue.count() == 1


def test_known_tells_those_that_are_here_from_a_large_batch(catalogue: Catalogue) -> None:
    put(catalogue, *(item(number) for number in range(0, 1200, 2)))
    asked = [base(number) for number in range(1200)] + ["nonsense", f"{hash_part(0)}-other"]
    assert catalogue.known(asked) == {base(number) for number in range(0, 1200, 2)}
    assert catalogue.known([]) == set()


def test_items_reads_page_by_page_while_others_write(catalogue: Catalogue) -> None:
    put(catalogue, *(item(number) for number in range(600)))
    seen: list[Item] = []
    for each in catalogue.items():
        if len(seen) == 10:
            catalogue.remove([base(599), base(0)])
        seen.append(each)
    assert seen == [item(number) for number in range(599)]


def test_a_second_claim_is_kept_beside_the_first(catalogue: Catalogue) -> None:
    first, second = claim(item(1)), claim(item(1), THERE, time=50)
    put(catalogue, item(1))
    put(catalogue, item(1), upstream=THERE)
    assert {each.upstream for each in catalogue.claims(base(1))} == {HERE, THERE}
    assert {each.text for each in catalogue.claims(base(1))} == {first.text, second.text}
    assert {each.fingerprint for each in catalogue.claims(base(1))} == {first.fingerprint}


def test_the_same_words_again_change_nothing(catalogue: Catalogue) -> None:
    put(catalogue, item(1))
    before = catalogue.claims(base(1))
    put(catalogue, item(1))
    assert catalogue.claims(base(1)) == before


def test_signatures_unite_over_an_equal_fingerprint(catalogue: Catalogue) -> None:
    put(catalogue, signed(item(1), "a:1", "b:2"))
    put(catalogue, signed(item(1), "c:3", "b:2"), upstream=THERE)
    found = catalogue.item(base(1))
    assert found is not None
    assert found.signatures == ("a:1", "b:2", "c:3")
    assert [each.text for each in catalogue.claims(base(1))] == [
        claim(signed(item(1), "a:1", "b:2")).text,
        claim(signed(item(1), "c:3", "b:2"), THERE).text,
    ]


def test_signatures_stay_apart_over_another_fingerprint(catalogue: Catalogue) -> None:
    put(catalogue, signed(item(1, (2,)), "a:1"))
    other = signed(item(1, (3,)), "c:3")
    put(catalogue, other, upstream=THERE)
    put(catalogue, signed(other, "d:4"))
    found = catalogue.item(base(1))
    assert found == signed(item(1, (2,)), "a:1")
    assert [each.upstream for each in catalogue.claims(base(1))] == [HERE, HERE, THERE]
    assert catalogue.conflicts() == ()


def test_another_hash_is_a_conflict_and_the_first_stays(catalogue: Catalogue) -> None:
    put(catalogue, item(1))
    lie = item(1, nar="something else")
    put(catalogue, signed(lie, "evil:1"), upstream=THERE)
    assert catalogue.item(base(1)) == item(1)
    assert [each.upstream for each in catalogue.claims(base(1))] == [HERE]
    (conflict,) = catalogue.conflicts()
    assert (conflict.base, conflict.upstream) == (base(1), THERE)
    assert conflict.text == claim(signed(lie, "evil:1"), THERE).text
    assert str(lie.seal.digest) in conflict.reason
    assert str(item(1).seal.digest) in conflict.reason
    assert catalogue.count() == 1


def test_another_name_for_a_hash_part_is_a_conflict(catalogue: Catalogue) -> None:
    put(catalogue, item(1))
    put(catalogue, replace(item(1), path=replace(item(1).path, name="other")))
    (conflict,) = catalogue.conflicts()
    assert conflict.base == f"{hash_part(1)}-other"
    assert catalogue.item(base(1)) == item(1)


def test_conflicts_can_be_noted_by_hand(catalogue: Catalogue) -> None:
    catalogue.conflict("base", THERE, b"text\xff", "NarSize differs", 7)
    assert catalogue.conflicts() == (Conflict("base", THERE, b"text\xff", "NarSize differs", 7),)


def test_all_of_a_batch_is_recorded_or_nothing(catalogue: Catalogue) -> None:
    admission = catalogue.begin_admission(1, "test")
    bad = replace(item(2), references=("not a base name",))
    with pytest.raises(Rejected, match="not a base name"):
        catalogue.record([admitted(item(1), admission), admitted(bad, admission)])
    assert catalogue.count() == 0
    assert catalogue.find(hash_part(1)) is None
    put(catalogue, item(1))
    assert catalogue.item(base(1)) == item(1)


def test_nothing_is_recorded_under_an_admission_that_ended(catalogue: Catalogue) -> None:
    admission = catalogue.begin_admission(1, "test")
    catalogue.end_admission(admission)
    with pytest.raises(Unavailable, match=str(admission)):
        catalogue.record([admitted(item(1), admission)])
    assert catalogue.count() == 0


def test_admissions_are_numbered_upwards_for_ever(catalogue: Catalogue) -> None:
    assert catalogue.oldest_admission() is None
    first = catalogue.begin_admission(10, "one")
    second = catalogue.begin_admission(20, "two", HOLD)
    assert catalogue.admissions() == (
        Admission(first, 10, "one", ADMIT),
        Admission(second, 20, "two", HOLD),
    )
    assert catalogue.oldest_admission() == first
    catalogue.end_admission(first)
    assert catalogue.oldest_admission() == second
    catalogue.end_admission(second)
    assert catalogue.begin_admission(30, "three") > second > first


def test_roots_under_further_profiles(catalogue: Catalogue) -> None:
    other = replace(item(1), profile="unixfs", tree=node(b"t"), archive=node(b"a"))
    put(catalogue, item(1))
    put(catalogue, other)
    assert catalogue.item(base(1)) == item(1)
    assert catalogue.roots(base(1)) == (
        Root("narbor-1", item(1).tree, item(1).archive),
        Root("unixfs", node(b"t"), node(b"a")),
    )


def test_items_with_equal_archives(catalogue: Catalogue) -> None:
    hidden, shown = item(1, (9,), nar="same"), item(2, nar="same")
    put(catalogue, hidden)
    assert catalogue.by_archive(hidden.seal.digest) == hidden
    put(catalogue, shown)
    assert catalogue.by_archive(hidden.seal.digest) == shown
    near = Digest("sha256", hidden.seal.digest.value[:8] + b"\x00" * 24)
    assert catalogue.by_archive(near) is None


def test_what_was_advertised_stays_until_it_is_retired(catalogue: Catalogue) -> None:
    first, second = rendered(item(1), b"first"), rendered(item(1), b"second")
    put(catalogue, item(1))
    assert catalogue.rendering(base(1), "zstd") is None
    assert catalogue.keep_rendering(base(1), first) == first
    assert catalogue.keep_rendering(base(1), second) == first
    assert catalogue.rendering(base(1), "zstd") == first
    assert catalogue.rendering(base(1), "xz") is None
    assert catalogue.by_rendering(first.digest) == (base(1), first)
    assert catalogue.by_rendering(second.digest) is None
    catalogue.retire_rendering(base(1), "zstd")
    assert catalogue.by_rendering(first.digest) is None
    assert catalogue.keep_rendering(base(1), second) == second
    assert catalogue.keep_rendering(base(2), second) is None


def test_an_admission_brings_renderings_and_build_ids(catalogue: Catalogue) -> None:
    admission = catalogue.begin_admission(1, "test")
    zstd = rendered(item(1), b"zstd")
    files = (("ab01", "lib/debug/.build-id/ab/01.debug"), ("FF", "other"))
    catalogue.record([Admitted(item(1), claim(item(1)), (zstd,), files, admission)])
    assert catalogue.renderings(base(1)) == (zstd,)
    assert catalogue.debuginfo("AB01") == (base(1), "lib/debug/.build-id/ab/01.debug")
    assert catalogue.debuginfo("ff") == (base(1), "other")
    assert catalogue.debuginfo("ab02") is None
    with pytest.raises(Rejected, match="xyz"):
        catalogue.record([Admitted(item(2), claim(item(2)), (), (("xyz", ""),), admission)])


def test_debuginfo_prefers_what_doors_may_show(catalogue: Catalogue) -> None:
    admission = catalogue.begin_admission(1, "test")
    for each in (item(1, (9,)), item(2), item(3, (9,))):
        catalogue.record([Admitted(each, claim(each), (), (("01", "m"),), admission)])
    assert catalogue.debuginfo("01") == (base(2), "m")


def test_removal_takes_everything_of_an_item(catalogue: Catalogue) -> None:
    admission = catalogue.begin_admission(1, "test")
    zstd = rendered(item(1), b"zstd")
    catalogue.record([Admitted(item(1), claim(item(1)), (zstd,), (("01", "m"),), admission)])
    put(catalogue, replace(item(1), profile="unixfs"))
    catalogue.remove([base(1), base(2), "nonsense", f"{hash_part(1)}-other"])
    assert catalogue.item(base(1)) is None
    assert catalogue.claims(base(1)) == ()
    assert catalogue.by_archive(item(1).seal.digest) is None
    assert catalogue.by_rendering(zstd.digest) is None
    assert catalogue.debuginfo("01") is None
    assert catalogue.count() == 0
    put(catalogue, item(1, nar="new"))
    assert catalogue.item(base(1)) == item(1, nar="new")
    assert catalogue.renderings(base(1)) == ()
    assert len(catalogue.roots(base(1))) == 1


def test_pins(catalogue: Catalogue) -> None:
    catalogue.pin(base(2), 20, False)
    catalogue.pin(base(1), 10, True)
    assert catalogue.pins() == (Pin(base(1), 10, True), Pin(base(2), 20, False))
    catalogue.pin(base(1), 30, False)
    catalogue.unpin(base(2))
    catalogue.unpin(base(3))
    catalogue.unpin("nonsense")
    assert catalogue.pins() == (Pin(base(1), 30, False),)
    with pytest.raises(Refused, match="nonsense"):
        catalogue.pin("nonsense", 1, False)


def test_failures(catalogue: Catalogue) -> None:
    catalogue.fail(base(1), HERE, "404", 1)
    catalogue.fail(base(1), THERE, "Unavailable", 2)
    catalogue.fail(base(1), HERE, "500", 3)
    assert set(catalogue.failures()) == {
        Failure(base(1), HERE, "500", 3),
        Failure(base(1), THERE, "Unavailable", 2),
    }
    assert catalogue.sizes().failures == 2
    catalogue.cleared(base(1))
    assert catalogue.failures() == ()


def test_logs_and_realisations(catalogue: Catalogue) -> None:
    assert catalogue.log("x.drv") is None
    assert catalogue.realisation("sha256:0!out") is None
    catalogue.keep_log("x.drv", b"one")
    catalogue.keep_log("x.drv", b"\x28\xb5", "zstd")
    catalogue.keep_realisation("sha256:0!out", b"{}")
    assert catalogue.log("x.drv") == (b"\x28\xb5", "zstd")
    assert catalogue.realisation("sha256:0!out") == b"{}"
    assert catalogue.sizes().logs == 1


def test_only_complete_items_are_shown(catalogue: Catalogue) -> None:
    put(catalogue, item(1, (1, 2, 3)), item(3))
    assert catalogue.find(hash_part(1)) == item(1, (1, 2, 3))
    assert catalogue.shown(hash_part(1)) is None
    assert not catalogue.visible(base(1))
    assert catalogue.missing(base(1)) == (base(2),)
    assert list(catalogue.hidden()) == [Hidden(base(1), (base(2),))]
    assert catalogue.sizes().hidden == 1
    put(catalogue, item(2))
    assert catalogue.shown(hash_part(1)) == item(1, (1, 2, 3))
    assert catalogue.visible(base(1))
    assert list(catalogue.hidden()) == []
    catalogue.remove([base(3)])
    assert catalogue.missing(base(1)) == (base(3),)
    assert not catalogue.visible(base(1))


def test_what_was_asked_for_alone_is_shown_alone(catalogue: Catalogue) -> None:
    put(catalogue, item(1, (2,)), item(4, (1,)))
    catalogue.pin(base(1), 1, False)
    assert not catalogue.visible(base(1))
    catalogue.pin(base(1), 1, True)
    assert catalogue.visible(base(1))
    assert not catalogue.complete(base(1))
    assert not catalogue.visible(base(4))
    assert catalogue.sizes().hidden == 1
    assert [each.base for each in catalogue.hidden()] == [base(4)]


def test_an_operator_may_have_all_shown(opener: Opener) -> None:
    catalogue = opener(True)
    put(catalogue, item(1, (2,)))
    assert catalogue.visible(base(1))
    assert catalogue.shown(hash_part(1)) == item(1, (2,))
    assert not catalogue.complete(base(1))
    assert list(catalogue.hidden()) == []
    assert catalogue.sizes().hidden == 0


def test_items_that_refer_to_each_other_wait_for_ever(catalogue: Catalogue) -> None:
    put(catalogue, item(1, (2,)), item(2, (1,)))
    assert not catalogue.complete(base(1))
    catalogue.remove([base(1)])
    assert catalogue.missing(base(2)) == (base(1),)
    put(catalogue, item(1))
    assert catalogue.complete(base(2))


def test_totals(catalogue: Catalogue) -> None:
    put(catalogue, item(1), item(2))
    catalogue.pin(base(1), 1, False)
    put(catalogue, item(2))
    sizes = catalogue.sizes()
    assert (sizes.items, sizes.nar_size, sizes.pins) == (2, 2003, 1)
    catalogue.remove([base(1)])
    assert (catalogue.sizes().items, catalogue.sizes().nar_size) == (1, 1002)


def test_the_version_moves_with_every_change(catalogue: Catalogue) -> None:
    before = catalogue.version()
    assert catalogue.version() == before
    put(catalogue, item(1))
    after = catalogue.version()
    assert after != before
    assert catalogue.find(hash_part(1)) is not None
    assert catalogue.version() == after


def test_threads_write_and_read_at_once(catalogue: Catalogue) -> None:
    def work(number: int) -> Item | None:
        put(catalogue, item(number, (number + 1,)))
        return catalogue.item(base(number))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(100)))
    assert found == [item(number, (number + 1,)) for number in range(100)]
    put(catalogue, item(100))
    assert all(catalogue.complete(base(number)) for number in range(101))
    assert catalogue.oldest_admission() is None


# A graph on few items, then a history of arrivals and departures.
_GRAPH = st.lists(st.sets(st.integers(0, 7)), min_size=8, max_size=8)
_STEPS = st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), min_size=1), min_size=1)


def _complete(graph: list[set[int]], here: set[int]) -> set[int]:
    """The complete items by definition: the least fixed point."""
    done: set[int] = set()
    while more := {n for n in here - done if graph[n] - {n} <= done}:
        done |= more
    return done


@settings(max_examples=60)
@given(_GRAPH, _STEPS)
def test_completeness_is_kept_true(
    graph: list[set[int]], steps: list[list[tuple[bool, int]]]
) -> None:
    """Any order of arrivals and departures, in any batches, leaves what the definition says."""
    # References run to lower numbers, as builds do; an item may refer to itself.
    graph = [{to for to in graph[n] if to <= n} for n in range(8)]
    catalogue = Catalogue.in_memory()
    here: set[int] = set()
    for step in steps:
        arrive = [n for comes, n in step if comes]
        leave = [n for comes, n in step if not comes]
        put(catalogue, *(item(n, sorted(graph[n])) for n in arrive))
        catalogue.remove([base(n) for n in leave])
        here = (here | set(arrive)) - set(leave)
        complete = {n for n in range(8) if catalogue.complete(base(n))}
        assert complete == _complete(graph, here)
        assert catalogue.count() == len(here)
        for n in here:
            lacking = {to for to in graph[n] - {n} if to not in complete}
            assert catalogue.missing(base(n)) == tuple(sorted(base(to) for to in lacking))
    catalogue.remove([base(n) for n in here])
    assert list(catalogue.hidden()) == []
    catalogue.close()


def test_what_is_pinned_is_reached_with_its_closure(catalogue: Catalogue) -> None:
    put(catalogue, *(item(n, (n - 1, n)) for n in range(1, 10)), item(20), item(21, (20,)))
    catalogue.pin(base(3), 1, False)
    catalogue.pin(base(21), 1, True)
    catalogue.pin(base(99), 1, False)
    reached = catalogue.reach([base(4), "nonsense"])
    gone = list(catalogue.unreached(reached))
    assert sorted(gone) == sorted([*(base(n) for n in range(5, 10)), base(20)])
    assert catalogue.sweep(reached, gone)
    assert {each.path.base for each in catalogue.items()} == {
        *(base(n) for n in range(1, 5)),
        base(21),
    }


def test_a_sweep_takes_nothing_that_an_admission_records_or_meets(catalogue: Catalogue) -> None:
    put(catalogue, *(item(n) for n in range(6)))
    put(catalogue, item(7, (6,)))
    put(catalogue, item(6))
    opened = catalogue.begin_admission(1, "mirror")
    catalogue.spare([base(0), "nonsense"], opened)
    catalogue.record([admitted(item(1), opened), admitted(item(8, (5,)), opened)])
    reached = catalogue.reach()
    gone = list(catalogue.unreached(reached))
    assert set(gone) == {base(n) for n in (2, 3, 4, 6, 7)}
    later = catalogue.begin_admission(2, "another")
    catalogue.spare([base(2)], later)
    catalogue.record([admitted(item(3), later), admitted(item(9), later)])
    for number in (opened, later):
        catalogue.end_admission(number)
    assert catalogue.sweep(reached, [*gone, base(9), base(0), base(5)])
    assert {each.path.base for each in catalogue.items()} == {
        base(n) for n in (0, 1, 2, 3, 5, 8, 9)
    }


def test_a_sweep_does_nothing_when_there_are_new_pins(catalogue: Catalogue) -> None:
    put(catalogue, item(1), item(2))
    catalogue.pin(base(3), 1, False)
    reached = catalogue.reach()
    catalogue.unpin(base(3))
    catalogue.pin(base(1), 1, False)
    assert not catalogue.sweep(reached, [base(1), base(2)])
    assert catalogue.count() == 2
    reached = catalogue.reach()
    assert catalogue.sweep(reached, catalogue.unreached(reached))
    assert list(catalogue.items()) == [item(1)]


def test_only_an_open_admission_spares(catalogue: Catalogue) -> None:
    put(catalogue, item(1))
    with pytest.raises(Unavailable):
        catalogue.spare([base(1)], catalogue.horizon())


def test_the_horizon_is_the_oldest_admission_or_the_next(catalogue: Catalogue) -> None:
    first = catalogue.begin_admission(1, "a")
    catalogue.begin_admission(1, "b")
    assert catalogue.horizon() == first
    for each in catalogue.admissions():
        catalogue.end_admission(each.id)
    assert catalogue.horizon() == catalogue.begin_admission(1, "c")


def test_items_of_an_admission_and_later_ones(catalogue: Catalogue) -> None:
    put(catalogue, item(1), item(2))
    then = catalogue.horizon()
    put(catalogue, item(3), item(1))
    assert [each.path.base for each in catalogue.items(since=then)] == [base(1), base(3)]
