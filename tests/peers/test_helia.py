"""Trees against Helia's importer: every node the same, in the profile unixfs-v1-2025.

Its rule for executables: a file of one chunk is one node that holds content and mode, a longer
file has the mode on its root, over raw leaves.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mmh3
import pytest

from narbor.formats import hamt, layout, unixfs
from narbor.formats.unixfs import Link
from narbor.names import cid
from narbor.names.cid import Cid
from tests.peers import npm, registry

MIB = 1 << 20
PROFILE: dict[str, object] = {"profile": "unixfs-v1-2025"}


@dataclass(frozen=True)
class File:
    """A file of `size` bytes, `text` over and over."""

    text: str
    size: int
    mode: int | None = None

    def content(self) -> bytes:
        """All its bytes."""
        text = self.text.encode()
        return (text * (self.size // len(text) + 1))[: self.size]


Tree = Mapping[str, "File | str | Tree"]
"""A directory: files, the targets of symlinks, and directories, by name."""


@dataclass
class Job:
    """A tree to be imported, and how."""

    tree: Tree
    chunk: int = MIB
    width: int = 1024
    largest: int = hamt.LARGEST_NODE
    nodes: dict[Cid, bytes] = field(default_factory=dict)

    def request(self) -> dict[str, object]:
        """Describe the job to import.mjs."""
        return {
            "options": {**PROFILE, "shardSplitThresholdBytes": self.largest},
            "chunk": self.chunk,
            "width": self.width,
            "entries": list(candidates(self.tree, "")),
        }

    def put(self, block: bytes) -> Cid:
        """Keep a node."""
        name = cid.node(block)
        self.nodes[name] = block
        return name

    def file(self, file: File) -> tuple[Cid, int]:
        """Build a file; return its root and its tsize."""
        data = file.content()
        if file.mode is not None and len(data) <= self.chunk:
            block = unixfs.leaf_node(data, file.mode)
            return self.put(block), len(block)
        chunks = [data[at : at + self.chunk] for at in range(0, len(data), self.chunk)] or [b""]
        leaves = [(cid.raw(chunk), len(chunk), len(chunk)) for chunk in chunks]
        root, tsize, filesize = layout.balanced(leaves, self.put, self.width, file.mode)
        assert filesize == file.size
        return root, tsize

    def directory(self, tree: Tree) -> tuple[Cid, int]:
        """Build a directory; return its root and its tsize."""
        links = []
        for name, what in tree.items():
            if isinstance(what, File):
                root, tsize = self.file(what)
            elif isinstance(what, str):
                block = unixfs.symlink_node(what.encode())
                root, tsize = self.put(block), len(block)
            else:
                root, tsize = self.directory(what)
            links.append(Link(root, tsize, name.encode()))
        return hamt.directory(links, self.put, self.largest)


def candidates(tree: Tree, above: str) -> Iterator[dict[str, object]]:
    """Describe a tree to import.mjs, one path an entry."""
    for name, what in tree.items():
        path = above + name
        if isinstance(what, File):
            mode = {} if what.mode is None else {"mode": what.mode}
            yield {"path": path, "text": what.text, "size": what.size, **mode}
        elif isinstance(what, str):
            yield {"path": path, "link": what}
        else:
            if not what:
                yield {"path": path}
            yield from candidates(what, path + "/")


def sharing(bits: int) -> list[str]:
    """Two names whose hashes begin with the same bits."""
    seen: dict[int, str] = {}
    for number in range(1 << 20):
        name = f"n{number}"
        key = mmh3.hash64(name.encode(), 0, signed=False)[0] >> 64 - bits
        if key in seen:
            return [seen[key], name]
        seen[key] = name
    raise AssertionError(f"no two names share {bits} bits")


ENDINGS = ("ü", "日本語", "🦊", "é", " und", "+", ".so.1", "ß%20", "\\", "\u2028")
MANY: Tree = {f"{number}{ENDINGS[number % 10]}": File(str(number), 5) for number in range(8000)}

JOBS = {
    "small files, symlinks, empty directories": Job(
        {
            "empty": File("x", 0),
            "hello": File("hello world", 11),
            "to": "hello",
            "broken": "../../nowhere/ünter/日本",
            "sub": {"deeper": {"nothing": {}, ".hidden": File("h", 1), "Zoë": File("z", 2)}},
            "nothing": {},
        }
    ),
    "sizes about one chunk": Job(
        {f"at{offset:+}": File("0123456", MIB + offset) for offset in (-1, 0, 1)}
        | {"three": File("0123456", 3 * MIB), "four": File("0123456", 3 * MIB + 1)}
    ),
    "executables": Job(
        {
            f"{size}-{mode:o}": File("#!/bin/sh\n", size, mode)
            for mode in (0o755, 0o555)
            for size in (0, 1, 11, MIB - 1, MIB, MIB + 1, 3 * MIB)
        }
    ),
    "an empty root": Job({"nothing": {}}),
    "deep files": Job(
        {f"n{count}": File("abcdefghijk", 10 * count) for count in range(1, 40)}
        | {f"x{count}": File("abcdefghijk", 10 * count - 3, 0o755) for count in range(1, 4)},
        chunk=10,
        width=3,
    ),
    "a HAMT of 8,000 names": Job(MANY),
    "a HAMT below a directory, with directories in it": Job(
        {"top": {"in": {**MANY} | {"d": {"e": File("e", 3)}, "s": "d/e", "x": File("x", 9, 0o755)}}}
    ),
    "small HAMTs": Job(
        {"a": {name: File("a", 1) for name in sharing(24)}, "b": {"one": File("b", 1)}}, largest=1
    ),
    "names of one length about the threshold": Job(
        {
            f"{last}": {f"{number:011}": File("x", 1) for number in range(4765)}
            | {"y" * last: File("x", 1)}
            for last in (20, 21, 22, 23)
        }
    ),
}


@pytest.fixture(scope="module")
def helia() -> Path:
    """The folder where Helia's importer is installed."""
    try:
        home = npm.install(Path(__file__).parent / "helia")
    except npm.NotInstalled as error:
        registry.missing("helia", str(error))
        pytest.skip(f"helia: {error}")
    registry.ran("helia", f"ipfs-unixfs-importer {npm.version(home, 'ipfs-unixfs-importer')}")
    return home


