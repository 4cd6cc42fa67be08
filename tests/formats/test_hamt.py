"""Directories and HAMTs: the CIDs of Kubo, what is written comes back, hostile shards refused."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import mmh3
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import hamt, unixfs
from narbor.formats.unixfs import Link, MalformedNode, Unixfs
from narbor.names import cid
from narbor.names.cid import Cid

ALPHABET = b"abcdefghijklmnopqrstuvwxyz01234567890-_"
C1, C2, MASK = 0x87C37B91114253D5, 0x4CF5AD432745937F, (1 << 64) - 1
LEGAL = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)


class Blocks(dict[Cid, bytes]):
    """Nodes in memory, by CID."""

    def keep(self, block: bytes) -> Cid:
        """Keep a node; return its CID."""
        name = cid.node(block)
        self[name] = block
        return name

    def below(self, name: Cid) -> Iterator[Link]:
        """Iterate the entries of the directory `name`."""
        return hamt.entries(self[name], self.__getitem__)

    def tsize(self, name: Cid) -> int:
        """Count the bytes of `name` and all below it; what is not here counts as one."""
        block = self.get(name)
        if block is None:
            return 1
        return len(block) + sum(self.tsize(link.cid) for link in unixfs.parse(block).links)


def named(*names: bytes) -> list[Link]:
    """Entries of these names, each a leaf of its own."""
    return [Link(cid.raw(name), 1, name) for name in names]


def kubo_names(seed: str, *lengths: int) -> Iterator[bytes]:
    """The file names of Kubo's profile tests: letters picked by a ChaCha20 keystream."""
    key = sha256(seed.encode()).digest()
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(1 << 20))
    at = 0
    for length in lengths:
        yield bytes(ALPHABET[byte % len(ALPHABET)] for byte in stream[at : at + length])
        at += length


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (21, "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4"),
        (22, "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu"),
    ],
    ids=["262144 bytes stay one node", "262145 become a HAMT"],
)
def test_kubos_vectors_at_the_threshold(last: int, expected: str) -> None:
    entry = cid.raw(b"x")
    names = kubo_names("hamt-unixfs-v1-2025", *[11] * 4765, last)
    blocks = Blocks()
    root, tsize = hamt.directory((Link(entry, 1, name) for name in names), blocks.keep)
    assert cid.text(root) == expected
    assert tsize == blocks.tsize(root)


def test_sharness_2000_numbers() -> None:
    entries = [
        Link(cid.raw(b"%d\n" % number), len(b"%d\n" % number), b"file%d" % number)
        for number in range(1, 2001)
    ]
    root, _ = hamt.directory(reversed(entries), cid.node, largest=0)
    assert cid.text(root) == "bafybeibiemewfzzdyhq2l74wrd6qj2oz42usjlktgnlqv4yfawgouaqn4u"


def test_sharness_2000_numbers_of_version_zero() -> None:
    def older(name: Cid) -> Cid:
        return Cid(name[2:])

    def leaf(number: int) -> Link:
        block = unixfs.leaf_node(b"%d\n" % number)
        return Link(older(cid.node(block)), len(block), b"file%d" % number)

    entries = [leaf(number) for number in range(1, 2001)]
    flat = cid.node(unixfs.directory_node(entries))
    assert flat == cid.parse("QmavrTrQG4VhoJmantURAYuw3bowq3E2WcvP36NRQDAC1N")
    root, _ = hamt.directory(entries, lambda block: older(cid.node(block)), largest=0)
    assert b"\x01\x70" + root == cid.parse("QmSCJD1KYLhVVHqBK3YyXuoEqHt7vggyJhzoFYbT8v1XYL")


def test_the_directory_of_the_gateway_conformance_suite() -> None:
    # 1,000 times the same file: four chunks of 256 bytes, one of 2.
    chunks = [
        cid.check(bytes.fromhex("01551220" + digest))
        for digest in (
            "9d6b944db03f3c2f456458fedabd6d5e5de59ba3b6d8e6ca5b3ed59b553e5213",
            "fc23ce04e031027d66de41b26c0ffcb4552337afee4fe7f7961de74743ba7f14",
            "d4f869566c45a343beffde1b7f364307d519ed644877b646e833ade980984fa1",
            "4b5ecf421542dc1b1c91cdc7f222bbe28eda1bfb876de30cc91778886def4539",
            "b29edf0cce954f7ebc080c723f9df03c230bf302d797f8db445a17d2d131e083",
        )
    ]
    sizes = (256, 256, 256, 256, 2)
    file = unixfs.file_node([(name, n, n) for name, n in zip(chunks, sizes, strict=True)])
    blocks = Blocks()
    links = [Link(cid.node(file), len(file) + 1026, b"%d.txt" % n) for n in range(1, 1001)]
    root, _ = hamt.directory(links, blocks.keep, largest=0)
    assert cid.text(root) == "bafybeidbclfqleg2uojchspzd4bob56dqetqjsj27gy2cq3klkkgxtpn4i"
    # Two names of the UnixFS specification: both hashes begin with the byte 00.
    top = {link.name: link for link in unixfs.parse(blocks[root]).links}
    below = [link.name for link in unixfs.parse(blocks[top[b"00"].cid]).links]
    assert {b"6E470.txt", b"FF742.txt"} <= set(below)


