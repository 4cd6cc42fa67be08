"""Parsers fed with junk and with valid input that was broken a little: seeded, bounded.

Whatever comes in, a value comes out or one of our own errors. Most random bytes die at the first
comparison, so most inputs here are valid ones with a few changes of structure: numbers moved to
their edges, runs left out, doubled, moved or taken from another input. How many got past the magic
is counted and told, and must be many: a fuzzer that is stopped at the door shows nothing.
"""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from narbor.errors import Rejected
from narbor.formats import dagpb, hamt, nar, narinfo, unixfs
from narbor.formats.narinfo import MalformedNarinfo
from narbor.formats.unixfs import Link, MalformedNode, Unixfs
from narbor.names import cid
from narbor.names.cid import Cid
from tests.peers import registry

ROUNDS = 6000
EDGES = [
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    4095,
    4096,
    1 << 31,
    1 << 32,
    1 << 62,
    1 << 63,
    2**64 - 1,
]
BYTES = b"\x00\x01\x08\x0a\x12\x18\x20\x28\x30\x38\x42\x7f\x80\xff()/.: \n"
LETTERS = "0123456789abcdfghijklmnpqrsvwxyz"


def archives(luck: Random) -> Iterator[bytes]:
    """Give valid NARs without end."""

    def node(name: bytes, depth: int) -> Iterator[nar.Event[bytes]]:
        kind = luck.randrange(4 if depth < 4 else 2)
        if kind == 0:
            data = luck.randbytes(luck.choice((0, 1, 7, 8, 9, 300)))
            yield nar.File(name, luck.random() < 0.5, len(data))
            if data:
                yield nar.Data(data)
        elif kind == 1:
            yield nar.Symlink(name, b"to" * luck.randint(1, 9))
        else:
            yield nar.Directory(name)
            for entry in sorted({b"n%d" % luck.randrange(30) for _ in range(luck.randrange(5))}):
                yield from node(entry, depth + 1)
            yield nar.END

    while True:
        yield b"".join(nar.write(node(b"", 0)))


