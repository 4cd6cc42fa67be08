"""The mirror against upstreams of every kind: what is good comes in, what is not stops nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from narbor.blocks.files import StoreFull
from narbor.errors import Rejected, Unavailable
from narbor.formats import narinfo
from narbor.names import contentaddress, storepath
from narbor.names.digest import Digest, Seal
from narbor.names.keys import Keyring
from narbor.names.storepath import StorePath
from narbor.net import http, wire
from narbor.tasks.hall import Hall
from narbor.tasks.mirror import Options, OtherStore, mirror
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.mirror.sources import Upstream, WrongStore
from narbor.tasks.progress import (
    Admitted,
    Committed,
    Done,
    Failed,
    Found,
    Listed,
    Moved,
    Noted,
    Progress,
    Skipped,
)
from narbor.upstream import NotACache
from narbor.upstream.cache import HttpCache
from narbor.upstream.directory import DirectoryCache
from tests.fakes.farm import PACK, Built, Farm
from tests.fakes.faults import Drip, Fault, Instead, Mute, Reset, Stall, Status
from tests.fakes.hall import MemoryHall
from tests.fakes.upstream import FakeCache
from tests.library.store import opened

P = TypeVar("P")

FARM = Farm()
BIG = bytes(range(256)) * 2000
HTML = b"<!DOCTYPE html><html>Please pay for the wireless network</html>"


class Ticking:
    """A clock that moves on a little whenever it is read."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    with FakeCache() as fake:
        yield fake


@pytest.fixture
def other() -> Iterator[FakeCache]:
    with FakeCache() as fake:
        yield fake


@pytest.fixture
def hall() -> MemoryHall:
    return MemoryHall()


@pytest.fixture
def client() -> Iterator[http.Http]:
    options = wire.Options(proxies={}, read=0.2, attempts=3)
    made = http.Http(options, sleep=lambda seconds: None)
    yield made
    made.close()


Run = Callable[..., list[Progress]]


@pytest.fixture
def run(hall: MemoryHall, cache: FakeCache, client: http.Http) -> Run:
    """Mirror some paths from `cache`, and `also` from others."""

    def go(
        *paths: StorePath, also: Sequence[FakeCache] = (), into: Hall = hall, **said: Any
    ) -> list[Progress]:
        upstreams = [Upstream(HttpCache(each.url, client), FARM.keyring) for each in (cache, *also)]
        options = replace(Options(jobs=3, lookups=4), **said)
        return list(mirror(into, upstreams, paths, options))

    return go


def those(events: Sequence[Progress], kind: type[P]) -> list[P]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def failed(events: Sequence[Progress]) -> dict[str, str]:
    """What failed at last, and why, by base name."""
    done = events[-1]
    assert isinstance(done, Done)
    return {
        each.path.rpartition("/")[2]: " | ".join(reason for _, reason in each.reasons)
        for each in done.failed
    }


def chain(cache: FakeCache, length: int) -> list[Built]:
    """Items of which each refers to the one before, and to itself."""
    items: list[Built] = []
    for number in range(length):
        before = [items[-1].path] if items else []
        items.append(FARM.build(f"item-{number}", references=before).serve(cache))
    return items


# --- what is good ---


@pytest.mark.parametrize("compression", sorted(PACK))
def test_an_item_comes_in(cache: FakeCache, hall: MemoryHall, run: Run, compression: str) -> None:
    item = FARM.build("hello", BIG, compression=compression).serve(cache)
    events = run(item.path)
    assert hall.archives == {item.path.base: item.archive}
    kept = hall.items[item.path.base]
    assert (kept.origin, kept.signatures) == (cache.url, item.info.signatures)
    size = len(item.file)
    assert those(events, Found) == [Found(str(item.path), cache.url, item.info.seal.size, size)]
    assert those(events, Admitted) == [
        Admitted(str(item.path), cache.url, item.info.seal.size, None)
    ]
    assert those(events, Committed) == [Committed(1)]
    assert events[-1] == Done(())
    counts = events[-1].counts
    assert (counts.wanted, counts.done, counts.fetched, counts.expected) == (1, 1, size, size)
    assert hall.pins == {item.path.base: False}


