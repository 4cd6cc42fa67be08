"""Descriptions out of a release's own packages.json, found by searching."""

import json
from collections.abc import Iterator
from pathlib import Path

import brotli
import pytest

from narbor.catalogue import Package, Release
from narbor.library import Library
from narbor.names.file import File
from narbor.tasks.release import descriptions
from tests.catalogue.world import base
from tests.library.store import opened

C = "nixos-25.05"
OLD, NEW = (f"nixos-25.05.{number}.650e572363c0" for number in (1, 2))
LINUX, DARWIN = "x86_64-linux", "aarch64-darwin"
SAID = {"hello": {"meta": {"description": "A greeting"}}, "x.y": {"meta": {}}}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Two releases with the same packages."""
    with opened(tmp_path / "store") as library:
        for name in (OLD, NEW):
            library.catalogue.record_release(Release(C, name, 1, "source", "a" * 40, 5), [base(1)])
            library.catalogue.record_packages(C, name, packages())
        yield library


def packages() -> list[Package]:
    """What Hydra knows of them."""
    outputs = (("out", base(1)), ("dev", base(2)))
    hello = [Package("hello", system, "hello-1", outputs) for system in (LINUX, DARWIN)]
    return [*hello, Package("x.y", LINUX, "y-1", (("out", base(3)),))]


def file(library: Library, content: bytes, name: str = "packages.json.br") -> File:
    """Keep a file."""
    with library.keeping() as keep:
        root, seal = keep([content])
    return File(name, root, seal, 1)


def test_packages_are_found_by_what_they_are_for(library: Library) -> None:
    packed = brotli.compress(json.dumps({"version": 2, "packages": SAID}).encode())
    for _ in range(2):
        assert descriptions.add(library, C, NEW, file(library, packed)) is None
        found = library.catalogue.search(["greeting"])
        assert [(each.attribute, each.description) for each in found] == [
            ("hello", "A greeting")
        ] * 2
        assert {each.system for each in found} == {LINUX, DARWIN}
        assert all(each.outputs == packages()[0].outputs for each in found)
        # As often as it is learnt anew, each package is there once.
        library.catalogue.record_packages(C, NEW, packages())
    library.catalogue.describe_packages(C, NEW, {"hello": "A greeting"})
    assert len(list(library.catalogue.packages(C, NEW))) == 3
    assert [each.description for each in library.catalogue.packages(C, OLD)] == ["", "", ""]
    library.catalogue.remove_release(C, OLD)
    assert len(library.catalogue.search(["hello"])) == 2


def test_a_file_that_lies_is_told_and_spoils_nothing(library: Library) -> None:
    for content in (b"packages", brotli.compress(b'{"packages":{"hello":{"meta":7}}}')):
        complaint = descriptions.add(library, C, NEW, file(library, content))
        assert complaint is not None and "not described" in complaint
    assert descriptions.add(library, C, NEW, file(library, b"x", "nixexprs.tar.xz")) is None
    assert len(list(library.catalogue.packages(C, NEW))) == 3
