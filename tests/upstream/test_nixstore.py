"""The local Nix store: its items as NARs, and what can be wrong with it."""

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from tests import trees

from narbor.formats import nar
from narbor.upstream.nixstore import NixStore, NotAnArchive, Unreadable

BASE = "0" * 32 + "-item"


def write(path: bytes, tree: trees.Tree) -> None:
    """Write a drawn tree to the disk."""
    kind, value, executable = tree
    if kind == "file":
        assert isinstance(value, bytes)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
            file.write(value)
        Path(os.fsdecode(path)).chmod(0o755 if executable else 0o644)
    elif kind == "link":
        assert isinstance(value, bytes)
        Path(os.fsdecode(path)).symlink_to(os.fsdecode(value))
    else:
        assert isinstance(value, dict)
        Path(os.fsdecode(path)).mkdir()
        for name, below in value.items():
            write(path + b"/" + name, below)


@given(trees.trees)
def test_an_item_is_its_nar(tree: trees.Tree) -> None:
    expected = b"".join(nar.write(trees.events(tree)))
    with tempfile.TemporaryDirectory() as folder:
        write(os.fsencode(folder) + b"/" + BASE.encode(), tree)
        store = NixStore(Path(folder))
        assert b"".join(nar.write(store.events(BASE))) == expected
        assert store.size(BASE) == len(expected)


def test_items_are_found_by_name(tmp_path: Path) -> None:
    for name in (BASE, "1" * 32 + "-item", "2" * 32 + "-other", ".links", "e" * 32 + "-item"):
        (tmp_path / name).mkdir()
    store = NixStore(tmp_path)
    assert set(store.called("item")) == {BASE, "1" * 32 + "-item"}
    assert set(store.names()) == {"item", "other"}
    (tmp_path / ("3" * 32 + "-item")).mkdir()
    os.utime(tmp_path, ns=(1, 1))
    assert "3" * 32 + "-item" in store.called("item")
    assert NixStore(tmp_path / "none").called("item") == []


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / BASE
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(folder)
        try:
            made.bind("s")
        finally:
            os.chdir(here)
    with pytest.raises(NotAnArchive, match="neither a file"):
        list(NixStore(tmp_path).events(BASE))


def test_a_tree_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / BASE
    for _ in range(nar.DEEPEST + 1):
        deep.mkdir()
        deep = deep / "d"
    with pytest.raises(NotAnArchive, match="deeper"):
        NixStore(tmp_path).size(BASE)


def test_what_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        list(NixStore(tmp_path).events(BASE))


@pytest.mark.parametrize(("more", "why"), [(b"xy", "longer"), (b"", "shorter")])
def test_a_file_that_changes_is_told(tmp_path: Path, more: bytes, why: str) -> None:
    path = tmp_path / BASE
    path.write_bytes(b"four")
    events = NixStore(tmp_path).events(BASE)
    assert next(events) == nar.File(b"", False, 4)
    path.write_bytes(b"four" + more if more else b"fo")
    with pytest.raises(Unreadable, match=why):
        list(events)


def test_a_file_that_is_exchanged_is_told(tmp_path: Path) -> None:
    path = tmp_path / BASE
    path.write_bytes(b"four")
    events = NixStore(tmp_path).events(BASE)
    next(events)
    path.rename(tmp_path / "aside")
    path.write_bytes(b"five")
    with pytest.raises(Unreadable, match="exchanged"):
        list(events)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / BASE
    path.write_bytes(b"four")
    events = NixStore(tmp_path).events(BASE)
    next(events)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(Unreadable):
        list(events)
