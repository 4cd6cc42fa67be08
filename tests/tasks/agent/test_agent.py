"""The agent as a whole, with sources that fail in every way."""

import lzma
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.errors import NarborError
from narbor.formats import narinfo, streams
from narbor.formats.vouched import vouch
from narbor.names.storepath import StorePath
from narbor.tasks.agent import Agent
from tests.fakes.faults import Fault as HttpFault
from tests.fakes.faults import Instead, Mute, Reset, Stall, Status
from tests.fakes.sources import FAULTS, FakeSource, Fault
from tests.fakes.upstream import FakeCache
from tests.tasks.agent import world as worlds
from tests.tasks.agent.world import RING, World

BIG = 900_000  # bytes of content: several leaves


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds.made(tmp_path) as made:
        yield made


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    with FakeCache() as made:
        yield made


def source(world: World, name: str, fault: Fault = "none") -> FakeSource:
    return FakeSource(name, world.get, fault)


def sums(agent: Agent) -> dict[str, int]:
    said = agent.status()["sums"]
    assert isinstance(said, dict)
    return said


def test_a_narinfo_keeps_what_was_signed(tmp_path: Path, world: World, cache: FakeCache) -> None:
    path = world.add("a", references=[world.add("b")])
    world.serve(cache)
    with worlds.agent(tmp_path, [cache]) as agent:
        text = agent.narinfo(path.hash_part)
        assert text is not None
        claim, was = narinfo.parse(text), world.claims[path]
        assert vouch(claim, RING).by
        assert claim.url == f"nar/{path.hash_part}/{was.seal.digest.nix32}.nar"
        assert (claim.compression, claim.file_size) == ("none", was.seal.size)
        assert (claim.extra, claim.signatures) == (was.extra, was.signatures)
        worlds.archive(agent, world, path)
        cache.files.clear()
        again = agent.narinfo(path.hash_part)
        assert again is not None and narinfo.parse(again).signatures == was.signatures


def test_an_archive_comes_by_blocks_and_then_from_the_own_store(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    path = world.add("a", BIG)
    world.serve(cache, archives=False)
    blocks = source(world, "blocks")
    with worlds.agent(tmp_path, [cache], [blocks]) as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]
        assert sums(agent)["blocks_items"] == 1
    asked = blocks.count()
    cache.files.clear()
    with worlds.agent(tmp_path, [cache], [blocks]) as agent:
        assert agent.narinfo(path.hash_part) is not None
        assert worlds.archive(agent, world, path, 1000) == world.archives[path][1000:]
        assert sums(agent)["own_bytes"] == len(world.archives[path]) - 1000
    assert blocks.count() == asked


def test_only_the_leaves_that_lack_are_fetched(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    old = world.add("a-1", BIG, seed=1)
    new = world.add("a-2", BIG, seed=1, version=b"2" * 200)
    world.serve(cache, archives=False)
    blocks = source(world, "blocks")
    with worlds.agent(tmp_path, [cache], [blocks]) as agent:
        worlds.archive(agent, world, old)
        blocks.asked.clear()
        assert worlds.archive(agent, world, new) == world.archives[new]
    assert blocks.count() == 2  # the archive's node, and the leaf of the version


def test_without_a_root_the_nar_is_taken(tmp_path: Path, world: World, cache: FakeCache) -> None:
    path = world.add("a", BIG)
    world.serve(cache, roots=False)
    blocks = source(world, "blocks")
    with worlds.agent(tmp_path, [cache], [blocks]) as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]
        assert sums(agent)["nar_items"] == 1
    assert not blocks.asked


def test_a_hint_names_the_root(tmp_path: Path, world: World, cache: FakeCache) -> None:
    path = world.add("a", BIG)
    world.serve(cache, roots=False)
    with FakeCache() as hint:
        world.serve(hint, archives=False)
        blocks = source(world, "blocks")
        with worlds.agent(tmp_path, [cache], [blocks], hints=[hint]) as agent:
            assert worlds.archive(agent, world, path) == world.archives[path]
            assert sums(agent)["blocks_items"] == 1


