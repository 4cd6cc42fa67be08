"""What is given to a holder is all there, and a block that lacks is found."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.dag import cachedir
from narbor.errors import Unavailable
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins import Incomplete
from narbor.tasks.keep.collect import Waiting
from narbor.tasks.keep.collect import collect as collecting
from narbor.tasks.publish import CACHE
from narbor.tasks.replicate import (
    BATCH,
    Checked,
    Circumstances,
    Done,
    Event,
    Kept,
    Lacking,
    Looked,
    Lost,
    Order,
    Unkept,
    check,
    replicate,
    what,
)
from tests.fakes.holder import FakeHolder
from tests.library.store import opened
from tests.tasks.replicate.dags import Blocks, dags, join, only, put
from tests.tasks.test_collect import NOW, run
from tests.tasks.test_collect import put as put_item
from tests.tasks.test_publish import published

AT = Circumstances(1000, "test")


def given_to(library: Library, holder: FakeHolder, order: Order) -> tuple[Done, list[Event]]:
    """Replicate; return the end and all events."""
    return ended(list(replicate(library, holder, order, AT)))


def looked_for(library: Library, holder: FakeHolder, order: Order) -> tuple[Done, list[Event]]:
    """Check; return the end and all events."""
    return ended(list(check(library, holder, order, AT)))


def ended(events: list[Event]) -> tuple[Done, list[Event]]:
    """Return the end and all events."""
    last = events[-1]
    assert isinstance(last, Done)
    return last, events


@settings(max_examples=40, deadline=None)
@given(dags(), st.booleans(), st.randoms())
def test_all_is_given_and_what_is_taken_away_is_found(
    dag: tuple[Cid, Blocks], lists: bool, luck: Random
) -> None:
    root, blocks = dag
    with TemporaryDirectory() as folder, opened(Path(folder)) as library:
        put(library, blocks)
        holder, order = FakeHolder(lists=lists), Order("name", root)
        done, _ = given_to(library, holder, order)
        assert done == Done(
            root, len(blocks), len(blocks), sum(map(len, blocks.values())), 0, 0, True
        )
        assert holder.blocks == blocks
        assert holder.roots == {"name": root}
        assert looked_for(library, holder, order)[0].whole
        lost = luck.choice(sorted(blocks))
        holder.lose(lost)
        done, events = looked_for(library, holder, order)
        assert only(Lacking, events) == [Lacking(lost, mended=False)]
        assert (done.lacking, done.sent, done.whole) == (1, 0, False)
        done, events = given_to(library, holder, order)
        assert only(Lacking, events) == [Lacking(lost, mended=True)]
        assert (done.sent, done.whole) == (1, True)
        assert holder.blocks == blocks
        assert library.catalogue.admissions() == ()


def test_only_what_is_new_is_asked_for_and_given(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        blocks: Blocks = {}
        many = [join(blocks, [], cid.RAW, n) for n in range(50)]
        old = join(blocks, many, cid.DAG_PB, 1)
        new = join(blocks, [*many, join(blocks, [], cid.RAW, 99)], cid.DAG_PB, 2)
        put(library, blocks)
        holder = FakeHolder(lists=False)
        assert given_to(library, holder, Order("name", old))[0].sent == 51
        holder.asked = 0
        events = replicate(library, holder, Order("name", new), AT)
        looked = next(event for event in events if isinstance(event, Looked))
        # Nothing below the old root was even asked for.
        assert (looked.blocks, looked.sent, holder.asked) == (2, 2, 2)
        assert isinstance(list(events)[-1], Done)
        assert holder.kept("name") == new


def test_a_run_that_broke_off_is_taken_up(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        blocks: Blocks = {}
        root = join(blocks, [join(blocks, [], cid.RAW, n) for n in range(30)], cid.DAG_CBOR, 1)
        put(library, blocks)
        holder = FakeHolder(room=10)
        with pytest.raises(Unavailable):
            given_to(library, holder, Order("name", root))
        assert library.catalogue.admissions() == ()
        holder.room = None
        done, _ = given_to(library, holder, Order("name", root))
        assert (done.sent, done.whole, holder.taken) == (21, True, 31)


def test_in_several_batches_all_is_given_once(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        blocks: Blocks = {}
        leaves = [join(blocks, [], cid.RAW, n) for n in range(BATCH + 100)]
        root = join(blocks, [join(blocks, leaves, cid.DAG_CBOR, 1), *leaves], cid.DAG_CBOR, 2)
        put(library, blocks)
        holder = FakeHolder()
        done, events = given_to(library, holder, Order("name", root))
        assert done.sent == holder.taken == len(blocks)
        assert [event.blocks for event in only(Looked, events)] == [BATCH, len(blocks)]
        assert only(Checked, events)[-1].blocks == len(blocks)


def test_what_is_lost_here_is_named_and_nothing_is_kept_there(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        blocks: Blocks = {}
        leaf, other = join(blocks, [], cid.RAW, 1), join(blocks, [], cid.RAW, 2)
        root = join(blocks, [leaf, join(blocks, [other, leaf], cid.DAG_CBOR, 3)], cid.DAG_PB, 4)
        put(library, {name: data for name, data in blocks.items() if name != leaf})
        holder = FakeHolder()
        done, events = given_to(library, holder, Order("name", root))
        assert [event.name for event in only(Lost, events)] == [leaf]
        assert (done.lost, done.kept, done.whole) == (1, False, False)
        assert only(Unkept, events)
        assert holder.roots == {}
        assert set(holder.blocks) == set(blocks) - {leaf}
        done, events = given_to(library, holder, Order("name", cid.raw(b"nowhere")))
        assert [event.name for event in only(Lost, events)] == [cid.raw(b"nowhere")]


def test_since_leaves_out_what_the_other_side_has(tmp_path: Path) -> None:
    class Believing(FakeHolder):
        """Keeps roots without looking below them, as a difference in a file must."""

        def keep(self, name: str, root: Cid) -> None:
            self.roots[name] = root

    with opened(tmp_path) as library:
        blocks: Blocks = {}
        many = [join(blocks, [], cid.RAW, n) for n in range(9)]
        old = join(blocks, many, cid.DAG_PB, 1)
        new = join(blocks, [old, join(blocks, [], cid.RAW, 99)], cid.DAG_CBOR, 2)
        put(library, blocks)
        holder = Believing()
        done, _ = given_to(library, holder, Order("name", new, since=old))
        assert (done.sent, done.blocks, done.whole) == (2, 2, True)


def test_what_went_there_under_the_old_root_is_given_again(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        blocks: Blocks = {}
        leaf = join(blocks, [], cid.RAW, 1)
        old = join(blocks, [leaf], cid.DAG_PB, 2)
        new = join(blocks, [leaf, old], cid.DAG_PB, 3)
        put(library, blocks)
        holder = FakeHolder()
        given_to(library, holder, Order("name", old))
        holder.lose(leaf)
        done, events = given_to(library, holder, Order("name", new))
        assert done.whole
        assert only(Kept, events) == [Kept("name", new)]
        assert holder.blocks == blocks


def test_a_holder_that_never_has_all_is_told_of(tmp_path: Path) -> None:
    class Forgetful(FakeHolder):
        """Says of everything that it is incomplete."""

        def keep(self, name: str, root: Cid) -> None:
            raise Incomplete("forgetful: it is gone again")

    with opened(tmp_path) as library:
        blocks: Blocks = {}
        root = join(blocks, [], cid.DAG_PB, 2)
        put(library, blocks)
        done, events = given_to(library, Forgetful(), Order("name", root))
        assert (done.kept, done.whole, done.lacking) == (False, False, 0)
        assert only(Unkept, events) == [Unkept("forgetful: it is gone again")]


def test_no_collection_takes_what_is_read(tmp_path: Path) -> None:
    """The root is let go of while it is given: the collection waits for the end."""
    with opened(tmp_path) as library:
        blocks: Blocks = {}
        leaves = [join(blocks, [], cid.RAW, n) for n in range(BATCH + 10)]
        root = join(blocks, leaves, cid.DAG_CBOR, 2)
        put(library, blocks)
        library.catalogue.keep_root("here", root, 1)
        holder = FakeHolder()
        with closing(replicate(library, holder, Order("name", root), AT)) as events:
            next(events)
            library.catalogue.let_go("here")
            with closing(collecting(library, NOW)) as collection:
                assert any(isinstance(event, Waiting) for event in until_waiting(collection))
                assert ended(list(events))[0].whole
        assert holder.blocks == blocks
        run(library)
        assert library.blocks.get(root) is None


def until_waiting(events: Iterator[object]) -> Iterator[object]:
    """Give events up to the first Waiting."""
    for event in events:
        yield event
        if isinstance(event, Waiting):
            return


def test_words(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        with pytest.raises(what.NothingPublished, match="narbor publish"):
            what.find(library, CACHE)
        item = put_item(library, "one")
        root = published(library).root
        assert what.find(library, CACHE) == ("narbor/cache", root)
        base = item.path.base
        for text in (str(item.path), base, base[:32]):
            assert what.find(library, text) == (f"narbor/{base}", item.tree)
        text = cid.text(root)
        assert what.find(library, text) == (f"narbor/{text}", root)
        library.catalogue.keep_root("gift", item.archive, 1)
        assert what.find(library, "gift") == ("gift", item.archive)
        for wrong in ("nixos-25.05/nixos-25.05.1", "bafybad", "nonsense"):
            with pytest.raises(what.NoSuchRoot):
                what.find(library, wrong)


def test_a_published_cache_is_given_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        for n in range(20):
            put_item(library, f"item-{n}", n % 4)
        root = published(library).root
        holder = FakeHolder()
        done, _ = given_to(library, holder, Order("narbor/cache", root))
        assert done.whole
        get = holder.blocks.__getitem__
        assert len(cachedir.entries(root, cachedir.TREES, get)) == 20
