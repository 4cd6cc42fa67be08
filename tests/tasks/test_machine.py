"""The farm out of this machine's own files: large enough, real, and the same world twice."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from narbor.names.keys import SecretKey
from narbor.tasks import farm
from narbor.tasks.farm import Product, elf, machine
from narbor.tasks.farm.recipes import Linked, Recipe


@pytest.fixture(scope="module")
def world() -> tuple[Recipe, ...]:
    """The recipes of this machine."""
    return machine.harvest()


@pytest.fixture(scope="module")
def built(
    world: tuple[Recipe, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Product]]:
    """Everything built once."""
    folder = tmp_path_factory.mktemp("farm")
    key = SecretKey.generate("farm-1")
    yield {each.path.base: each for each in farm.build(world, "/nix/store", "one", key, folder)}


def test_needs_come_first(world: tuple[Recipe, ...]) -> None:
    """What a recipe needs stands before it, and no name is taken twice."""
    seen: set[str] = set()
    for recipe in world:
        assert recipe.name not in seen
        assert seen.issuperset(recipe.needs), recipe.name
        seen.add(recipe.name)


def test_the_world_is_large_and_deep_enough(built: dict[str, Product]) -> None:
    """60 MB, 3,000 files, and four items above each other at least."""
    assert sum(each.seal.size for each in built.values()) >= 60_000_000
    assert sum(each.files for each in built.values()) >= 3_000

    def depth(base: str) -> int:
        below = (depth(each) for each in built[base].references if each != base)
        return 1 + max(below, default=0)

    assert max(map(depth, built)) >= 4


def test_every_reference_is_an_item(built: dict[str, Product]) -> None:
    """The closure is whole."""
    for product in built.values():
        assert built.keys() >= set(product.references)


def test_programs_point_into_the_store(world: tuple[Recipe, ...], tmp_path: Path) -> None:
    """Loader and run path of a patched program are store paths, and nothing else is."""
    where = farm.paths(world, "/nix/store", "one")
    programs = [
        (recipe, part)
        for recipe in world
        for _, part in recipe.parts
        if isinstance(part, Linked) and part.loader
    ]
    assert programs
    for recipe, part in programs[:5]:
        target = tmp_path / recipe.name
        folders = tuple(f"{where[name]}/lib" for name in part.libraries)
        elf.patch(part.source, target, f"{where[part.libraries[0]]}/{part.loader}", folders)
        assert re.fullmatch(
            r"/nix/store/[0-9a-z]{32}-[^/]+/lib/[^/]+", elf.interpreter(target) or ""
        )
        assert tuple(map(str, elf.run_path(target))) == folders
        assert elf.needed(target) == elf.needed(part.source)