def test_a_hint_is_not_believed(tmp_path: Path, world: World, cache: FakeCache) -> None:
    one, other = world.add("one", BIG, seed=1), world.add("two", BIG, seed=2)
    world.serve(cache, roots=False)
    with FakeCache() as hint:
        lie = replace(world.claims[one], extra=world.claims[other].extra)
        hint.files[f"/{one.hash_part}.narinfo"] = narinfo.write(lie)
        with worlds.agent(tmp_path, [cache], [source(world, "blocks")], hints=[hint]) as agent:
            assert worlds.archive(agent, world, one) == world.archives[one]
            assert sums(agent)["nar_items"] == 1


@pytest.mark.parametrize("compression", ["xz", "zstd"])
def test_compressed_nars_are_unpacked(
    tmp_path: Path, world: World, cache: FakeCache, compression: str
) -> None:
    path = world.add("a", BIG)
    packed = _packed(world.archives[path], compression)
    assert b"".join(streams.decompress([packed], compression, BIG * 2)) == world.archives[path]
    text = narinfo.write(world.claims[path]).replace(b"none", compression.encode())
    cache.files[f"/{path.hash_part}.narinfo"] = text
    cache.files[f"/{world.claims[path].url}"] = packed
    with worlds.agent(tmp_path, [cache]) as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]


def _packed(data: bytes, compression: str) -> bytes:
    return lzma.compress(data) if compression == "xz" else zstandard.compress(data)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "none"])
def test_another_source_gives_what_one_does_not(
    tmp_path: Path, world: World, cache: FakeCache, fault: Fault
) -> None:
    path = world.add("a", BIG)
    world.serve(cache, archives=False)
    bad, good = source(world, "bad", fault), source(world, "good")
    with worlds.agent(tmp_path, [cache], [bad, good]) as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]
        assert bad.asked
        if fault in ("lies", "other"):
            standing = agent.status()["sources"]
            assert isinstance(standing, list)
            assert standing[0]["lies"] >= 1 and standing[0]["resting"] > 3000


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "none"])
def test_the_nar_gives_the_rest(
    tmp_path: Path, world: World, cache: FakeCache, fault: Fault
) -> None:
    path = world.add("a", BIG)
    world.serve(cache)
    with worlds.agent(tmp_path, [cache], [source(world, "bad", fault)]) as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]
        assert sums(agent)["nar_items"] == 1


