"""Channels, releases and packages of a catalogue, over each implementation."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.catalogue import Catalogue, Channel, Lacking, Package, Release
from narbor.errors import Refused, Rejected
from tests.catalogue.world import HERE, THERE, admitted, base, item

C = "nixos-unstable"
OLD, MIDDLE, NEW = (f"nixos-25.05pre{n}.0123456789ab" for n in (999, 1000, 1001))


@pytest.fixture(params=["file", "memory"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    """An empty catalogue."""
    if request.param == "memory":
        made = Catalogue.in_memory()
    else:
        made = Catalogue.open(tmp_path / "catalogue.sqlite")
    yield made
    made.close()


def release(name: str, channel: str = C) -> Release:
    """A release in the making."""
    return Release(channel, name, 1_800_000, "https://hydra.example/eval/1", "a" * 40, 5)


def publish(catalogue: Catalogue, *names: str, channel: str = C) -> None:
    """Record releases and publish them, each with the paths 0 and its place."""
    for place, name in enumerate(names, 1):
        catalogue.record_release(release(name, channel), [base(0), base(place)])
        catalogue.publish_release(channel, name, 7)


def at(catalogue: Catalogue, channel: str = C) -> str | None:
    """The release a channel is at."""
    found = catalogue.channel(channel)
    assert found is not None
    return found.current


def put(catalogue: Catalogue, number: int, *references: int) -> None:
    """Let an item be here."""
    admission = catalogue.begin_admission(1, "test")
    catalogue.record([admitted(item(number, references), admission)])
    catalogue.end_admission(admission)


def hello(number: int = 1, **changes: Any) -> Package:
    """A package with the path of an item."""
    made = Package("hello", "x86_64-linux", f"hello-2.{number}", (("out", base(number)),), "Greets")
    return replace(made, **changes)


def test_a_release_is_found_again(catalogue: Catalogue) -> None:
    catalogue.record_release(release(OLD), [base(2), base(1), base(2)])
    assert catalogue.release(C, OLD) == release(OLD)
    assert list(catalogue.release_paths(C, OLD)) == sorted([base(1), base(2)])
    catalogue.publish_release(C, OLD, 9)
    catalogue.publish_release(C, OLD, 10)
    assert catalogue.release(C, OLD) == replace(release(OLD), published=9)
    assert catalogue.channels() == (Channel(C, None, None, False, 5),)
    bare = replace(release(OLD, "mine"), evaluation=None)
    catalogue.record_release(bare, [])
    assert catalogue.release("mine", OLD) == bare
    assert list(catalogue.release_paths("mine", OLD)) == []


def test_what_is_not_there(catalogue: Catalogue) -> None:
    publish(catalogue, OLD)
    assert catalogue.release(C, NEW) is None
    assert catalogue.release("other", OLD) is None
    assert catalogue.channel("other") is None
    assert list(catalogue.release_paths(C, NEW)) == []
    assert list(catalogue.packages(C, NEW)) == []
    assert list(catalogue.lacking(C, NEW)) == []
    assert catalogue.package(C, "hello", "x86_64-linux") is None
    assert catalogue.packages_with("nonsense") == ()
    assert catalogue.releases_with(base(77)) == ()
    catalogue.remove_release(C, NEW)
    for move in (catalogue.publish_release, catalogue.advance, catalogue.promote):
        with pytest.raises(Refused, match=NEW):
            move(C, NEW, 1)
    for channel in (C, "other"):
        with pytest.raises(Refused, match="older"):
            catalogue.rollback(channel, 1)
    with pytest.raises(Refused, match="other"):
        catalogue.freeze("other", True, 1)
    with pytest.raises(Refused, match=NEW):
        catalogue.record_packages(C, NEW, [])


def test_releases_sort_by_version_and_not_by_letters(catalogue: Catalogue) -> None:
    publish(catalogue, MIDDLE, NEW, OLD)
    publish(catalogue, OLD, channel="a")
    assert [each.name for each in catalogue.releases(C)] == [NEW, MIDDLE, OLD]
    assert [each.channel for each in catalogue.releases()] == ["a", C, C, C]


def test_one_in_the_making_is_replaced_and_a_published_one_is_not(catalogue: Catalogue) -> None:
    catalogue.record_release(release(OLD), [base(1), base(2)])
    catalogue.record_packages(C, OLD, [hello(1)])
    again = replace(release(OLD), revision="b" * 40)
    catalogue.record_release(again, [base(3)])
    assert catalogue.releases(C) == (again,)
    assert list(catalogue.release_paths(C, OLD)) == [base(3)]
    assert list(catalogue.packages(C, OLD)) == []
    assert catalogue.search(["hello"]) == ()
    catalogue.publish_release(C, OLD, 6)
    with pytest.raises(Refused, match="published"):
        catalogue.record_release(release(OLD), [])
    assert list(catalogue.release_paths(C, OLD)) == [base(3)]
    # But more can be learnt of it.
    for _ in range(2):
        assert catalogue.record_packages(C, OLD, [hello(1)]) == 1
    assert list(catalogue.packages(C, OLD)) == [hello(1)]


def test_all_of_a_release_is_recorded_or_nothing(catalogue: Catalogue) -> None:
    with pytest.raises(Rejected, match="nonsense"):
        catalogue.record_release(release(OLD), [base(1), "nonsense"])
    assert catalogue.releases() == ()
    assert catalogue.channels() == ()
    with pytest.raises(Rejected, match="unstable"):
        catalogue.record_release(release("nixos-unstable"), [])
    catalogue.record_release(release(OLD), [])
    with pytest.raises(Rejected, match="nonsense"):
        catalogue.record_packages(C, OLD, [hello(1), hello(2, outputs=(("out", "nonsense"),))])
    assert list(catalogue.packages(C, OLD)) == []


def test_a_channel_advances_to_newer_releases_only(catalogue: Catalogue) -> None:
    publish(catalogue, OLD, MIDDLE)
    catalogue.record_release(release(NEW), [])
    with pytest.raises(Refused, match=NEW):
        catalogue.advance(C, NEW, 1)
    assert catalogue.advance(C, MIDDLE, 20)
    assert catalogue.channel(C) == Channel(C, MIDDLE, MIDDLE, False, 20)
    assert not catalogue.advance(C, MIDDLE, 21)
    assert not catalogue.advance(C, OLD, 22)
    assert catalogue.channel(C) == Channel(C, MIDDLE, MIDDLE, False, 20)
    catalogue.publish_release(C, NEW, 23)
    assert catalogue.advance(C, NEW, 24)
    assert at(catalogue) == NEW


def test_what_was_rolled_back_does_not_come_again_by_itself(catalogue: Catalogue) -> None:
    publish(catalogue, OLD, MIDDLE, NEW)
    catalogue.advance(C, NEW, 1)
    assert catalogue.rollback(C, 2) == MIDDLE
    assert not catalogue.advance(C, NEW, 3)
    assert catalogue.channel(C) == Channel(C, MIDDLE, NEW, False, 2)
    assert catalogue.rollback(C, 4) == OLD
    with pytest.raises(Refused, match="older"):
        catalogue.rollback(C, 5)
    catalogue.promote(C, NEW, 6)
    assert at(catalogue) == NEW
    newer = NEW.replace("1001", "1002")
    publish(catalogue, newer)
    assert catalogue.advance(C, newer, 7)


def test_rolling_back_passes_over_what_is_not_published(catalogue: Catalogue) -> None:
    publish(catalogue, OLD, NEW)
    catalogue.record_release(release(MIDDLE), [])
    catalogue.advance(C, NEW, 1)
    assert catalogue.rollback(C, 2) == OLD


def test_a_frozen_channel_stands_still(catalogue: Catalogue) -> None:
    publish(catalogue, OLD, NEW)
    catalogue.advance(C, OLD, 1)
    catalogue.freeze(C, True, 2)
    assert not catalogue.advance(C, NEW, 3)
    for move in (lambda: catalogue.promote(C, NEW, 3), lambda: catalogue.rollback(C, 3)):
        with pytest.raises(Refused, match="frozen"):
            move()
    assert catalogue.channel(C) == Channel(C, OLD, OLD, True, 2)
    catalogue.freeze(C, False, 4)
    assert catalogue.advance(C, NEW, 5)


def test_channels_do_not_meet(catalogue: Catalogue) -> None:
    publish(catalogue, OLD, NEW)
    publish(catalogue, OLD, channel="other")
    catalogue.advance(C, NEW, 1)
    catalogue.freeze("other", True, 2)
    assert [(each.name, each.current, each.frozen) for each in catalogue.channels()] == [
        (C, NEW, False),
        ("other", None, True),
    ]


def test_removing_a_release_leaves_what_others_have(catalogue: Catalogue) -> None:
    for number, name in enumerate((OLD, NEW), 1):
        catalogue.record_release(release(name), [base(0), base(number)])
        catalogue.record_packages(C, name, [hello(7), hello(10 + number)])
        catalogue.publish_release(C, name, 1)
    catalogue.promote(C, NEW, 1)
    with pytest.raises(Refused, match=NEW):
        catalogue.remove_release(C, NEW)
    assert set(catalogue.listed_paths()) == {base(0), base(1), base(2)}
    catalogue.remove_release(C, OLD)
    assert [each.name for each in catalogue.releases(C)] == [NEW]
    assert set(catalogue.listed_paths()) == {base(0), base(2)}
    assert set(catalogue.packages(C, NEW)) == {hello(7), hello(12)}
    assert set(catalogue.search(["hello"])) == {hello(7), hello(12)}
    assert catalogue.packages_with(base(11)) == ()


def test_what_a_release_lacks_and_why(catalogue: Catalogue) -> None:
    catalogue.record_release(release(OLD), [base(n) for n in range(1, 5)])
    put(catalogue, 1)
    put(catalogue, 2, 3, 9)
    put(catalogue, 4, 2)
    catalogue.fail(base(3), HERE, "gone", 1)
    catalogue.fail(base(3), THERE, "away", 1)
    catalogue.fail(base(1), HERE, "came later from elsewhere", 1)
    both = ((HERE, "gone"), (THERE, "away"))
    found = {each.base: each for each in catalogue.lacking(C, OLD)}
    assert found == {
        base(2): Lacking(base(2), True, tuple(sorted([base(3), base(9)])), both),
        base(3): Lacking(base(3), False, (), both),
        base(4): Lacking(base(4), True, (base(2),), ()),
    }
    assert list(found) == sorted(found)
    assert catalogue.absent(base(4)) == tuple(sorted([base(3), base(9)]))
    assert catalogue.absent(base(1)) == ()
    assert catalogue.absent(base(3)) == (base(3),)


def test_long_lists_are_read_page_by_page(catalogue: Catalogue) -> None:
    bases = [base(number) for number in range(2500)]
    catalogue.record_release(release(OLD), bases)
    made = [hello(number, attribute=f"p{number}") for number in range(2500)]
    assert catalogue.record_packages(C, OLD, made) == 2500
    assert list(catalogue.release_paths(C, OLD)) == sorted(bases)
    assert list(catalogue.listed_paths()) == sorted(bases)
    assert set(catalogue.packages(C, OLD)) == set(made)
    assert len(list(catalogue.lacking(C, OLD))) == 2500


def test_packages_are_found_again(catalogue: Catalogue) -> None:
    catalogue.record_release(release(OLD), [])
    many = Package(
        "python3Packages.a'b",
        "aarch64-linux",
        "a-1",
        (("out", base(1)), ("dev", base(2)), ("man", base(3))),
    )
    bare = Package("bare", "x86_64-linux", "", ())
    assert catalogue.record_packages(C, OLD, [many, bare, many]) == 2
    assert list(catalogue.packages(C, OLD)) == [many, bare]
    assert catalogue.package(C, many.attribute, "aarch64-linux", OLD) == many
    assert catalogue.package(C, many.attribute, "x86_64-linux", OLD) is None
    assert catalogue.packages_with(base(2)) == (many,)


def test_a_package_is_that_of_the_release_a_channel_is_at(catalogue: Catalogue) -> None:
    for number, name in enumerate((OLD, NEW), 1):
        catalogue.record_release(release(name), [])
        catalogue.record_packages(C, name, [hello(number), hello(9, attribute="same")])
        catalogue.publish_release(C, name, 1)
    assert catalogue.package(C, "hello", "x86_64-linux") is None
    catalogue.promote(C, OLD, 2)
    assert catalogue.package(C, "hello", "x86_64-linux") == hello(1)
    assert catalogue.package(C, "hello", "x86_64-linux", NEW) == hello(2)
    assert catalogue.search(["hello"], C) == (hello(1), hello(9, attribute="same"))
    assert catalogue.search(["hello"], C, NEW)[0] == hello(2)
    assert catalogue.search(["hello"], "other") == ()
    assert [each.name for each in catalogue.releases_with(base(1))] == [OLD]
    assert [each.name for each in catalogue.releases_with(base(9))] == [NEW, OLD]


def test_the_best_is_found_first(catalogue: Catalogue) -> None:
    attributes = ["xgitx", "gitAndTools.git", "git", "gitFull", "gitui", "perl.Git_x", "other"]
    made = [
        Package(name, "x86_64-linux", f"{name}-1", (), "about git" if name == "other" else "")
        for name in attributes
    ]
    catalogue.record_release(release(OLD), [])
    catalogue.record_packages(C, OLD, [*made, replace(made[2], system="aarch64-linux")])

    def found(*words: str, system: str | None = None, limit: int = 50) -> list[str]:
        chosen = catalogue.search(words, system=system, limit=limit)
        return [each.attribute for each in chosen]

    assert found("git", system="x86_64-linux") == [
        *("git", "gitAndTools.git", "gitui", "gitFull", "xgitx", "perl.Git_x", "other"),
    ]
    assert found("GIT")[:2] == ["git", "git"]
    assert found("git", "tools") == ["gitAndTools.git"]
    assert found("t_x") == ["perl.Git_x"]
    assert found("%") == found("\\") == []
    assert found("git", limit=1) == ["git"]
    assert len(found()) == 8


NAMES = st.sampled_from([OLD, MIDDLE, NEW])
STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "advance", "promote", "rollback", "remove"]), NAMES)
    | st.tuples(st.just("freeze"), st.booleans()),
    max_size=20,
)


@given(STEPS)
def test_a_channel_never_goes_back_in_time_by_itself(steps: list[tuple[str, str | bool]]) -> None:
    """Whatever happens: it is at a published release, and `advance` only ever goes up."""
    catalogue = Catalogue.in_memory()
    order = {None: -1, OLD: 0, MIDDLE: 1, NEW: 2}
    highest = -1
    for step, what in steps:
        before = catalogue.channel(C)
        try:
            if step == "publish":
                publish(catalogue, str(what))
            elif step == "advance":
                moved = catalogue.advance(C, str(what), 1)
                assert not (moved and before and before.frozen)
                assert moved == (at(catalogue) == what and order[str(what)] > highest)
            elif step == "promote":
                catalogue.promote(C, str(what), 1)
            elif step == "rollback":
                catalogue.rollback(C, 1)
            elif step == "remove":
                catalogue.remove_release(C, str(what))
            else:
                catalogue.freeze(C, bool(what), 1)
        except Refused:
            assert catalogue.channel(C) == before
        if now := catalogue.channel(C):
            highest = max(highest, order[now.current])
            assert order[now.reached] == highest
            current = now.current and catalogue.release(C, now.current)
            assert now.current is None or (current and current.published)
    catalogue.close()
