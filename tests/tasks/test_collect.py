"""What nobody asks for goes, and nothing else, whatever happens at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.blocks import sweep
from narbor.catalogue import COLLECT, HOLD
from narbor.dag import splice
from narbor.dag.splice import Leaf
from narbor.errors import Unavailable
from narbor.formats import frames, nar
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names.item import Item
from narbor.tasks.keep.collect import (
    Broken,
    Circumstances,
    Collected,
    Ended,
    Event,
    LetGo,
    Waiting,
    collect,
    preview,
)
from tests.library.store import believed, opened

SHARED = [Random(n).randbytes(70_000) for n in range(4)]
NOW = Circumstances(now=1000, grace=0, process="test", alive=lambda process: process != "dead")

Kind = TypeVar("Kind")


def archive(name: str, shared: int) -> bytes:
    """A NAR of two files: one of the shared ones and one of its own."""
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for file, content in ((b"own", Random(name).randbytes(70_000)), (b"shared", SHARED[shared])):
        events += [nar.File(file, False, len(content)), nar.Data(content)]
    return b"".join(nar.write([*events, nar.END]))


def admit(library: Library, name: str, shared: int = 0, *references: Item) -> Item:
    """Admit an item, without committing it."""
    content = archive(name, shared)
    bases = [item.path.base for item in references]
    return library.admit(believed(name, content, bases), [content], "test:")


def put(library: Library, name: str, shared: int = 0, *references: Item) -> Item:
    """Admit an item and commit it."""
    item = admit(library, name, shared, *references)
    library.commit()
    return item


def whole(library: Library, item: Item, shared: int = 0) -> bool:
    """Tell whether the item is here, with all its bytes."""
    if library.item(item.path.base) is None:
        return False
    return b"".join(library.archive(item)) == archive(item.path.name, shared)


def only(kind: type[Kind], events: list[Event]) -> list[Kind]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def run(library: Library, at: Circumstances = NOW) -> tuple[Collected, list[Event]]:
    """Collect, and return the outcome and all events."""
    events = list(collect(library, at))
    last = events[-1]
    assert isinstance(last, Collected)
    return last, events


def until_waiting(events: Iterator[Event]) -> Waiting:
    """Go on until the collection waits."""
    return next(event for event in events if isinstance(event, Waiting))


@contextmanager
def other(library: Library) -> Iterator[int]:
    """Somebody else's admission, open for a while."""
    number = library.catalogue.begin_admission(1, "another")
    try:
        yield number
    finally:
        library.catalogue.end_admission(number)


def at_rest(folder: Path) -> int:
    """Return the bytes of all packs."""
    return sum(file.stat().st_size for file in (folder / "packs").iterdir())


