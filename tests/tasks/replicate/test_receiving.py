"""Blocks that are pushed: hashed, durable, spared by collections until they are kept."""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor import wiring
from narbor.config import Config
from narbor.errors import Rejected, Unavailable
from narbor.formats import exchange, frames, unixfs
from narbor.formats.exchange import Outcome
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.keys import Keyring
from narbor.tasks.keep.collect import Waiting, collect
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.replicate.receiving import IDLE, BadBlock, Receiving, TooMuch
from tests.library.store import opened
from tests.tasks.replicate.dags import Blocks, dags
from tests.tasks.replicate.test_arrive import TERMS, below, made
from tests.tasks.test_collect import NOW, run, until_waiting


class Place:
    """A store in a folder that takes in what is pushed. `terms` and `now` may be changed."""

    def __init__(self, folder: Path, patience: float = 60.0) -> None:
        self.folder = folder
        self.terms = TERMS
        self.now = 0.0
        self.times = 0
        self.may_open = threading.Event()
        self.may_open.set()
        with self.library():
            pass
        self.taking = Receiving(self._open, lambda: self.terms, lambda: self.now, patience)

    def _open(self) -> Library:
        self.times += 1
        self.may_open.wait(60)
        return wiring.open_library(Config(home=self.folder), write=True)

    @contextmanager
    def library(self) -> Iterator[Library]:
        """Open the store once more."""
        library = wiring.open_library(Config(home=self.folder), write=True)
        try:
            yield library
        finally:
            library.close()

    def admissions(self) -> int:
        """Return how many are open."""
        with self.library() as library:
            return len(library.catalogue.admissions())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store."""
    return Place(tmp_path / "two")


def record(name: Cid, block: bytes, said: int | None = None) -> bytes:
    """Spell a record."""
    frame = frames.Codec(3).compress(block)
    return frames.head(name, len(frame), len(block) if said is None else said, 3) + frame


def records(blocks: Blocks) -> bytes:
    """Spell records."""
    return b"".join(record(name, block) for name, block in blocks.items())


LEAF = b"a leaf that is pushed"
ROOT = unixfs.file_node([(cid.raw(LEAF), len(LEAF), len(LEAF))])
PAIR = {cid.node(ROOT): ROOT, cid.raw(LEAF): LEAF}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(dags(), st.randoms())
def test_any_dag_is_pushed_and_stays_over_a_collection(
    tmp_path_factory: pytest.TempPathFactory, dag: tuple[Cid, Blocks], luck: Random
) -> None:
    root, blocks = dag
    place = Place(tmp_path_factory.mktemp("dag") / "s")
    names = list(blocks)
    luck.shuffle(names)
    half = len(names) // 2
    place.taking.put("a", records({name: blocks[name] for name in names[:half]}))
    assert set(place.taking.missing("a", names)) == set(names[half:])
    outcome = place.taking.keep("a", "some/name", root)
    assert outcome is not None
    if half < len(names):
        # What hangs from a missing one is not known to be missing.
        assert outcome.missing and set(outcome.missing) <= set(names[half:])
    place.taking.put("a", records({name: blocks[name] for name in names[half:]}))
    assert place.taking.missing("a", names) == []
    assert place.taking.keep("a", "some/name", root) == Outcome()
    with place.library() as library:
        assert library.catalogue.kept_root("a/some/name") == root
        assert library.catalogue.kept_root("some/name") is None
        run(library)
        assert below(library, root) == blocks
        assert library.catalogue.admissions() == ()


def test_a_cache_becomes_items(place: Place, tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 5)
    place.taking.put("a", records(blocks))
    assert place.taking.keep("a", "narbor/cache", root) == Outcome(cache=True, admitted=5)
    with place.library() as library:
        run(library)
        assert len(list(library.items())) == 5
    place.terms = replace(TERMS, ring=Keyring(()))
    assert place.taking.keep("a", "narbor/cache", root) == Outcome(cache=True, known=5)


def test_what_nobody_signed_is_told(place: Place, tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 3)
    place.terms = replace(TERMS, ring=Keyring(()))
    place.taking.put("a", records(blocks))
    outcome = place.taking.keep("a", "narbor/cache", root)
    assert outcome is not None
    assert (outcome.admitted, outcome.failed, len(outcome.failures)) == (0, 3, 3)
    assert all(each.what and each.reason for each in outcome.failures)
    with place.library() as library:
        assert library.catalogue.kept_root("a/narbor/cache") == root


BIG = bytes(4 << 20)
HOSTILE = {
    "other bytes": record(cid.raw(LEAF), LEAF[::-1]),
    "another size": record(cid.raw(LEAF), LEAF, len(LEAF) + 1),
    "half a record": record(cid.raw(LEAF), LEAF)[:-1],
    "no record": b"hello, here are some blocks",
    "the closing record": exchange.closing(0),
    "the beginning of a pack": frames.MAGIC,
    "a hash that is not kept": record(Cid(b"\x01\x55\x16\x20" + bytes(32)), LEAF),
    "an identity that is none": record(cid.inline(b"short"), b"other"),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=list(HOSTILE))
def test_what_is_no_block_is_refused(place: Place, body: bytes) -> None:
    with pytest.raises(BadBlock):
        place.taking.put("a", record(cid.node(ROOT), ROOT) + body)
    assert place.taking.missing("a", [cid.raw(LEAF)]) == [cid.raw(LEAF)]
    place.taking.put("a", records(PAIR))
    assert place.taking.keep("a", "n", cid.node(ROOT)) == Outcome()


def test_a_little_that_unpacks_to_very_much(place: Place) -> None:
    one = record(cid.raw(BIG), BIG)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooMuch):
        place.taking.put("a", one * (2000 // 4))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
    with pytest.raises(TooMuch):
        place.taking.put("a", record(cid.raw(b""), b"") * (exchange.MOST_NAMES + 1))
    inside = cid.inline(b"short")
    place.taking.put("a", record(inside, b"short"))
    assert place.taking.missing("a", [inside]) == []


def test_a_collection_takes_no_half_of_a_push(place: Place) -> None:
    place.taking.put("a", records({cid.raw(LEAF): LEAF}))
    with place.library() as library:
        events = collect(library, NOW)
        assert len(until_waiting(events).admissions) == 1
        place.taking.put("a", records({cid.node(ROOT): ROOT}))
        assert isinstance(next(events), Waiting)
        assert place.taking.keep("a", "n", cid.node(ROOT)) == Outcome()
        list(events)
        assert library.blocks.get(cid.raw(LEAF)) == LEAF


def test_what_was_found_there_stays_as_well(place: Place) -> None:
    """It was condemned, and then relied upon."""
    with place.library() as library:
        library.blocks.put_many(list(PAIR.items()))
        library.blocks.sync()
        with wiring_admission(library):
            events = collect(library, NOW)
            until_waiting(events)
            assert place.taking.missing("a", list(PAIR)) == []
        list(events)
        assert place.taking.keep("a", "n", cid.node(ROOT)) == Outcome()
        run(library)
        assert library.blocks.get(cid.raw(LEAF)) == LEAF


@contextmanager
def wiring_admission(library: Library) -> Iterator[None]:
    """Somebody else's admission, for which a collection waits."""
    id = library.catalogue.begin_admission(1, "other")
    yield
    library.catalogue.end_admission(id)


