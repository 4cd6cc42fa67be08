"""Links inside items and between them, followed as a kernel follows them."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.formats import nar
from narbor.library import Entry, Library
from narbor.library.links import MOST, Elsewhere, Found, follow
from narbor.names.item import Item
from tests.library.store import believed, opened

Tree = dict[str, "Tree | str | bytes"]
"""Folders, links (their target as text), and files (bytes)."""


def archive(tree: Tree) -> bytes:
    """Return the NAR of a tree."""

    def events(name: bytes, node: Tree | str | bytes) -> list[nar.Event[bytes]]:
        if isinstance(node, str):
            return [nar.Symlink(name, node.encode())]
        if isinstance(node, bytes):
            return [nar.File(name, True, len(node)), nar.Data(node)]
        inside = [event for key in sorted(node) for event in events(key.encode(), node[key])]
        return [nar.Directory(name), *inside, nar.END]

    return b"".join(nar.write(events(b"", tree)))


def admitted(library: Library, name: str, tree: Tree) -> Item:
    """Keep a tree as an item."""
    data = archive(tree)
    item = library.admit(believed(name, data), [data], "test:")
    library.commit()
    return item


def test_links_are_followed_inside_and_across(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        other = admitted(library, "other", {"libexec": {"real": b"program"}})
        item = admitted(
            library,
            "item",
            {
                "bin": {
                    "plain": b"x",
                    "same": "plain",
                    "up": "../sbin/tool",
                    "across": f"{other.path}/libexec/real",
                    "beside": f"../../{other.path.base}/libexec/real",
                    "through": "../folder/real",
                    "dangling": "nothing",
                    "under-a-file": "plain/x",
                    "outside": "/bin/sh",
                    "unknown": "/nix/store/00000000000000000000000000000000-x/bin/y",
                    "out-of-the-root": "../../../../../../bin/sh",
                    "round": "round",
                },
                "sbin": {"tool": "./../bin/./same"},
                "folder": f"{other.path}/libexec",
            },
        )
        plain = Found(item, Entry(b"bin/plain", "regular", 1, True))
        real = Found(other, Entry(b"libexec/real", "regular", 7, True))
        expected = {
            "plain": plain,
            "same": plain,
            "up": plain,
            "across": real,
            "beside": real,
            "through": real,
            "dangling": None,
            "under-a-file": None,
            "outside": Elsewhere(b"/bin/sh"),
            "unknown": Elsewhere(b"/nix/store/00000000000000000000000000000000-x"),
            "out-of-the-root": Elsewhere(b"/bin/sh"),
            "round": None,
        }
        for name, found in expected.items():
            assert follow(library, item, b"bin/" + name.encode()) == found, name
        assert follow(library, item, b"") == Found(item, Entry(b"", "directory"))


@pytest.mark.parametrize(("links", "reached"), [(MOST, True), (MOST + 1, False)])
def test_as_many_links_as_linux_follows(tmp_path: Path, links: int, reached: bool) -> None:
    chain: Tree = {f"{n:03}": f"{n + 1:03}" for n in range(links)}
    with opened(tmp_path) as library:
        item = admitted(library, "chain", {**chain, f"{links:03}": b"end"})
        assert (follow(library, item, b"000") is not None) == reached


NAMES = st.sampled_from(["a", "b", "c"])
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=5).map(
    "/".join
)
TREES = st.recursive(
    st.binary(min_size=1, max_size=2) | TARGETS,
    lambda below: st.dictionaries(NAMES, below, min_size=1, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(NAMES, TREES, min_size=1, max_size=3), path=TARGETS)
def test_the_kernel_agrees(tmp_path_factory: pytest.TempPathFactory, tree: Tree, path: str) -> None:
    folder = tmp_path_factory.mktemp("tree")
    with opened(folder / "home") as library:
        item = admitted(library, "item", tree)
        root = folder / "store" / item.path.base
        unpack(root, tree)
        real = Path(root, path)
        try:
            there = real.resolve(strict=True)
        except (OSError, RuntimeError):
            there = None
        found = follow(library, item, path.encode())
        if there is not None and there.is_relative_to(root):
            assert isinstance(found, Found)
            assert found.entry.path.decode() == "/".join(there.relative_to(root).parts)
            assert (found.entry.kind == "directory") == there.is_dir()
        else:
            assert not isinstance(found, Found)


def unpack(place: Path, node: Tree | str | bytes) -> None:
    """Write a tree to the disk."""
    if isinstance(node, str):
        place.symlink_to(node)
    elif isinstance(node, bytes):
        place.write_bytes(node)
    else:
        place.mkdir(parents=True)
        for name, below in node.items():
            unpack(place / name, below)