@given(st.sets(LEGAL, max_size=60), st.sampled_from([0, 300, hamt.LARGEST_NODE]))
def test_entries_come_back_sorted(names: set[bytes], largest: int) -> None:
    blocks = Blocks()
    entries = named(*names)
    root, tsize = hamt.directory(entries, blocks.keep, largest)
    assert list(blocks.below(root)) == sorted(entries, key=lambda link: link.name)
    assert tsize == blocks.tsize(root)
    asked: list[Cid] = []

    def get(name: Cid) -> bytes:
        asked.append(name)
        return blocks[name]

    for link in entries:
        assert hamt.find(blocks[root], link.name, get) == link
        assert hamt.find(blocks[root], link.name + b"\xff", get) in (None, *entries)
    assert len(asked) <= 2 * len(names) * 8


@given(st.sets(LEGAL, max_size=40))
def test_the_order_of_what_is_given_does_not_matter(names: set[bytes]) -> None:
    entries = named(*names)
    for largest in (0, hamt.LARGEST_NODE):
        one = hamt.directory(sorted(entries), cid.node, largest)
        assert hamt.directory(sorted(entries, reverse=True), cid.node, largest) == one


def colliding(bits: int, count: int) -> list[bytes]:
    """Names whose hashes have the first `bits` bits of the first of them."""
    found: dict[int, list[bytes]] = {}
    for number in range(1 << 20):
        name = b"n%d" % number
        same = found.setdefault(mmh3.hash64(name, 0, signed=False)[0] >> 64 - bits, [])
        same.append(name)
        if len(same) == count:
            return same
    raise AssertionError(f"no {count} names with {bits} bits in common")


def test_names_that_share_three_levels_are_told_apart() -> None:
    entries = named(*colliding(24, 2), b"other")
    blocks = Blocks()
    root, _ = hamt.directory(entries, blocks.keep, 0)
    assert len(blocks) == 4
    assert sorted(entries, key=lambda link: link.name) == list(blocks.below(root))
    assert [hamt.find(blocks[root], link.name, blocks.__getitem__) for link in entries] == entries
    assert hamt.find(blocks[root], b"absent", blocks.__getitem__) is None
    assert hamt.find(blocks[root], b"", blocks.__getitem__) is None


@pytest.mark.parametrize("largest", [0, hamt.LARGEST_NODE])
def test_two_entries_of_one_name_are_refused(largest: int) -> None:
    with pytest.raises(hamt.DuplicateName):
        hamt.directory(named(b"a", b"b", b"a"), cid.node, largest)


def mixed(value: int, first: int, turn: int, second: int) -> int:
    """One input word of MurmurHash3 x64_128, mixed before it meets the state."""
    value = value * first & MASK
    return (value << turn | value >> 64 - turn) * second & MASK


def unmixed(value: int, first: int, turn: int, second: int) -> int:
    """The input word that `mixed` makes `value` of."""
    value = value * pow(second, -1, 1 << 64) & MASK
    return (value >> turn | value << 64 - turn) * pow(first, -1, 1 << 64) & MASK


def turned(value: int, turn: int) -> int:
    """`value` rotated left."""
    value &= MASK
    return (value << turn | value >> 64 - turn) & MASK


def with_hash_of_all(first: bytes) -> bytes:
    """A name of 32 bytes that begins with the 16 of `first`; all such have one hash.

    A block of MurmurHash3 can be run backwards: the second is chosen so that zeros are left.
    """
    one, two = (int.from_bytes(first[n : n + 8], "little") for n in (0, 8))
    h1 = turned(mixed(one, C1, 31, C2), 27) * 5 + 0x52DCE729
    h2 = (turned(mixed(two, C2, 33, C1), 31) + h1) * 5 + 0x38495AB5
    wanted1 = -0x52DCE729 * pow(5, -1, 1 << 64)
    wanted2 = -0x38495AB5 * pow(5, -1, 1 << 64)
    one = unmixed((turned(wanted1 - h2, 37) ^ h1) & MASK, C1, 31, C2)
    two = unmixed((turned(wanted2, 33) ^ h2) & MASK, C2, 33, C1)
    return first + one.to_bytes(8, "little") + two.to_bytes(8, "little")