def nodes(luck: Random) -> Iterator[bytes]:
    """Give valid dag-pb nodes without end: files, directories, shards, links."""
    while True:
        data = luck.randbytes(luck.choice((0, 1, 60, 127)))
        links = [
            luck.choice((cid.raw, cid.node, cid.inline))(data[:at])
            for at in range(luck.randrange(6))
        ]
        entries = [Link(link, luck.choice(EDGES), b"%02Xn" % at) for at, link in enumerate(links)]
        children = [(link, 300, luck.choice((5, 300, 70_000))) for link in links]
        bits = ((1 << len(links)) - 1).to_bytes((len(links) + 7) // 8, "big") or None
        shard = Unixfs(unixfs.HAMT_SHARD, bits, hash_type=hamt.MURMUR3, fanout=256)
        yield luck.choice(
            (
                unixfs.file_node(children, luck.choice((None, 0o555))),
                unixfs.directory_node(entries),
                unixfs.leaf_node(data, luck.choice((None, 0o644))),
                unixfs.symlink_node(data),
                unixfs.encode(entries, shard),
                unixfs.encode((), Unixfs(unixfs.FILE, mtime=(luck.choice((0, -1)), 5))),
            )
        )


def claims(luck: Random) -> Iterator[bytes]:
    """Give valid narinfos without end."""
    while True:
        part = "".join(luck.choices(LETTERS, k=32))
        lines = [
            f"StorePath: /nix/store/{part}-hello-2.{luck.randrange(20)}",
            f"URL: nar/{part}.nar.xz",
            f"Compression: {luck.choice(('xz', 'zstd', 'none', 'bzip2'))}",
            f"FileHash: sha256:{'0' * 51}1",
            f"FileSize: {luck.choice(EDGES[1:])}",
            f"NarHash: sha256:{luck.choice(('1' + '0' * 51, 'ab' * 32))}",
            f"NarSize: {luck.choice(EDGES[1:])}",
            f"References: {' '.join([f'{part}-glibc'] * luck.randrange(3))}",
            f"Deriver: {luck.choice((part + '-hello.drv', 'unknown-deriver'))}",
            f"Sig: cache-1:{'A' * 86}==",
            f"CA: {luck.choice(('fixed:r:sha256:', 'text:sha256:'))}{'0' * 51}1",
            "Unknown: field",
        ]
        luck.shuffle(lines)
        yield "".join(line + "\n" for line in lines).encode()


def harm(luck: Random, data: bytes, other: bytes, word: int) -> bytes:
    """Change one thing: a byte, a number of 64 bits, or a run of `word` bytes or so."""
    at = luck.randrange(len(data) + 1) // word * word
    end = at + luck.randint(1, 6) * word
    match luck.randrange(9):
        case 0:
            return data[:at] + bytes([luck.choice(BYTES)]) + data[at + 1 :]
        case 1:
            return data[:at] + luck.choice(EDGES).to_bytes(8, "little") + data[at + 8 :]
        case 2:
            return data[:at] + cid.varint(luck.choice(EDGES)) + data[at + 1 :]
        case 3:
            return data[:at] + data[end:]
        case 4:
            return data[:end] + data[at:end] * luck.choice((1, 2, 70)) + data[end:]
        case 5:
            to = luck.randrange(len(data) + 1) // word * word
            rest = data[:at] + data[end:]
            return rest[:to] + data[at:end] + rest[to:]
        case 6:
            return data[:at] + other[luck.randrange(len(other) + 1) // word * word :]
        case 7:
            return data[:at]
        case _:
            return data[:at] + luck.randbytes(luck.randint(1, 9)) + data[at:]


def lines_harmed(luck: Random, data: bytes) -> bytes:
    """Change one field of a narinfo: left out, given twice, emptied, or with another's value."""
    lines = data.splitlines(keepends=True)
    at, other = luck.randrange(len(lines)), luck.choice(lines)
    name = lines[at].partition(b":")[0]
    new = (b"", lines[at] * 2, name + b": \n", name + b":" + other.partition(b":")[2], other + name)
    lines[at] = luck.choice(new)
    return b"".join(lines)


def fuzz(
    what: str,
    valid: Callable[[Random], Iterator[bytes]],
    read: Callable[[bytes], object],
    error: type[Rejected],
    magic: int,
    word: int,
) -> tuple[int, int]:
    """Feed a parser; return how many inputs kept their first `magic` bytes, and how many passed."""
    luck = Random(what)
    inputs = valid(luck)
    past = good = 0
    for number in range(ROUNDS):
        whole = next(inputs)
        read(whole)
        if number % 20 == 0:
            data = luck.randbytes(luck.randrange(200))
        else:
            data = whole
            for _ in range(luck.choice((1, 1, 2, 4))):
                data = harm(luck, data, next(inputs), word)
            if b"StorePath:" in data and luck.random() < 0.5:
                data = lines_harmed(luck, whole)
        past += data[:magic] == whole[:magic]
        try:
            read(data)
        except error:
            continue
        good += 1
    registry.figure(f"fuzzed {what}", f"{ROUNDS} inputs, {past} past the magic, {good} were read")
    return past, good


def read_nar(data: bytes) -> None:
    """Read a NAR; what is read is written the same."""
    assert b"".join(nar.write(nar.parse([data]))) == data


def read_node(data: bytes) -> None:
    """Read a node in every way there is."""
    node = unixfs.parse(data)
    for other in (lambda: unixfs.file_links(data), lambda: list(hamt.entries(data, absent))):
        try:
            other()
        except MalformedNode:
            continue
    assert all(cid.check(link.cid) == link.cid for link in node.links)


def absent(name: Cid) -> bytes:
    """Give an empty node for any shard that is asked for."""
    return unixfs.directory_node(())


def read_claim(data: bytes) -> None:
    """Read a narinfo; what is read comes back from what is written."""
    claim = narinfo.parse(data)
    again = narinfo.parse(narinfo.write(claim))
    assert narinfo.write(again) == narinfo.write(claim)
    assert (again.path, again.seal, again.signatures) == (claim.path, claim.seal, claim.signatures)


def test_nars() -> None:
    past, good = fuzz("NARs", archives, read_nar, nar.MalformedNar, 24, 8)
    assert past > ROUNDS // 2
    assert 0 < good < ROUNDS


def test_nodes() -> None:
    past, good = fuzz("UnixFS nodes", nodes, read_node, MalformedNode, 1, 1)
    assert past > ROUNDS // 2
    assert 0 < good < ROUNDS


def test_narinfos() -> None:
    past, good = fuzz("narinfos", claims, read_claim, MalformedNarinfo, 4, 1)
    assert past > ROUNDS // 2
    assert 0 < good < ROUNDS


def test_a_parser_that_lets_other_errors_out_is_found() -> None:
    """`dagpb.split` raises IndexError for a node that ends too early, as it says."""
    with pytest.raises(IndexError):
        fuzz("nothing", nodes, dagpb.split, MalformedNode, 1, 1)
