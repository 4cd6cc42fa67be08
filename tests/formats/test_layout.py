"""The balanced layout: Kubo's vectors, and its shape for every small number of leaves."""

from collections.abc import Iterator
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import layout, unixfs
from narbor.formats.unixfs import Child
from narbor.names import cid
from narbor.names.cid import Cid

MIB = 1 << 20


class Blocks(dict[Cid, bytes]):
    """Nodes in memory, by CID."""

    def keep(self, block: bytes) -> Cid:
        """Keep a node; return its CID."""
        name = cid.node(block)
        self[name] = block
        return name

    def tsize(self, root: Cid) -> int:
        """Count the bytes of `root`'s node and of all below it; raw leaves count as one each."""
        block = self.get(root)
        if block is None:
            return 1
        return len(block) + sum(self.tsize(link.cid) for link in unixfs.parse(block).links)

    def leaves(self, root: Cid, depth: int = 0) -> Iterator[tuple[Cid, int]]:
        """Iterate the leaves below `root`, in order, each with its depth."""
        block = self.get(root)
        if block is None:
            yield root, depth
            return
        for child, _ in unixfs.file_links(block):
            yield from self.leaves(child, depth + 1)


def keystream(seed: str) -> Iterator[bytes]:
    """Kubo's test data: ChaCha20 under the seed's hash, a MiB at a time, without end."""
    cipher = Cipher(ChaCha20(sha256(seed.encode()).digest(), bytes(16)), mode=None).encryptor()
    zeros = bytes(MIB)
    while True:
        yield cipher.update(zeros)


def leaf(data: bytes) -> Child:
    """`data` as a raw leaf."""
    return cid.raw(data), len(data), len(data)


def root(leaves: list[Child]) -> str:
    """The CID of the file made of `leaves`, as text."""
    return cid.text(layout.balanced(leaves, cid.node)[0])


def test_kubos_vectors_about_one_chunk() -> None:
    stream = keystream("chunk-v1-seed")
    first, second = leaf(next(stream)), leaf(next(stream)[:1])
    assert root([leaf(b"hello world")]) == (
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    )
    assert root([leaf(b"")]) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    assert root([first]) == "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"
    assert root([first, second]) == "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"


def test_kubos_vectors_about_one_node() -> None:
    stream = keystream("v1-2025-seed")
    leaves = [leaf(next(stream)) for _ in range(1024)]
    assert root(leaves) == "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm"
    leaves.append(leaf(next(stream)[:1]))
    assert root(leaves) == "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe"


@pytest.mark.parametrize("count", range(1, 70))
@pytest.mark.parametrize("width", [2, 3, 4])
def test_all_leaves_stand_at_one_depth(count: int, width: int) -> None:
    blocks = Blocks()
    leaves = [(cid.raw(bytes([n])), 1, n) for n in range(count)]
    name, tsize, filesize = layout.balanced(iter(leaves), blocks.keep, width)
    found = list(blocks.leaves(name))
    assert [child for child, _ in found] == [child for child, _, _ in leaves]
    depth = next(depth for depth in range(9) if width**depth >= count)
    assert {depth for _, depth in found} == {depth}
    assert filesize == sum(range(count))
    assert tsize == blocks.tsize(name)
    # No node but the last of its level is less than full.
    short = sum(len(unixfs.parse(block).links) < width for block in set(blocks.values()))
    assert short <= depth


@given(st.integers(0, 40), st.integers(2, 5), st.integers(0, 0o7777))
def test_a_mode_stands_on_the_root_alone(count: int, width: int, mode: int) -> None:
    plain, blocks = Blocks(), Blocks()
    leaves = [(cid.raw(bytes([n])), 1, 1) for n in range(count)]
    layout.balanced(leaves, plain.keep, width)
    name, tsize, filesize = layout.balanced(leaves, blocks.keep, width, mode)
    assert (tsize, filesize) == (blocks.tsize(name), count)
    modes = {key: data.mode for key in blocks if (data := unixfs.parse(blocks[key]).data)}
    assert modes.pop(name) == mode
    assert set(modes.values()) <= {None}
    assert set(modes) <= set(plain)
    assert [child for child, _ in blocks.leaves(name)] == [child for child, _, _ in leaves]


def test_no_leaf_is_an_empty_file_and_one_leaf_is_itself() -> None:
    blocks = Blocks()
    empty, tsize, filesize = layout.balanced([], blocks.keep)
    assert blocks == {empty: unixfs.leaf_node(b"")}
    assert (tsize, filesize) == (6, 0)
    only = leaf(b"only")
    assert layout.balanced([only], blocks.keep) == only


def test_leaves_stream_through() -> None:
    taken: list[Child] = []
    handed_on: list[int] = []

    def leaves() -> Iterator[Child]:
        for _ in range(100):
            taken.append(leaf(b"x"))
            yield taken[-1]

    def put(block: bytes) -> Cid:
        handed_on.append(len(taken))
        return cid.node(block)

    layout.balanced(leaves(), put, 10)
    assert handed_on[:10] == [11, 20, 30, 40, 50, 60, 70, 80, 90, 100]