def test_names_of_one_hash_are_refused() -> None:
    one, two = with_hash_of_all(b"a" * 16), with_hash_of_all(b"b" * 16)
    assert mmh3.hash64(one, 0) == mmh3.hash64(two, 0)
    assert hamt.directory(named(one, two), cid.node)[0]
    with pytest.raises(hamt.DuplicateName):
        hamt.directory(named(one, two), cid.node, 0)


def test_missing_shards_are_the_getters_affair() -> None:
    blocks = Blocks()
    root, _ = hamt.directory(named(*(b"%d" % n for n in range(500))), blocks.keep, 0)
    with pytest.raises(KeyError):
        hamt.entries(blocks[root], Blocks().__getitem__)


def shard(*links: Link, fanout: int = 256) -> bytes:
    """A shard whose bitfield fits its links."""
    width = len(f"{fanout - 1:X}")
    field = sum(1 << int(link.name[:width], 16) for link in links)
    bits = field.to_bytes((field.bit_length() + 7) // 8, "big")
    return unixfs.encode(
        links, Unixfs(unixfs.HAMT_SHARD, bits or None, hash_type=hamt.MURMUR3, fanout=fanout)
    )


def entry(name: bytes, fanout: int = 256) -> Link:
    """An entry of a root shard, under the prefix that its hash asks for."""
    index = mmh3.hash64(name, 0, signed=False)[0] >> 64 - (fanout.bit_length() - 1)
    return Link(cid.raw(name), 1, f"{index:0{len(f'{fanout - 1:X}')}X}".encode() + name)


def read(root: bytes, *below: bytes) -> list[bytes]:
    """The names in the directory `root`, with the shards `below` it at hand."""
    blocks = {cid.node(block): block for block in (root, *below)}
    return [link.name for link in hamt.entries(root, blocks.__getitem__)]


ONE = entry(b"one")
ELSEWHERE = Link(ONE.cid, 1, b"%02X" % (int(ONE.name[:2], 16) ^ 1) + b"one")


@pytest.mark.parametrize("fanout", [8, 16, 64, 256, 512, 1024])
def test_shards_of_other_widths_are_read(fanout: int) -> None:
    found = read(shard(entry(b"one", fanout), fanout=fanout))
    assert found == [b"one"]
    assert read(shard(fanout=fanout)) == []


def with_links(*names: bytes) -> bytes:
    """A shard with these link names, and the bitfield `01`."""
    links = [Link(cid.raw(b""), 1, name) for name in names]
    return unixfs.encode(links, Unixfs(unixfs.HAMT_SHARD, b"\1", hash_type=0x22, fanout=256))


# The hash of `one` begins with 225.
SAID = Unixfs(unixfs.HAMT_SHARD, (1 << 225).to_bytes(29, "big"), hash_type=0x22, fanout=256)


def claiming(said: Unixfs) -> bytes:
    """A shard with one good entry, and a message of its own choice."""
    return unixfs.encode([ONE], said)


REFUSED = {
    "a file": unixfs.leaf_node(b""),
    "a symlink": unixfs.symlink_node(b"a"),
    "no UnixFS node": unixfs.encode([ONE], None),
    "a fanout of 2048": shard(entry(b"one", 2048), fanout=2048),
    "a fanout of 2**62": claiming(replace(SAID, fanout=1 << 62)),
    "a fanout of 255": claiming(replace(SAID, fanout=255)),
    "a fanout of 4": shard(entry(b"one", 4), fanout=4),
    "a fanout of 0": claiming(replace(SAID, fanout=0)),
    "no fanout": claiming(replace(SAID, fanout=None)),
    "no hash function": claiming(replace(SAID, hash_type=None)),
    "another hash function": claiming(replace(SAID, hash_type=0x12)),
    "no bitfield": claiming(replace(SAID, data=None)),
    "a full bitfield": claiming(replace(SAID, data=b"\xff" * 32)),
    "a bitfield of 33 bytes": claiming(replace(SAID, data=b"\0" * 32 + b"\1")),
    "an entry in the wrong place": shard(ELSEWHERE),
    "a prefix in lower case": with_links(b"0aone"),
    "half a prefix": with_links(b"0"),
    "no name": with_links(b""),
    "a prefix with a space": with_links(b" 0one"),
    "a prefix with a sign": with_links(b"+0one"),
    "a prefix that is no number": with_links(b"zzone"),
    "a prefix that is no text": with_links(b"\xff\xff"),
    "one value twice": with_links(b"00", b"00"),
    "an entry `.`": unixfs.directory_node(named(b".")),
    "an entry `..`": unixfs.directory_node(named(b"..")),
    "an entry without a name": unixfs.directory_node(named(b"")),
    "an entry with a slash": unixfs.directory_node(named(b"a/b")),
    "an entry with a zero": unixfs.directory_node(named(b"a\0b")),
    "an entry twice": unixfs.directory_node(named(b"a", b"b", b"a")),
    "an entry `..` in a shard": shard(entry(b"..")),
}


def test_the_shard_that_the_others_are_made_of_is_good() -> None:
    assert claiming(SAID) == shard(ONE)
    assert read(claiming(SAID)) == [b"one"]


@pytest.mark.parametrize("root", REFUSED.values(), ids=list(REFUSED))
def test_refused(root: bytes) -> None:
    with pytest.raises(MalformedNode):
        read(root)


def above(block: bytes, prefix: bytes = b"00", fanout: int = 256) -> bytes:
    """A shard whose only link is the shard `block`."""
    return shard(Link(cid.node(block), len(block), prefix), fanout=fanout)


@pytest.mark.parametrize(("fanout", "levels"), [(8, 21), (256, 8), (1024, 6)])
def test_a_chain_of_shards_ends_with_the_bits_of_the_hash(fanout: int, levels: int) -> None:
    bits, digits = fanout.bit_length() - 1, len(f"{fanout - 1:X}")
    hashed = mmh3.hash64(b"name", 0, signed=False)[0]
    prefixes = [
        f"{hashed >> 64 - bits * level & fanout - 1:0{digits}X}".encode()
        for level in range(1, levels + 1)
    ]
    chain = [shard(Link(cid.raw(b""), 1, prefixes[-1] + b"name"), fanout=fanout)]
    for prefix in reversed(prefixes[:-1]):
        chain.insert(0, above(chain[0], prefix, fanout))
    blocks = {cid.node(block): block for block in chain}
    assert read(*chain) == [b"name"]
    assert hamt.find(chain[0], b"name", blocks.__getitem__) == Link(cid.raw(b""), 1, b"name")

    chain = [shard(Link(cid.raw(b""), 1, prefixes[0] + b"name"), fanout=fanout)]
    for prefix in reversed(prefixes):
        chain.insert(0, above(chain[0], prefix, fanout))
    blocks = {cid.node(block): block for block in chain}
    with pytest.raises(MalformedNode, match="deeper"):
        read(*chain)
    with pytest.raises(MalformedNode, match="deeper"):
        hamt.find(chain[0], b"name", blocks.__getitem__)


BELOW = {
    "nothing": shard(),
    "a basic directory": unixfs.directory_node(named(b"a")),
    "a file": unixfs.leaf_node(b"a"),
    "another fanout": shard(entry(b"one", 16), fanout=16),
    "an entry of another shard": shard(ONE),
    "junk": b"\xff",
}


@pytest.mark.parametrize("block", BELOW.values(), ids=list(BELOW))
def test_what_may_not_stand_below(block: bytes) -> None:
    prefix = ELSEWHERE.name[:2]
    with pytest.raises(MalformedNode):
        read(above(block, prefix), block)


def test_a_shard_used_twice_is_refused_before_it_multiplies() -> None:
    asked = 0
    block = shard()
    blocks = {}
    for _ in range(8):
        links = [Link(cid.node(block), 1, b"%02X" % index) for index in range(256)]
        blocks[cid.node(block)] = block
        block = shard(*links)

    def get(name: Cid) -> bytes:
        nonlocal asked
        asked += 1
        return blocks[name]

    with pytest.raises(MalformedNode):
        hamt.entries(block, get)
    assert asked < 10


@given(st.data())
def test_a_changed_shard_raises_only_malformed_node(data: st.DataObject) -> None:
    blocks = Blocks()
    root, _ = hamt.directory(named(*(b"%d" % n for n in range(30))), blocks.keep, 0)
    block = bytearray(blocks[root])
    start = data.draw(st.integers(0, len(block)))
    block[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))

    def get(name: Cid) -> bytes:
        return blocks.get(name, b"\xff")

    with contextlib.suppress(MalformedNode):
        hamt.entries(bytes(block), get)
    with contextlib.suppress(MalformedNode):
        hamt.find(bytes(block), b"7", get)
