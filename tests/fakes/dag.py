"""Blocks in memory, true but for what is taken out: what the IPFS door is tried against."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from narbor.dag import splice
from narbor.dag.splice import Leaf
from narbor.errors import Unavailable
from narbor.formats import hamt, ipld, layout, unixfs
from narbor.formats.unixfs import Link
from narbor.names import cid
from narbor.names.cid import Cid

CHUNK = 256


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symlink in a tree."""

    target: bytes


Tree: TypeAlias = "bytes | Symlink | Cid | Mapping[bytes, Tree]"


@dataclass(slots=True)
class Dag:
    """All blocks there are; each read is noted in `reads`."""

    kept: dict[Cid, bytes] = field(default_factory=dict)
    reads: list[Cid] = field(default_factory=list)

    def put(self, block: bytes, codec: int = cid.DAG_PB) -> Cid:
        """Keep a block."""
        name = Cid(b"\1" + cid.varint(codec) + cid.raw(block)[2:])
        self.kept[name] = block
        return name

    def file(self, content: bytes, width: int = 3) -> tuple[Cid, int]:
        """Keep a file in chunks of 256 bytes; return its root and tsize."""
        chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)] or [b""]
        leaves = [(self.put(chunk, cid.RAW), len(chunk), len(chunk)) for chunk in chunks]
        root, tsize, _ = layout.balanced(leaves, self.put, width)
        return root, tsize

    def tree(self, tree: Tree, largest: int = hamt.LARGEST_NODE) -> tuple[Cid, int]:
        """Keep a tree; return its root and tsize."""
        if isinstance(tree, Symlink):
            block = unixfs.symlink_node(tree.target)
            return self.put(block), len(block)
        if isinstance(tree, Mapping):
            links = [Link(*self.tree(tree[name], largest), name) for name in tree]
            return hamt.directory(links, self.put, largest)
        if tree in self.kept:
            return Cid(tree), len(self.kept[Cid(tree)])
        return self.file(tree)

    def lose(self, name: Cid) -> None:
        """Lose a block."""
        del self.kept[name]

    def block(self, name: Cid) -> bytes | None:
        """Return a block."""
        self.reads.append(name)
        content = ipld.inlined(name)
        return self.kept.get(name) if content is None else content

    def block_size(self, name: Cid) -> int | None:
        """Return its length."""
        content = ipld.inlined(name)
        block = self.kept.get(name) if content is None else content
        return None if block is None else len(block)

    def blocks(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give blocks."""
        return map(self._need, names)

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes of a file."""
        for cut in splice.pieces(root, self._need, start, stop):
            piece = cut.piece
            data = self._need(piece.cid) if isinstance(piece, Leaf) else piece
            yield data[cut.start : cut.stop]

    def _need(self, name: Cid) -> bytes:
        block = self.block(name)
        if block is None:
            raise Unavailable(f"the block {cid.text(name)} is lost")
        return block