def test_what_is_pinned_stays_with_its_closure_and_the_rest_goes(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        low = put(library, "low", 0)
        top = put(library, "top", 1, low)
        gone = put(library, "gone", 1, low)
        library.pin(top.path)
        outcome, events = run(library)
        assert [event.base for event in only(LetGo, events)] == [gone.path.base]
        assert outcome.items == 1
        assert whole(library, low, 0)
        assert whole(library, top, 1)
        assert library.item(gone.path.base) is None
        again, events = run(library)
        assert (again.items, again.room, again.freed) == (0, sweep.Room(0, 0), 0)
        assert only(LetGo, events) == []


def test_an_item_pinned_alone_does_not_keep_what_it_refers_to(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        low = put(library, "low")
        top = put(library, "top", 0, low)
        library.pin(top.path, alone=True)
        assert run(library)[0].items == 1
        assert whole(library, top)
        assert library.item(low.path.base) is None


def test_forgetting_frees_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        items = [put(library, f"item-{n}") for n in range(10)]
        for item in items:
            library.pin(item.path)
    before = at_rest(tmp_path)
    with opened(tmp_path) as library:
        for item in items[1:]:
            assert library.forget(item.path)
        outcome, _ = run(library)
        # What is kept has moved to a pack that begins with its own few bytes.
        assert outcome.freed - len(frames.MAGIC) == before - at_rest(tmp_path)
        assert outcome.freed > 9 * 70_000
        assert outcome.room.blocks >= 18
        assert whole(library, items[0])
    with opened(tmp_path) as library:
        assert whole(library, items[0])
        assert library.rendering(items[0], "zstd") is not None


def test_emptied_packs_are_left_to_readers_for_a_while(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "gone")
        slow = Circumstances(now=1000, grace=60, process="test", alive=NOW.alive)
        outcome, _ = run(library, slow)
        assert outcome.freed == 0
        assert outcome.later > 70_000
        held = at_rest(tmp_path)
        late = Circumstances(now=1060, grace=60, process="test", alive=NOW.alive)
        assert run(library, late)[0].freed > 70_000
        assert at_rest(tmp_path) < held - 70_000


def test_a_preview_tells_the_same_and_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        kept = put(library, "kept", 0)
        gone = put(library, "gone", 0)
        library.pin(kept.path)
        version = library.version()
        foreseen = list(preview(library))
        assert library.version() == version
        assert whole(library, gone)
        outcome, events = run(library)
        assert only(LetGo, foreseen) == only(LetGo, events)
        last = foreseen[-1]
        assert isinstance(last, Collected)
        assert (last.items, last.room) == (outcome.items, outcome.room)


def test_what_the_caller_adds_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        low = put(library, "low")
        top = put(library, "top", 0, low)
        kept = [top.path.base]
        assert only(LetGo, list(preview(library, kept))) == []
        assert only(LetGo, list(collect(library, NOW, kept))) == []
        assert whole(library, low)


def test_what_an_admission_kept_before_it_began_stays(tmp_path: Path) -> None:
    """The blocks of an item whose row comes late are garbage until then, but nobody takes them."""
    with opened(tmp_path) as library:
        put(library, "gone", 2)
        late = admit(library, "late", 2)  # meets the shared leaf before it is condemned
        events = collect(library, NOW)
        assert len(until_waiting(events).admissions) == 1
        library.commit()
        library.pin(late.path)
        assert only(Collected, list(events))[0].items == 1
        assert whole(library, late, 2)


def test_what_an_admission_meets_while_condemned_is_saved(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "gone", 3)
        with other(library):
            events = collect(library, NOW)
            until_waiting(events)
            assert library.blocks.index.rows("SELECT 1 FROM block WHERE condemned IS NOT NULL")
            late = put(library, "late", 3)
            under_way = admit(library, "under-way", 3)
        assert isinstance(list(events)[-1], Collected)
        library.commit()
        assert whole(library, late, 3)
        assert whole(library, under_way, 3)


def test_it_waits_for_none_that_began_later(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "gone")
        with other(library):
            events = collect(library, NOW)
            until_waiting(events)
            later = library.catalogue.begin_admission(1, "later")
        assert isinstance(list(events)[-1], Collected)
        library.catalogue.end_admission(later)


def test_a_collection_that_was_given_up_does_no_harm(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "gone", 1)
        early = admit(library, "early", 1)
        given_up = collect(library, NOW)
        until_waiting(given_up)
        given_up.close()
        assert library.blocks.index.rows("SELECT 1 FROM block WHERE condemned IS NOT NULL")
        assert [each.process for each in library.catalogue.admissions()] == ["test"]
        library.commit()
        library.pin(early.path)
        outcome, _ = run(library)
        assert whole(library, early, 1)
        assert outcome.room.blocks > 0


def test_admissions_of_the_dead_are_ended(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        library.catalogue.begin_admission(1, "dead")
        library.catalogue.begin_admission(1, "dead", COLLECT)
        put(library, "gone")
        outcome, events = run(library)
        assert [each.admission.process for each in only(Ended, events)] == ["dead", "dead"]
        assert outcome.items == 1
        assert library.catalogue.admissions() == ()


def test_a_run_that_works_bottom_up_holds_what_it_brings_and_finds(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        found, gone = put(library, "found"), put(library, "gone")
        run_of = library.catalogue.begin_admission(1, "mirror", HOLD)
        library.catalogue.spare([found.path.base], run_of)
        brought = put(library, "brought", 0)
        outcome, events = run(library)
        assert only(Waiting, events) == [], "its blocks have rows: there is nothing to wait for"
        assert outcome.items == 1
        assert library.item(gone.path.base) is None
        top = put(library, "top", 0, found, brought)
        library.pin(top.path)
        library.catalogue.end_admission(run_of)
        assert run(library)[0].items == 0
        assert library.complete(top.path.base)


def test_one_collects_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "gone")
        with other(library):
            first = collect(library, NOW)
            until_waiting(first)
            with pytest.raises(Unavailable, match="another collection"):
                list(collect(library, NOW))
        assert isinstance(list(first)[-1], Collected)


def test_a_pin_set_meanwhile_counts(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        items = [put(library, f"item-{n:03}") for n in range(3)]
        events = collect(library, NOW)
        library.pin(items[1].path)
        assert isinstance(list(events)[-1], Collected)
        assert [whole(library, item) for item in items] == [False, True, False]


def test_a_block_that_cannot_be_read_is_reported_and_the_rest_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        kept = put(library, "kept")
        library.pin(kept.path)
        pieces = splice.read(kept.archive, Reader(library.blocks).node)
        leaves = [piece.cid for piece in pieces if isinstance(piece, Leaf)]
        library.blocks.sync()
        (place,) = library.blocks.places([kept.archive])
        (pack,) = (tmp_path / "packs").iterdir()
        with pack.open("r+b") as file:
            file.seek(place.offset + 4)
            file.write(b"\xff" * (place.length - 4))
        _, events = run(library)
        assert {event.base for event in only(Broken, events)} == {kept.path.base}
        assert library.blocks.missing(leaves) == set()


_HISTORY = st.lists(
    st.tuples(st.sampled_from(["put", "pin", "forget", "collect"]), st.integers(0, 5)),
    min_size=4,
    max_size=14,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_HISTORY)
def test_whatever_happens_what_is_pinned_is_whole(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int]]
) -> None:
    with opened(tmp_path_factory.mktemp("store")) as library:
        here: dict[int, Item] = {}
        pinned: set[int] = set()
        for step, n in history:
            if step == "put":
                _put_chain(library, here, n)
            elif step == "pin" and n in here:
                pinned.add(n)
                library.pin(here[n].path)
            elif step == "forget" and n in here:
                pinned.discard(n)
                library.forget(here[n].path)
            elif step == "collect":
                run(library)
                reached = {m for p in pinned for m in range(p + 1)}
                for m, item in list(here.items()):
                    assert whole(library, item, m % 4) == (m in reached)
                    if m not in reached:
                        del here[m]
        run(library)
        assert all(whole(library, here[m], m % 4) for p in pinned for m in range(p + 1))


def _put_chain(library: Library, here: dict[int, Item], n: int) -> Item:
    """Put an item, which refers to the one before it, and that before it."""
    below = [] if n == 0 else [_put_chain(library, here, n - 1)]
    here[n] = put(library, f"item-{n}", n % 4, *below)
    return here[n]