def test_who_is_silent_is_forgotten(place: Place) -> None:
    place.taking.put("a", records(PAIR))
    place.now = IDLE / 2
    place.taking.put("b", b"")
    assert place.admissions() == 2
    place.now = IDLE + 1
    assert place.taking.expire()
    assert place.admissions() == 1
    place.now = 2 * IDLE + 1
    assert not place.taking.expire()
    assert place.admissions() == 0
    with place.library() as library:
        run(library)
        assert library.blocks.missing(PAIR) == set(PAIR)
    # And comes again.
    place.taking.put("a", records(PAIR))
    assert place.taking.keep("a", "n", cid.node(ROOT)) == Outcome()
    assert place.admissions() == 0
    assert place.times == 2


def test_two_senders_do_not_disturb_each_other(place: Place) -> None:
    place.taking.put("a", records(PAIR))
    place.taking.put("b", records(PAIR))
    assert place.taking.keep("a", "n", cid.node(ROOT)) == Outcome()
    assert place.admissions() == 1
    other = cid.raw(LEAF)
    assert place.taking.keep("b", "n", other) == Outcome()
    with place.library() as library:
        assert library.catalogue.kept_root("a/n") == cid.node(ROOT)
        assert library.catalogue.kept_root("b/n") == other


def test_what_takes_long_is_asked_for_again(tmp_path: Path) -> None:
    place = Place(tmp_path, patience=0.01)
    place.may_open.clear()
    assert place.taking.keep("a", "n", cid.node(ROOT)) is None
    assert place.taking.keep("a", "n", cid.node(ROOT)) is None
    place.may_open.set()
    while (outcome := place.taking.keep("a", "n", cid.node(ROOT))) is None:
        pass
    assert outcome.missing == (cid.node(ROOT),)
    place.taking.put("a", records(PAIR))
    while (outcome := place.taking.keep("a", "n", cid.node(ROOT))) is None:
        pass
    assert outcome == Outcome()
    assert place.times == 1


def test_a_full_disk(place: Place) -> None:
    place.terms = replace(TERMS, min_free=1 << 62)
    with pytest.raises(DiskFull, match="must stay"):
        place.taking.put("a", records(PAIR))
    place.terms = TERMS
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    place.taking.put("a", b"")
    try:
        # The next byte of a pack is one too many.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(Unavailable):
            place.taking.put("a", records(PAIR))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set(place.taking.missing("a", list(PAIR))) == set(PAIR)
    place.taking.put("a", records(PAIR))
    assert place.taking.keep("a", "n", cid.node(ROOT)) == Outcome()


def test_a_store_that_cannot_be_opened(place: Place) -> None:
    (place.folder / "catalogue.sqlite").unlink()
    (place.folder / "catalogue.sqlite").write_bytes(b"this is no catalogue" * 1000)
    for _ in range(2):
        with pytest.raises((Unavailable, Rejected)):
            place.taking.put("a", records(PAIR))


def test_many_threads_push_one_dag(place: Place, tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 8)
    names = list(blocks)
    parts = [{name: blocks[name] for name in names[at::4]} for at in range(4)]
    threads = [
        threading.Thread(target=place.taking.put, args=("a", records(part))) for part in parts * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.taking.keep("a", "n", root) == Outcome(cache=True, admitted=8)
    with opened(place.folder) as library:
        assert below(library, root) == blocks