def imported(home: Path, request: dict[str, object]) -> tuple[Cid, dict[Cid, bytes]]:
    """What Helia makes of one job: the root, and every dag-pb node."""
    result = npm.run(home, "import.mjs", request)
    nodes = {cid.parse(name): base64.b64decode(text) for name, text in result["nodes"].items()}
    return cid.parse(result["root"]), nodes


@pytest.mark.parametrize("job", JOBS.values(), ids=list(JOBS))
def test_every_node_is_the_same(helia: Path, job: Job) -> None:
    root, nodes = imported(helia, job.request())
    assert job.directory(job.tree)[0] == root
    assert reachable(root, nodes) == set(job.nodes)


def reachable(root: Cid, nodes: dict[Cid, bytes]) -> set[Cid]:
    """The nodes below `root`: Helia also writes some that it then replaces."""
    found, todo = set(), [root]
    while todo:
        name = todo.pop()
        if name in nodes and name not in found:
            found.add(name)
            todo += (link.cid for link in unixfs.parse(nodes[name]).links)
    return found


Shape = tuple[int, list["Shape"]] | Cid
"""A file without the modes of its nodes: its bytes and its children, or a leaf."""


def shape(name: Cid, nodes: dict[Cid, bytes]) -> Shape:
    """The shape of the file `name`."""
    if name not in nodes:
        return name
    children = unixfs.file_links(nodes[name])
    return sum(size for _, size in children), [shape(child, nodes) for child, _ in children]


@pytest.mark.parametrize("chunks", [4, 9, 10, 40])
def test_executables_of_more_than_one_node_differ_in_modes_alone(helia: Path, chunks: int) -> None:
    # Helia repeats the mode on every node but the leaves (in the profile: past 1 GiB), while here
    # the nodes below the root are those of the same file without a mode.
    job = Job({"x": File("abcdefghijk", 10 * chunks, 0o755)}, chunk=10, width=3)
    root, nodes = imported(helia, job.request())
    theirs = unixfs.parse(nodes[root]).links[0].cid
    ours = unixfs.parse(job.nodes[job.directory(job.tree)[0]]).links[0].cid
    assert shape(ours, job.nodes) == shape(theirs, nodes)
    below = [unixfs.parse(nodes[name]) for name in reachable(theirs, nodes)]
    assert [node.data.mode for node in below if node.data] == [0o755] * len(below)


def test_nodes_with_their_data_first_are_read(helia: Path) -> None:
    job = Job({"many": MANY, "long": File("0123456", 95)}, chunk=10, width=3)
    request = job.request() | {
        "options": {
            "fieldOrder": "data-first",
            "shardSplitStrategy": "block-bytes",
            "cidVersion": 1,
            "rawLeaves": True,
        }
    }
    root, nodes = imported(helia, request)
    assert job.directory(job.tree)[0] != root
    links = {link.name: link.cid for link in unixfs.parse(nodes[root]).links}
    found = hamt.entries(nodes[links[b"many"]], nodes.__getitem__)
    assert [link.name for link in found] == sorted(name.encode() for name in MANY)
    todo, leaves = [(links[b"long"], 95)], []
    while todo:
        name, size = todo.pop(0)
        if name in nodes:
            todo += unixfs.file_links(nodes[name])
        else:
            leaves.append((name, size))
    data = File("0123456", 95).content()
    assert leaves == [
        (cid.raw(chunk), len(chunk))
        for chunk in (data[at : at + 10] for at in range(0, len(data), 10))
    ]