def test_a_root_that_is_another_items_is_found_out(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    one = world.add("one", BIG, seed=1)
    other = world.add("two", BIG, seed=2)
    world.serve(cache)
    lie = narinfo.write(world.claims[one]).replace(
        world.claims[one].extra[1][1].encode(), world.claims[other].extra[1][1].encode()
    )
    cache.files[f"/{one.hash_part}.narinfo"] = lie
    with worlds.agent(tmp_path, [cache], [source(world, "blocks")]) as agent:
        assert worlds.archive(agent, world, one) == world.archives[one]
        assert sums(agent)["nar_items"] == 1


@pytest.mark.parametrize("held", [0, 1 << 30])
def test_a_nar_that_lies_never_ends_whole(
    tmp_path: Path, world: World, cache: FakeCache, held: int
) -> None:
    path = world.add("a", BIG)
    world.serve(cache, roots=False)
    right = world.archives[path]
    cache.files[f"/{world.claims[path].url}"] = right[:-200] + bytes(200)
    with worlds.agent(tmp_path, [cache], held=held) as agent:
        given = _given(agent, world, path)
        assert len(given) < len(right)
        if held:
            assert given == b""


def test_the_second_upstream_is_asked(tmp_path: Path, world: World, cache: FakeCache) -> None:
    path = world.add("a")
    world.serve(cache)
    with FakeCache() as mute:
        mute.fail("*", Mute(), always=True)
        with worlds.agent(tmp_path, [mute, "http://127.0.0.1:1", cache]) as agent:
            assert agent.narinfo(path.hash_part) is not None
            assert worlds.archive(agent, world, path) == world.archives[path]


def test_what_nobody_has_is_none_and_is_not_asked_twice(tmp_path: Path, cache: FakeCache) -> None:
    gone = "0" * 32
    with worlds.agent(tmp_path, [cache, "http://127.0.0.1:1"]) as agent:
        assert agent.narinfo(gone) is None
        assert agent.narinfo(gone) is None
        assert cache.count(f"/{gone}.narinfo") == 1


@pytest.mark.parametrize("fault", [Status(500), Status(503), Mute(), Reset(3), Stall(5)])
def test_a_broken_upstream_is_a_miss(
    tmp_path: Path, world: World, cache: FakeCache, fault: HttpFault
) -> None:
    path = world.add("a")
    world.serve(cache)
    cache.fail("*", fault, always=True)
    with worlds.agent(tmp_path, [cache]) as agent:
        assert agent.narinfo(path.hash_part) is None
        assert worlds.archive(agent, world, path) is None


@pytest.mark.parametrize(
    "text", [b"<html>sign in</html>", b"StorePath: /nix/store/x\n", b"", b"\xff" * 100]
)
def test_nonsense_is_a_miss(tmp_path: Path, world: World, cache: FakeCache, text: bytes) -> None:
    path = world.add("a")
    cache.fail("*", Instead(text), always=True)
    with worlds.agent(tmp_path, [cache]) as agent:
        assert agent.narinfo(path.hash_part) is None


def test_what_nobody_signed_is_a_miss(tmp_path: Path, world: World, cache: FakeCache) -> None:
    path = world.add("a")
    text = narinfo.write(world.claims[path])
    cache.files[f"/{path.hash_part}.narinfo"] = text.replace(b"Sig: thin-air-1", b"Sig: other-1")
    with worlds.agent(tmp_path, [cache]) as agent:
        assert agent.narinfo(path.hash_part) is None


def test_a_narinfo_of_another_item_is_a_miss(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    path, other = world.add("a"), world.add("b")
    cache.files[f"/{path.hash_part}.narinfo"] = narinfo.write(world.claims[other])
    with worlds.agent(tmp_path, [cache]) as agent:
        assert agent.narinfo(path.hash_part) is None


def test_roots_of_what_was_asked_for_come_together(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    paths = [world.add(f"item-{number}", BIG, seed=number) for number in range(5)]
    world.serve(cache, archives=False)
    blocks = source(world, "blocks")
    with worlds.agent(tmp_path, [cache], [blocks], at_once=500) as agent:
        for path in paths:
            agent.narinfo(path.hash_part)
        assert worlds.archive(agent, world, paths[0]) == world.archives[paths[0]]
        assert set(blocks.asked[0]) == {world.root(path) for path in paths}


def test_a_damaged_block_of_the_own_store_is_fetched_anew(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    path = world.add("a", BIG)
    world.serve(cache, archives=False)
    with worlds.agent(tmp_path, [cache], [source(world, "blocks")]) as agent:
        worlds.archive(agent, world, path)
    pack = next((tmp_path / "agent" / "packs").glob("*.pack"))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    with worlds.agent(tmp_path, [cache], [source(world, "blocks")]) as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]


FAULTY = st.sampled_from(
    [None, Status(500), Status(404), Mute(), Reset(1000), Reset(300_000), Stall(400_000)]
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    faults=st.lists(st.sampled_from(FAULTS), max_size=3),
    document=FAULTY,
    archive=FAULTY,
    lie=st.booleans(),
    held=st.sampled_from([0, 1 << 30]),
    start=st.sampled_from([0, 1, 500_000]),
)
def test_whatever_happens_what_is_given_is_right_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory,
    faults: list[Fault],
    document: HttpFault | None,
    archive: HttpFault | None,
    lie: bool,
    held: int,
    start: int,
) -> None:
    folder = tmp_path_factory.mktemp("world")
    with worlds.made(folder) as world, FakeCache() as cache:
        path = world.add("a", BIG)
        world.serve(cache)
        right, url = world.archives[path], f"/{world.claims[path].url}"
        if document is not None:
            cache.fail(f"/{path.hash_part}.narinfo", document)
        if archive is not None:
            cache.fail(url, archive, always=True)
        if lie:
            cache.files[url] = right[:-9] + bytes(9)
        sources = [source(world, f"s{n}", fault) for n, fault in enumerate(faults)]
        with worlds.agent(folder, [cache], sources, held=held, first=4, stall=2) as agent:
            for _ in range(2):
                given = _given(agent, world, path, start)
                whole = len(given) == len(right) - start
                assert right[start:].startswith(given) or (lie and not whole)
                if "none" in faults and document is None:
                    assert whole


def _given(agent: Agent, world: World, path: StorePath, start: int = 0) -> bytes:
    """Return what is given until the end, or until it breaks off."""
    found = agent.archive(path.hash_part, world.claims[path].seal.digest)
    given = bytearray()
    if found is not None:
        try:
            for chunk in found.read(start, found.size):
                given += chunk
        except NarborError:
            pass
    return bytes(given)