def test_a_closure_comes_in_and_nothing_is_asked_twice(
    cache: FakeCache, hall: MemoryHall, run: Run
) -> None:
    items = chain(cache, 20)
    both = FARM.build("both", references=[items[3].path, items[19].path]).serve(cache)
    own = FARM.build("own")
    own = FARM.build("own", references=[own.path, both.path]).serve(cache)
    events = run(own.path, own.path)
    assert len(hall.items) == 22
    assert all(hall.complete(base) for base in hall.items)
    assert set(cache.counts().values()) == {1}
    assert len(those(events, Found)) == len(those(events, Admitted)) == 22
    again = run(own.path)
    assert those(again, Skipped) == [Skipped(str(own.path))]
    assert set(cache.counts().values()) == {1, 2}, "only nix-cache-info is read again"
    assert sum(cache.counts().values()) == 1 + 2 * 22 + 1


@pytest.mark.parametrize("remembered", [0, 3])
def test_claims_that_are_not_remembered_are_read_again(
    cache: FakeCache, hall: MemoryHall, run: Run, remembered: int
) -> None:
    items = chain(cache, 6)
    assert failed(run(items[-1].path, remembered=remembered)) == {}
    assert set(hall.items) == {item.path.base for item in items}
    assert all(cache.count(item.narinfo_at) == 1 for item in items)


def test_a_half_done_closure_is_completed(cache: FakeCache, hall: MemoryHall, run: Run) -> None:
    items = chain(cache, 6)
    cache.fail(items[2].narinfo_at, Status(404))
    events = run(items[5].path)
    assert failed(events) == {items[2].path.base: "does not have it"}
    assert set(hall.items) == {item.path.base for item in items[3:]}
    events = run(items[5].path)
    assert len(those(events, Skipped)) == 3
    assert len(hall.items) == 6
    assert hall.strikes == [items[2].path.base]
    assert hall.records == {}
    assert [cache.count(item.narinfo_at) for item in items] == [1, 1, 2, 1, 1, 1]


def test_without_closure(cache: FakeCache, hall: MemoryHall, run: Run) -> None:
    items = chain(cache, 3)
    run(items[2].path, items[1].path, closure=False)
    assert set(hall.items) == {items[2].path.base, items[1].path.base}
    assert hall.pins == {items[2].path.base: True, items[1].path.base: True}


def test_print_only_changes_nothing(cache: FakeCache, hall: MemoryHall, run: Run) -> None:
    items = chain(cache, 2)
    missing = FARM.build("missing")
    events = run(items[1].path, missing.path, print_only=True)
    assert those(events, Listed) == [
        Listed(
            str(item.path),
            cache.url + item.file_at,
            str(item.info.file_hash),
            item.info.file_size,
        )
        for item in sorted(items, key=lambda item: item.path)
    ]
    assert failed(events) == {missing.path.base: "does not have it"}
    assert not (hall.items or hall.commits or hall.records or hall.pins)
    assert not [path for path in cache.counts() if path.startswith("/nar/")]


def test_the_biggest_first(cache: FakeCache, run: Run) -> None:
    sizes = (5, 3, 9, 1, 7)
    items = [FARM.build(f"i{n}", bytes(n * 5000), compression="none").serve(cache) for n in sizes]
    run(*(item.path for item in items), jobs=1, lookups=1)
    order = [path for path in (asked.path for asked in cache.asked) if path.startswith("/nar/")]
    # One thread may have begun with the first that was queued.
    expected = sorted(items, key=lambda item: -len(item.file))
    rest = [item.file_at for item in expected if item.file_at != order[0]]
    assert order[1:] == rest


def addressed(name: str, deriver: str) -> Built:
    """An item with a content address."""
    item = FARM.build(name, deriver=deriver)
    said = f"fixed:r:{item.info.seal.digest}"
    path = contentaddress.store_path(contentaddress.parse(said), "/nix/store", name, (), False)
    return item.saying(path=path, ca=said, signatures=())


