"""Roots that are kept by name, over each catalogue."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from narbor.catalogue import Catalogue, Kept
from narbor.names import cid


@pytest.fixture(params=["file", "memory"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    """An empty catalogue."""
    memory = request.param == "memory"
    made = Catalogue.in_memory() if memory else Catalogue.open(tmp_path / "catalogue.sqlite")
    yield made
    made.close()


def test_a_name_stands_for_the_last_root(catalogue: Catalogue) -> None:
    one, two = cid.raw(b"one"), cid.node(b"two")
    assert catalogue.kept_roots() == ()
    assert catalogue.kept_root("b") is None
    catalogue.keep_root("b", one, 1)
    catalogue.keep_root("a/c", one, 2)
    catalogue.keep_root("b", two, 3)
    assert catalogue.kept_roots() == (Kept("a/c", one, 2), Kept("b", two, 3))
    assert catalogue.kept_root("b") == two
    assert catalogue.let_go("b")
    assert not catalogue.let_go("b")
    assert catalogue.kept_roots() == (Kept("a/c", one, 2),)
    assert catalogue.file_roots() == ()


def test_items_stay_with_a_name(catalogue: Catalogue) -> None:
    catalogue.keep_items("a", ["y", "x"])
    catalogue.keep_items("b", ["z", "x"])
    assert catalogue.kept_items("a") == ("x", "y")
    assert list(catalogue.listed_paths()) == ["x", "y", "z"]
    catalogue.keep_items("a", ["w"], also=True)
    assert catalogue.kept_items("a") == ("w", "x", "y")
    catalogue.keep_items("a", ["v"])
    assert list(catalogue.listed_paths()) == ["v", "x", "z"]
    # A name may stand for items alone, where their directory was not whole.
    assert catalogue.let_go("a")
    assert not catalogue.let_go("a")
    assert list(catalogue.listed_paths()) == ["x", "z"]
