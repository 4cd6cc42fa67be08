"""UnixFS nodes: the CIDs that Kubo and the specifications give, and junk refused."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from narbor.formats import dagpb, unixfs
from narbor.formats.unixfs import Link, MalformedNode, Node, Unixfs
from narbor.names import cid
from narbor.names.cid import Cid

NUMBERS = st.integers(0, 200) | st.integers(0, 2**64 - 1)
LINKED = st.one_of(
    st.binary(max_size=8).map(cid.raw),
    st.binary(max_size=8).map(cid.node),
    st.binary(max_size=cid.LONGEST_INLINE).map(cid.inline),
)
LINKS = st.builds(Link, LINKED, NUMBERS, st.binary(max_size=140))
TIMES = st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999))
MESSAGES = st.builds(
    Unixfs,
    kind=st.integers(unixfs.RAW, unixfs.HAMT_SHARD),
    data=st.none() | st.binary(max_size=200),
    filesize=st.none() | NUMBERS,
    blocksizes=st.lists(NUMBERS, max_size=8).map(tuple),
    hash_type=st.none() | NUMBERS,
    fanout=st.none() | NUMBERS,
    mode=st.none() | st.integers(0, 2**32 - 1),
    mtime=st.none() | TIMES,
)
NODES = st.builds(Node, st.lists(LINKS, max_size=8).map(tuple), st.none() | MESSAGES)


def leaves() -> st.SearchStrategy[list[tuple[Cid, int, int]]]:
    """Parts of a file as they are written here, pieces in their CID and files below included."""
    sizes = st.integers(0, 200) | st.integers(0, 1 << 20) | st.integers(0, 1 << 50)
    leaf = st.tuples(st.binary(max_size=4).map(cid.raw), sizes).map(lambda part: (*part, part[1]))
    inline = st.binary(max_size=cid.LONGEST_INLINE).map(
        lambda data: (cid.inline(data), len(data), len(data))
    )
    below = st.tuples(st.binary(max_size=4).map(cid.node), sizes, sizes)
    return st.lists(leaf | inline | below, max_size=12)


def field(number: int, value: bytes) -> bytes:
    """One length-delimited field of protobuf."""
    return bytes([number << 3 | 2]) + cid.varint(len(value)) + value


def outcome(read: Callable[[bytes], object], block: bytes) -> object:
    """What `read` makes of `block`; None when it refuses it as malformed."""
    try:
        return read(block)
    except MalformedNode:
        return None


# ipfs/specs, kubo test/cli/cid_profiles_test.go, test/sharness t0047 and t0280.
VECTORS: list[tuple[str, bytes]] = [
    (
        "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y",
        unixfs.leaf_node(b""),
    ),
    ("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH", unixfs.leaf_node(b"")),
    (
        "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354",
        unixfs.directory_node(()),
    ),
    ("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", unixfs.directory_node(())),
    (
        "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa",
        unixfs.leaf_node(b"hello world"),
    ),
    ("Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", unixfs.leaf_node(b"hello world")),
    (
        "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        unixfs.encode((), None),
    ),
    ("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n", unixfs.encode((), None)),
    (
        "bafybeibafgs3hlupvxflkxt53usw3eanu7odf2t63evgg65oycg33lo3gu",
        unixfs.leaf_node(b"hello world", 0o755),
    ),
    (
        "bafybeibqrmpzg6bikkne6zkj5qvlmnqly4pfog3hd7ec7krxnviyz4ia6y",
        unixfs.file_node([(cid.raw(b"hello world"), 11, 11)], 0o755),
    ),
    ("QmQLgxypSNGNFTuUPGCecq6dDEjb6hNB5xSyVmP3cEuNtq", unixfs.leaf_node(b"", 0o640)),
    ("QmchD3BN8TQ3RW6jPLxSaNkqvfuj7syKhzTRmL4EpyY1Nz", unixfs.leaf_node(b"", 0o764)),
    ("QmTB8BaCJdCH5H3k7GrxJsxgDNmNYGGR71C58ERkivXoj5", unixfs.symlink_node(b"foo")),
]
FILE, LINK = unixfs.FILE, unixfs.SYMLINK
TIMED: list[tuple[str, Unixfs]] = [
    (
        "QmQ6kErEW8kztQFV8vbwNU8E4dmtGsYpRiboiLxUEwibvj",
        Unixfs(FILE, filesize=0, mtime=(1604320482, 0)),
    ),
    (
        "QmYkvboLsvLFcSYmqVJRxvBdYRQLroLv9kELf3LRiCqBri",
        Unixfs(FILE, filesize=0, mode=0o640, mtime=(1604320482, 0)),
    ),
    (
        "QmaKH8H5rXBUBCX4vdxi7ktGQEL7wejV7L9rX2qpZjwncz",
        Unixfs(FILE, filesize=0, mtime=(1603539720, 54321)),
    ),
    (
        "QmUkxrtBA8tPjwCYz1HrsoRfDz6NgKut3asVeHVQNH4C8L",
        Unixfs(FILE, filesize=0, mode=0o764, mtime=(1603539720, 54321)),
    ),
    (
        "QmbJwotgtr84JxcnjpwJ86uZiyMoxbZuNH4YrdJMypkYaB",
        Unixfs(LINK, b"nothing", mtime=(1604320482, 0)),
    ),
    (
        "QmPHYCxYvvHj6VxiPNJ3kXxcPsnJLDYUJqsDJWjvytmrmY",
        Unixfs(LINK, b"nothing", mtime=(1603539720, 54321)),
    ),
]


@pytest.mark.parametrize(("name", "block"), VECTORS, ids=[name for name, _ in VECTORS])
def test_blocks_have_the_cids_that_others_give_them(name: str, block: bytes) -> None:
    assert cid.text(cid.node(block)) == cid.text(cid.parse(name))


@pytest.mark.parametrize(("name", "message"), TIMED, ids=[name for name, _ in TIMED])
def test_times_have_the_cids_that_kubo_gives_them(name: str, message: Unixfs) -> None:
    block = unixfs.encode((), message)
    assert cid.node(block) == cid.parse(name)
    assert unixfs.parse(block) == Node((), message)


def test_inline_blocks_of_the_specification() -> None:
    empty = unixfs.directory_node(())
    assert cid.check(b"\x01\x70\x00\x04" + empty) == cid.parse("bafyaabakaieac")
    assert cid.inline(b"") == cid.parse("bafkqaaa")


def test_chunk_links_have_an_empty_name() -> None:
    chunk = cid.raw(b"x" * 256)
    block = unixfs.file_node([(chunk, 256, 256)])
    assert block[:48] == b"\x12\x2b\x0a\x24" + chunk + b"\x12\x00\x18\x80\x02" + block[45:48]


@given(NODES)
def test_what_is_written_is_read(node: Node) -> None:
    block = unixfs.encode(node.links, node.data)
    assert unixfs.parse(block) == node
    assert len(block) == sum(map(dagpb.link_size, node.links)) + len(unixfs.encode((), node.data))


@given(NODES)
def test_data_may_stand_first(node: Node) -> None:
    links, data = unixfs.encode(node.links, None), unixfs.encode((), node.data)
    assert unixfs.parse(data + links) == node


@given(leaves(), st.none() | st.integers(0, 0o7777))
def test_parts_of_a_file_come_back(parts: list[tuple[Cid, int, int]], mode: int | None) -> None:
    expected = [(child, size) for child, _, size in parts]
    block = unixfs.file_node(parts, mode)
    assert unixfs.file_links(block) == expected
    node = unixfs.parse(block)
    swapped = unixfs.encode((), node.data) + unixfs.encode(node.links, None)
    assert unixfs.file_links(swapped) == expected
    named = unixfs.encode([link._replace(name=b"n") for link in node.links], node.data)
    assert unixfs.file_links(named) == expected


def slow_links(block: bytes) -> list[tuple[Cid, int]]:
    """The parts of a file, read without its fast way."""
    node = unixfs.parse(block)
    data = node.data
    if data is None or data.kind != unixfs.FILE or data.data:
        raise MalformedNode("no file node")
    if len(data.blocksizes) != len(node.links) or sum(data.blocksizes) != data.filesize:
        raise MalformedNode("sizes differ")
    return [(link.cid, size) for link, size in zip(node.links, data.blocksizes, strict=True)]


@given(leaves(), st.data())
@example([(cid.raw(b""), 5, 5)], None)
def test_a_changed_file_node_is_refused_or_read_as_it_says(
    parts: list[tuple[Cid, int, int]], data: st.DataObject | None
) -> None:
    block = bytearray(unixfs.file_node(parts, 0o755))
    if data is not None:
        start = data.draw(st.integers(0, len(block)))
        stop = data.draw(st.integers(start, min(len(block), start + 3)))
        block[start:stop] = data.draw(st.binary(max_size=3) | st.sampled_from([b"\x12", b"\x80"]))
    assert outcome(unixfs.file_links, bytes(block)) == outcome(slow_links, bytes(block))


def test_a_name_that_looks_like_a_message_fools_nobody() -> None:
    link = field(2, field(1, cid.raw(b"")) + field(2, b"\x08\x02\x18\x05\x20\x05"))
    block = field(1, b"\x08\x02\x18\x05\x20\x05") + link
    assert unixfs.file_links(block) == slow_links(block) == [(cid.raw(b""), 5)]


@given(st.binary(max_size=300))
def test_junk_raises_only_malformed_node(junk: bytes) -> None:
    outcome(unixfs.parse, junk)
    outcome(unixfs.file_links, junk)
    outcome(unixfs.parse, field(1, junk))
    outcome(unixfs.parse, field(2, junk))


@given(NODES, st.data())
def test_a_changed_node_is_refused_or_read(node: Node, data: st.DataObject) -> None:
    block = bytearray(unixfs.encode(node.links, node.data))
    start = data.draw(st.integers(0, len(block)))
    block[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    again = outcome(unixfs.parse, bytes(block))
    # What is read and written again may differ only in the order of things, and in what has
    # a default: the values stay.
    if isinstance(again, Node):
        assert unixfs.parse(unixfs.encode(again.links, again.data)) == again


@given(NODES)
def test_a_cut_node_is_refused_or_ends_between_fields(node: Node) -> None:
    block = unixfs.encode(node.links, node.data)
    ends, at = {0}, 0
    for link in node.links:
        at += dagpb.link_size(link)
        ends.add(at)
    for end in range(len(block)):
        assert (outcome(unixfs.parse, block[:end]) is not None) == (end in ends)


CHILD = field(1, cid.raw(b""))
REFUSED: dict[str, bytes] = {
    "a second Data": field(1, b"\x08\x01") * 2,
    "Data between links": field(2, CHILD) + field(1, b"\x08\x01") + field(2, CHILD),
    "an unknown field": field(3, b""),
    "an unknown field behind": field(1, b"\x08\x01") + b"\x18\x01",
    "a link without Hash": field(2, field(2, b"name")),
    "an empty link": field(2, b""),
    "Name before Hash": field(2, field(2, b"name") + CHILD),
    "Tsize before Name": field(2, CHILD + b"\x18\x01" + field(2, b"name")),
    "two names": field(2, CHILD + field(2, b"a") * 2),
    "an unknown field in a link": field(2, CHILD + b"\x20\x01"),
    "a Hash longer than its link": b"\x12\x04" + CHILD,
    "a link longer than its parts": b"\x12\x30" + CHILD + bytes(10),
    "no CID": field(2, field(1, b"")),
    "a cut CID": field(2, field(1, cid.raw(b"")[:-1])),
    "a CID of a kilobyte": field(2, field(1, cid.raw(b"") + bytes(1000))),
    "a CID with a tail": field(2, field(1, cid.raw(b"") + b"\0")),
    "an inline CID that is longer than it says": field(2, field(1, b"\x01\x55\x00\x01ab")),
    "an inline CID of 129 bytes": field(2, field(1, b"\x01\x55\x00\x81\x01" + bytes(129))),
    "a length written long": b"\x0a\x82\x00\x08\x01",
    "the largest length": b"\x0a" + b"\xff" * 9 + b"\x01",
    "a length of 65 bits": b"\x0a" + b"\xff" * 9 + b"\x02",
    "a length without end": b"\x0a" + b"\xff" * 20,
    "a huge length": b"\x0a" + b"\xff" * 8 + b"\x7f",
    "no type": field(1, b""),
    "a type of 6": field(1, b"\x08\x06"),
    "two types": field(1, b"\x08\x02\x08\x02"),
    "two contents": field(1, b"\x08\x02" + field(2, b"a") * 2),
    "a content that is cut": field(1, b"\x08\x02\x12\x05a"),
    "an unknown UnixFS field": field(1, b"\x08\x02\x48\x01"),
    "packed sizes": field(1, b"\x08\x02\x18\x00" + field(4, b"\x01\x02")),
    "a size without value": field(1, b"\x08\x02\x20"),
    "a size written long": field(1, b"\x08\x02\x20\x81\x00"),
    "a mode of 33 bits": field(1, b"\x08\x02\x38\x80\x80\x80\x80\x10"),
    "an empty mtime": field(1, b"\x08\x02" + field(8, b"")),
    "an mtime without seconds": field(1, b"\x08\x02" + field(8, b"\x15\x01\0\0\0")),
    "an mtime with a zero fraction": field(1, b"\x08\x02" + field(8, b"\x08\x01\x15\0\0\0\0")),
    "an mtime with 1e9 ns": field(1, b"\x08\x02" + field(8, b"\x08\x01\x15\x00\xca\x9a\x3b")),
    "an mtime with a varint fraction": field(1, b"\x08\x02" + field(8, b"\x08\x01\x10\x01")),
    "an mtime cut in its seconds": field(1, b"\x08\x02" + field(8, b"\x08\x80")),
    "more than 2 MiB": field(1, b"\x08\x02" + field(2, bytes(2 << 20))),
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=list(REFUSED))
def test_refused(block: bytes) -> None:
    with pytest.raises(MalformedNode):
        unixfs.parse(block)
    with pytest.raises(MalformedNode):
        unixfs.file_links(block)


LEAF = Link(cid.raw(b""), 5, b"")
NO_FILES: dict[str, bytes] = {
    "nothing": b"",
    "no data": unixfs.encode([LEAF], None),
    "a directory": unixfs.directory_node([LEAF]),
    "content": unixfs.leaf_node(b"hello"),
    "content and links": unixfs.encode([LEAF], Unixfs(FILE, b"hello", 5, (5,))),
    "a size too few": unixfs.encode([LEAF, LEAF], Unixfs(FILE, None, 5, (5,))),
    "a size too many": unixfs.encode([LEAF], Unixfs(FILE, None, 10, (5, 5))),
    "a wrong sum": unixfs.encode([LEAF], Unixfs(FILE, None, 6, (5,))),
    "no filesize": unixfs.encode([LEAF], Unixfs(FILE, None, None, (5,))),
    "a link that is cut": unixfs.file_node([(LEAF.cid, 5, 5)])[1:],
}


@pytest.mark.parametrize("block", NO_FILES.values(), ids=list(NO_FILES))
def test_only_nodes_that_list_a_file_have_parts(block: bytes) -> None:
    with pytest.raises(MalformedNode):
        unixfs.file_links(block)


def test_older_cids_are_given_back_as_version_one() -> None:
    link = field(2, field(1, b"\x12\x20" + bytes(32)) + field(2, b"old") + b"\x18\x07")
    assert unixfs.parse(link).links == (
        Link(cid.check(b"\x01\x70\x12\x20" + bytes(32)), 7, b"old"),
    )


def test_names_may_be_any_bytes() -> None:
    name = bytes(range(1, 256))
    block = unixfs.directory_node([Link(cid.raw(b""), 0, name), Link(cid.raw(b""), 0, b"\0")])
    assert [link.name for link in unixfs.parse(block).links] == [b"\0", name]