def test_logs_and_realisations(cache: FakeCache, hall: MemoryHall, run: Run) -> None:
    drv = "0" * 32 + "-foo.drv"
    out = FARM.build("foo", deriver=drv).serve(cache)
    dev = addressed("foo-dev", drv).serve(cache)
    cache.files[f"/log/{drv}"] = b"built"
    cache.files[f"/build-trace-v2/{drv}/out.doi"] = b'{"outPath": "%s"}' % out.path.base.encode()
    said = b'{"outPath": "%s", "signatures": []}' % dev.path.base.encode()
    cache.files[f"/build-trace-v2/{drv}/dev.doi"] = said
    events = run(out.path, dev.path, logs=True, realisations=True)
    assert failed(events) == {}
    assert hall.logs == {drv: b"built"}
    assert hall.realisations == {f"{drv}/dev": said}, "only items with a content address have one"
    cache.files["/log/" + drv] = b"built again"
    more = FARM.build("foo-man", deriver=drv).serve(cache)
    run(more.path, logs=True)
    assert hall.logs == {drv: b"built"}


@pytest.mark.parametrize("text", [b"no", b"[]", b"{}", b'{"outPath": "another"}', HTML])
def test_realisations_that_are_none(
    cache: FakeCache, hall: MemoryHall, run: Run, text: bytes
) -> None:
    drv = "0" * 32 + "-foo.drv"
    item = addressed("foo", drv).serve(cache)
    cache.files[f"/build-trace-v2/{drv}/out.doi"] = text
    events = run(item.path, realisations=True)
    assert failed(events) == {}
    assert set(hall.items) == {item.path.base}
    assert hall.realisations == {}


