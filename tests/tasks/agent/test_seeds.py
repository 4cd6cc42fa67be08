"""What the local Nix store gives: the item, an older build, an older version."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from narbor.names import cid
from narbor.names.storepath import StorePath
from narbor.tasks.agent.seeds import family
from tests.fakes.sources import FakeSource, FakeThinSource
from tests.fakes.upstream import FakeCache
from tests.library.cache import path_of
from tests.tasks.agent import world as worlds
from tests.tasks.agent.test_agent import BIG, sums
from tests.tasks.agent.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds.made(tmp_path) as made:
        yield made


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    with FakeCache() as made:
        yield made


def rebuilt(name: str, generation: int) -> StorePath:
    """Return the path of a build of `name`: another hash part, the same name."""
    other = path_of(f"{name}-{generation}")
    return StorePath(other.store, other.hash_part, name)


def test_an_item_that_is_there_is_read_from_there(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    path = world.add("a", BIG, [world.add("b")])
    world.serve(cache, archives=False)
    world.unpack(tmp_path / "nix", path)
    with worlds.agent(tmp_path, [cache], seeds=tmp_path / "nix") as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]
        assert sums(agent)["seed_items"] == 1


@pytest.mark.parametrize("size", [BIG, 18 << 20])
def test_an_older_build_gives_all_but_references(
    tmp_path: Path, world: World, cache: FakeCache, size: int
) -> None:
    libraries = [world.add("libz", path=rebuilt("libz", n)) for n in (1, 2)]
    tools = [
        world.add("tool", size, [library], path=rebuilt("tool", n), seed=1)
        for n, library in enumerate(libraries)
    ]
    world.serve(cache, roots=False, archives=False)
    for path in (libraries[0], tools[0]):
        world.unpack(tmp_path / "nix", path)
    with worlds.agent(tmp_path, [cache], seeds=tmp_path / "nix") as agent:
        assert worlds.archive(agent, world, tools[1]) == world.archives[tools[1]]
        assert sums(agent)["seed_items"] == 1
    assert world.archives[tools[0]] != world.archives[tools[1]]


def test_of_an_older_version_only_what_is_new_is_fetched(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    old = world.add("tool-1.0", BIG, seed=1)
    new = world.add("tool-1.1", BIG, seed=1, version=b"1.1" * 100)
    world.serve(cache, archives=False)
    world.unpack(tmp_path / "nix", old)
    blocks = FakeSource("blocks", world.get)
    with worlds.agent(tmp_path, [cache], [blocks], tmp_path / "nix") as agent:
        assert worlds.archive(agent, world, new) == world.archives[new]
        assert sums(agent)["seed_leaves"] == BIG
    assert blocks.count() == 2  # the archive's node, and the leaf of the version


@pytest.mark.parametrize("seeded", [True, False])
def test_what_is_new_is_asked_for_as_a_difference(
    tmp_path: Path, world: World, cache: FakeCache, seeded: bool
) -> None:
    old = world.add("tool-1.0", BIG, seed=1, version=b"1.0" * 500)
    new = world.add("tool-1.1", BIG, seed=1, version=b"1.1" * 500)
    world.serve(cache, archives=False)
    world.unpack(tmp_path / "nix", old)
    blocks = FakeThinSource("blocks", world.get)
    seeds = tmp_path / "nix" if seeded else None
    if not seeded:
        with worlds.agent(tmp_path, [cache], [FakeSource("before", world.get)]) as agent:
            worlds.archive(agent, world, old)
    with worlds.agent(tmp_path, [cache], [blocks], seeds) as agent:
        assert worlds.archive(agent, world, new) == world.archives[new]
    node, leaf = blocks.thin
    assert (node.wanted, node.basis) == ((world.root(new),), (world.root(old),))
    assert (leaf.wanted, leaf.basis) == ((cid.raw(b"1.1" * 500),), (cid.raw(b"1.0" * 500),))


def test_other_content_of_the_same_size_is_not_taken(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    old = world.add("tool", BIG, path=rebuilt("tool", 1), seed=1)
    new = world.add("tool", BIG, path=rebuilt("tool", 2), seed=2)
    world.serve(cache)
    world.unpack(tmp_path / "nix", old)
    with worlds.agent(tmp_path, [cache], seeds=tmp_path / "nix") as agent:
        assert worlds.archive(agent, world, new) == world.archives[new]
        assert sums(agent).get("seed_items", 0) == 0


def test_a_store_that_is_not_there_is_no_trouble(
    tmp_path: Path, world: World, cache: FakeCache
) -> None:
    path = world.add("a")
    world.serve(cache)
    with worlds.agent(tmp_path, [cache], seeds=tmp_path / "none") as agent:
        assert worlds.archive(agent, world, path) == world.archives[path]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("curl-8.1.0", ("curl", "")),
        ("curl-8.1.0-dev", ("curl", "dev")),
        ("gcc-12-base-12.2.0-14", ("gcc", "")),
        ("python3.11-requests-2.31", ("python3.11-requests", "")),
        ("source", ("source", "")),
    ],
)
def test_a_family_is_a_name_without_its_version(name: str, expected: tuple[str, str]) -> None:
    assert family(name) == expected