def test_older_realisations_of_a_folder(hall: MemoryHall, tmp_path: Path) -> None:
    drv = "0" * 32 + "-foo.drv"
    item = addressed("foo", drv)
    name = f"sha256:{'a' * 64}!out"
    said = b'{"id": "%s", "outPath": "%s"}' % (name.encode(), item.path.base.encode())
    (tmp_path / "nar").mkdir()
    (tmp_path / "realisations").mkdir()
    (tmp_path / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    (tmp_path / item.narinfo_at[1:]).write_bytes(narinfo.write(item.info))
    (tmp_path / item.info.url).write_bytes(item.file)
    (tmp_path / "realisations" / f"{name}.doi").write_bytes(said)
    (tmp_path / "realisations" / "junk.doi").write_bytes(b"junk")
    upstream = Upstream(DirectoryCache(str(tmp_path)), FARM.keyring)
    events = list(mirror(hall, [upstream], [item.path], Options(realisations=True)))
    assert failed(events) == {}
    assert hall.realisations == {name: said}


def test_a_log_that_fails_is_no_failure(cache: FakeCache, hall: MemoryHall, run: Run) -> None:
    drv = "0" * 32 + "-foo.drv"
    item = FARM.build("foo", deriver=drv).serve(cache)
    cache.fail(f"/log/{drv}", Status(500), always=True)
    events = run(item.path, logs=True)
    assert failed(events) == {}
    assert [note for note in those(events, Noted) if drv in note.text]


def test_from_a_folder(cache: FakeCache, hall: MemoryHall, tmp_path: Path) -> None:
    items = chain(cache, 3)
    for name, content in cache.files.items():
        (tmp_path / name[1:]).parent.mkdir(exist_ok=True)
        (tmp_path / name[1:]).write_bytes(content)
    folder = Upstream(DirectoryCache(f"file://{tmp_path}"), FARM.keyring)
    list(mirror(hall, [folder], [items[2].path]))
    assert len(hall.items) == 3


def test_into_a_real_library(cache: FakeCache, run: Run, tmp_path: Path) -> None:
    items = chain(cache, 30)
    bad = FARM.build("bad", references=[items[29].path]).serve(cache)
    cache.files[bad.file_at] = bytes(len(bad.file))
    with opened(tmp_path / "store") as library:
        events = run(bad.path, into=library)
        assert list(failed(events)) == [bad.path.base]
        assert [failure.base for failure in library.failures()] == [bad.path.base]
    bad.serve(cache)
    with opened(tmp_path / "store") as library:
        run(bad.path, into=library)
        assert library.failures() == ()
        for item in (*items, bad):
            kept = library.find(item.path.hash_part)
            assert kept is not None
            assert b"".join(library.archive(kept)) == item.archive
        assert [pin.base for pin in library.pins()] == [bad.path.base]


def test_commits_come_in_groups(cache: FakeCache, hall: MemoryHall, client: http.Http) -> None:
    items = [FARM.build(f"item-{number}").serve(cache) for number in range(600)]
    upstream = Upstream(HttpCache(cache.url, client), FARM.keyring)
    paths = [item.path for item in items]
    events = list(mirror(hall, [upstream], paths, clock=lambda: 0.0))
    assert sum(hall.commits) == 600
    assert len(hall.commits) == 3
    assert sum(each.items for each in those(events, Committed)) == 600
    eager = MemoryHall()
    list(mirror(eager, [upstream], paths[:20], clock=Ticking(1.0)))
    assert len(eager.commits) > 10


# --- what is not ---


def flipped(data: bytes) -> bytes:
    """One bit is wrong."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def bad_file(file: bytes) -> Callable[[FakeCache, Built], None]:
    """The archive is another."""

    def spoil(cache: FakeCache, item: Built) -> None:
        cache.files[item.file_at] = file

    return spoil


def altered(change: Callable[[bytes], bytes]) -> Callable[[FakeCache, Built], None]:
    """The archive is changed."""

    def spoil(cache: FakeCache, item: Built) -> None:
        cache.files[item.file_at] = change(item.file)

    return spoil


def meeting(*faults: Fault, claim: bool = False) -> Callable[[FakeCache, Built], None]:
    """Every request for the archive, or for the claim, meets these."""

    def spoil(cache: FakeCache, item: Built) -> None:
        cache.fail(item.narinfo_at if claim else item.file_at, *faults, always=True)

    return spoil


def claiming(**changes: object) -> Callable[[FakeCache, Built], None]:
    """The claim says something else."""

    def spoil(cache: FakeCache, item: Built) -> None:
        cache.files[item.narinfo_at] = narinfo.write(item.saying(**changes).info)

    return spoil


def mute_text(text: bytes) -> Callable[[FakeCache, Built], None]:
    """The claim is this text."""

    def spoil(cache: FakeCache, item: Built) -> None:
        cache.files[item.narinfo_at] = text

    return spoil


ZSTD = PACK["zstd"]
HOSTILE: dict[str, tuple[Callable[[FakeCache, Built], None], str]] = {
    "claim 404": (meeting(Status(404), claim=True), "does not have it"),
    "claim 403": (meeting(Status(403), claim=True), "does not have it"),
    "claim 401": (meeting(Status(401), claim=True), "credentials are needed"),
    "claim 500": (meeting(Status(500), claim=True), "HTTP 500"),
    "claim html": (meeting(Instead(HTML), claim=True), "web page"),
    "claim stalls": (meeting(Stall(20), claim=True), "nothing came|timed out"),
    "claim mute": (meeting(Mute(), claim=True), "nothing came|timed out"),
    "claim reset": (meeting(Reset(20), claim=True), "3 attempts"),
    "claim loops": (meeting(Status(302, {"Location": "#x"}), claim=True), "redirects"),
    "claim leads to a page": (
        meeting(Status(302, {"Location": "data:text/html,x"}), claim=True),
        "redirects to 'data:",
    ),
    "claim huge": (mute_text(b"x" * (2 << 20)), "at most 1048576"),
    "claim empty": (mute_text(b""), "narinfo"),
    "claim binary": (mute_text(bytes(range(256))), "narinfo"),
    "claim of another": (
        lambda cache, item: cache.files.update(
            {item.narinfo_at: narinfo.write(FARM.build("another").info)}
        ),
        "answers with /nix/store/.*-another",
    ),
    "unsigned": (claiming(signatures=()), "no good signature"),
    "signed by a stranger": (
        lambda cache, item: cache.files.update(
            {item.narinfo_at: narinfo.write(Farm("stranger").build("bad", BIG).info)}
        ),
        "signed by stranger; trusted: farm-1",
    ),
    "more references": (claiming(references=("0" * 32 + "-x",)), "no good signature"),
    "another size": (claiming(seal=Seal(Digest("sha256", bytes(32)), 9)), "no good signature"),
    "archive elsewhere": (claiming(url="file:///etc/passwd"), "lies at 'file:"),
    "compression nobody reads": (claiming(compression="lzop"), "'lzop' is not known"),
    "another compression": (claiming(compression="xz"), "xz: "),
    "archive 404": (meeting(Status(404)), "HTTP 404"),
    "archive 500": (meeting(Status(500)), r"HTTP 500 \(3 attempts\)"),
    "archive 429": (meeting(Status(429, {"Retry-After": "1"})), "HTTP 429"),
    "archive stalls": (meeting(Stall(0)), "nothing came|timed out"),
    "archive reset": (meeting(Reset(0, hard=True)), "3 attempts"),
    "archive html": (meeting(Instead(HTML)), "zstd: "),
    "archive empty": (bad_file(b""), "zstd: the stream is empty"),
    "archive truncated": (altered(lambda file: file[:-9]), "zstd: the stream ends"),
    "archive with a tail": (altered(lambda file: file + b"tail"), "zstd: "),
    "archive twice": (altered(lambda file: file + file), "at most|more came"),
    "archive flipped": (altered(flipped), "zstd: |the bytes are sha256|NAR"),
    "archive of another": (
        bad_file(FARM.build("another", BIG[::-1]).file),
        "the NAR of .*: |at most",
    ),
    "archive of the same size": (bad_file(ZSTD(bytes(8))), "the NAR of "),
    "bomb": (bad_file(ZSTD(bytes(300 << 20))), "at most"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_bad_is_named_and_stops_nothing(
    cache: FakeCache, hall: MemoryHall, run: Run, case: str
) -> None:
    spoil, reason = HOSTILE[case]
    items = chain(cache, 4)
    bad = FARM.build("bad", BIG).serve(cache)
    top = FARM.build("top", references=[bad.path, items[3].path]).serve(cache)
    spoil(cache, bad)
    events = run(top.path)
    assert list(failed(events)) == [bad.path.base]
    assert set(hall.items) == {top.path.base, *(item.path.base for item in items)}
    assert not hall.complete(top.path.base)
    said = failed(events)[bad.path.base]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(said)
    assert hall.records == {(bad.path.base, cache.url): said}
    counts = events[-1].counts
    assert (counts.wanted, counts.admitted, counts.failed) == (6, 5, 1)
    assert counts.fetched == counts.expected


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_bad_here_is_good_elsewhere(
    cache: FakeCache, other: FakeCache, hall: MemoryHall, run: Run, case: str
) -> None:
    bad = FARM.build("bad", BIG).serve(cache).serve(other)
    HOSTILE[case][0](cache, bad)
    events = run(bad.path, also=[other])
    assert failed(events) == {}
    assert hall.items[bad.path.base].origin == other.url
    assert hall.records == {}
    assert hall.conflicts == []


@pytest.mark.parametrize(
    "fault", [Status(503), Status(429), Reset(100), Stall(100), Mute(), Status(302, {})]
)
def test_what_passes_is_waited_for(
    cache: FakeCache, hall: MemoryHall, run: Run, fault: Fault
) -> None:
    item = FARM.build("item", BIG).serve(cache)
    if isinstance(fault, Status) and fault.code == 302:
        fault = Status(302, {"Location": item.file_at + "?again"})
        cache.files[item.file_at + "?again"] = item.file
    cache.fail(item.file_at, fault)
    assert failed(run(item.path)) == {}
    assert hall.archives[item.path.base] == item.archive


def test_a_body_is_resumed_by_range(cache: FakeCache, hall: MemoryHall, run: Run) -> None:
    item = FARM.build("item", BIG, compression="none").serve(cache)
    cache.fail(item.file_at, Reset(200_000), Reset(100_000))
    assert failed(run(item.path)) == {}
    ranges = [asked.headers.get("range") for asked in cache.asked if asked.path == item.file_at]
    assert ranges == [None, "bytes=200000-", "bytes=300000-"]


def test_one_claim_that_does_not_come_holds_up_no_archive(
    cache: FakeCache, hall: MemoryHall
) -> None:
    mute = FARM.build("mute").serve(cache)
    items = chain(cache, 20)
    cache.fail(mute.narinfo_at, Mute(), always=True)
    client = http.Http(wire.Options(proxies={}, read=3600.0))
    upstream = Upstream(HttpCache(cache.url, client), FARM.keyring)
    paths, options = [mute.path, items[-1].path], Options(jobs=2, head_start=0.0)
    committed = 0
    with closing(client), closing(mirror(hall, [upstream], paths, options)) as events:
        for event in events:
            committed += event.items if isinstance(event, Committed) else 0
            if committed == len(items):
                break
    assert set(hall.items) == {item.path.base for item in items}
    assert hall.records == {}, "who was given up did not fail"


def test_one_big_item_does_not_hold_up_the_rest(cache: FakeCache, hall: MemoryHall) -> None:
    """It stops half-way: all others come in meanwhile, and are committed."""
    big = FARM.build("big", BIG * 10, compression="xz").serve(cache)
    small = [FARM.build(f"small-{number}").serve(cache) for number in range(20)]
    cache.fail(big.file_at, Stall(len(big.file) // 2), always=True)
    client = http.Http(wire.Options(proxies={}, read=3600.0))
    upstream = Upstream(HttpCache(cache.url, client), FARM.keyring)
    paths = [item.path for item in (big, *small)]
    committed = 0
    with closing(client), closing(mirror(hall, [upstream], paths, Options(jobs=2))) as events:
        for event in events:
            committed += event.items if isinstance(event, Committed) else 0
            if committed == len(small):
                break
    assert set(hall.items) == {item.path.base for item in small}
    assert cache.count(big.file_at) == 1


def test_a_slow_drip_holds_up_nobody(cache: FakeCache, hall: MemoryHall) -> None:
    slow = FARM.build("slow", BIG, compression="none").serve(cache)
    quick = [FARM.build(f"quick-{number}").serve(cache) for number in range(5)]
    cache.fail(slow.file_at, Drip(), always=True)
    options = wire.Options(proxies={}, attempts=2)
    client = http.Http(options, clock=Ticking(0.5), sleep=lambda seconds: None)
    with closing(client):
        upstream = Upstream(HttpCache(cache.url, client), FARM.keyring)
        paths = [item.path for item in (slow, *quick)]
        events = list(mirror(hall, [upstream], paths, Options(jobs=1)))
    assert "1024/s are due" in failed(events)[slow.path.base]
    assert len(hall.items) == 5


def test_a_file_that_differs_though_the_nar_is_right(
    cache: FakeCache, hall: MemoryHall, run: Run
) -> None:
    item = FARM.build("item", BIG)
    other = Digest("sha256", bytes(32))
    item = item.saying(file_hash=other, file_size=7).serve(cache)
    events = run(item.path)
    difference = those(events, Admitted)[0].difference
    assert difference is not None
    assert f"FileHash is {other}" in difference
    assert f"FileSize is 7, the file has {len(item.file)} bytes" in difference
    bare = FARM.build("bare", BIG).saying(file_hash=None, file_size=None).serve(cache)
    assert those(run(bare.path), Admitted)[0].difference is None


def test_upstreams_that_contradict_each_other(
    cache: FakeCache, other: FakeCache, hall: MemoryHall, run: Run
) -> None:
    first = FARM.build("item", b"first").serve(cache)
    second = FARM.build("item", b"second").serve(other)
    run(first.path, also=[other])
    assert hall.archives[first.path.base] == first.archive
    assert (hall.conflicts, other.count(second.narinfo_at)) == ([], 0), "the first is enough"
    hall.items.clear()
    cache.fail(first.file_at, Status(404))
    events = run(first.path, also=[other])
    assert hall.archives[first.path.base] == second.archive
    assert hall.items[first.path.base].origin == other.url
    [(path, upstream, text, reason)] = hall.conflicts
    assert (path, upstream, text) == (first.path, other.url, narinfo.write(second.info))
    assert str(first.info.seal.digest) in reason
    assert str(second.info.seal.digest) in reason
    assert reason in those(events, Noted)[0].text


def test_trust_is_given_to_one_upstream(
    cache: FakeCache, other: FakeCache, hall: MemoryHall, client: http.Http
) -> None:
    item = FARM.build("item").saying(signatures=()).serve(cache).serve(other)
    upstreams = [
        Upstream(HttpCache(cache.url, client), FARM.keyring),
        Upstream(HttpCache(other.url, client), Keyring(), trusted=True),
    ]
    list(mirror(hall, upstreams, [item.path]))
    assert hall.items[item.path.base].origin == other.url


def test_an_upstream_that_dies_is_left_alone(
    cache: FakeCache, other: FakeCache, hall: MemoryHall, run: Run
) -> None:
    items = [FARM.build(f"item-{n}").serve(cache).serve(other) for n in range(60)]
    cache.fail("/nix-cache-info", Status(200, {}, b"StoreDir: /nix/store\n"))
    cache.fail("*", Status(500), always=True)
    assert failed(run(*(item.path for item in items), also=[other])) == {}
    asked = sum(cache.counts().values())
    assert asked <= 1 + (8 + 3) * 3, "eight failures, and what was under way"
    hall.items.clear()
    alone = failed(run(*(item.path for item in items)))
    assert len(alone) == 60
    assert [reason for reason in alone.values() if "is away: " in reason]


# --- the call and the end ---


def test_another_store(cache: FakeCache, run: Run) -> None:
    with pytest.raises(OtherStore, match="/gnu/store"):
        run(storepath.of_base("0" * 32 + "-x", "/gnu/store"))
    cache.files["/nix-cache-info"] = b"StoreDir: /gnu/store\n"
    with pytest.raises(WrongStore, match=f"{cache.url} is a cache of /gnu/store"):
        run()


def test_no_upstream_to_be_asked(cache: FakeCache, other: FakeCache, run: Run) -> None:
    cache.fail("/nix-cache-info", Status(500), always=True)
    with pytest.raises(Unavailable, match="HTTP 500"):
        run()
    cache.fail("/nix-cache-info", Status(404), always=True)
    with pytest.raises(NotACache):
        run()
    assert issubclass(NotACache, Rejected)
    item = FARM.build("item").serve(other)
    events = run(item.path, also=[other])
    assert "it is left out" in those(events, Noted)[0].text
    assert failed(events) == {}
    assert cache.count(item.narinfo_at) == 0


def test_the_floor_of_the_disk(cache: FakeCache, hall: MemoryHall, run: Run) -> None:
    items = chain(cache, 5)
    hall.free = 999
    with pytest.raises(DiskFull, match="999 bytes free, and 1000 must stay free"):
        run(items[4].path, min_free=1000)
    assert hall.items == {}
    assert failed(run(items[4].path, min_free=999)) == {}


def test_a_full_disk_ends_the_run_and_keeps_what_is_good(
    cache: FakeCache, hall: MemoryHall, run: Run
) -> None:
    items = chain(cache, 30)
    hall.full_after = 10
    with pytest.raises(StoreFull, match="No space left"):
        run(items[29].path)
    assert 8 <= len(hall.items) <= 10, "two more may have been under way"
    assert hall.records == {}, "it is no fault of an upstream"
    hall.full_after = None
    assert failed(run(items[29].path)) == {}
    assert len(hall.items) == 30


@pytest.mark.parametrize("kind", [Found, Admitted, Skipped])
def test_an_interruption_keeps_what_is_good(
    cache: FakeCache, hall: MemoryHall, client: http.Http, kind: type[Progress]
) -> None:
    items = chain(cache, 40)
    upstream = Upstream(HttpCache(cache.url, client), FARM.keyring)
    list(mirror(hall, [upstream], [items[1].path]))
    admitted = 2
    with closing(mirror(hall, [upstream], [items[39].path])) as events:
        for event in events:
            admitted += isinstance(event, Admitted)
            if isinstance(event, kind):
                break
    assert len(hall.items) >= admitted
    assert hall.records == {}
    with closing(http.Http(wire.Options(proxies={}))) as fresh:
        upstream = Upstream(HttpCache(cache.url, fresh), FARM.keyring)
        assert failed(list(mirror(hall, [upstream], [items[39].path]))) == {}
    assert len(hall.items) == 40


@pytest.mark.parametrize("times", [1, 4])
def test_a_stalled_upstream_does_not_hold_up_the_end(
    cache: FakeCache, hall: MemoryHall, times: int
) -> None:
    """Nor does it in the thread that unpacks a large archive."""
    quick = FARM.build("quick").serve(cache)
    stuck = FARM.build("stuck", BIG * times, compression="xz").serve(cache)
    cache.fail(stuck.file_at, Stall(10), always=True)
    client = http.Http(wire.Options(proxies={}, read=3600.0))
    upstream = Upstream(HttpCache(cache.url, client), FARM.keyring)
    with (
        closing(client),
        closing(mirror(hall, [upstream], [quick.path, stuck.path], Options(jobs=2))) as events,
    ):
        for event in events:
            if isinstance(event, Committed):
                break
    assert list(hall.items) == [quick.path.base]


def test_big_items_tell_how_far_they_are(cache: FakeCache, run: Run) -> None:
    item = FARM.build("big", bytes(20 << 20), compression="none").serve(cache)
    moved = [event.counts.fetched for event in those(run(item.path), Moved)]
    assert len(moved) >= 4
    assert moved == sorted(moved)
    assert isinstance(Failed("p", ()), Failed)
