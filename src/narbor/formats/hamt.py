"""Directories, and the hash array mapped tries that large ones become.

A directory whose node would take more than 256 KiB is cut into shards. A shard has up to 256 links,
one for each value of the next 8 bits of a name's hash; the link's name is that value in hex,
followed by the entry's name, or by nothing when two or more entries share it and a shard below
tells them apart. The hash is the first half of MurmurHash3 x64_128 over the name, most significant
bits first. The bitfield that says which values are taken is big-endian without leading zero bytes.

Specification: https://specs.ipfs.tech/unixfs/ (HAMT), but where its prose and Kubo differ, Kubo.
A shard's order is the order of hashes: whoever wants names in order must sort, as `entries` does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from operator import attrgetter
from typing import Final

import mmh3

from narbor.errors import Rejected
from narbor.formats import dagpb, unixfs
from narbor.formats.unixfs import Link, MalformedNode, Unixfs
from narbor.names.cid import Cid

LARGEST_NODE: Final = 262_144
"""Bytes a basic directory may take (profile unixfs-v1-2025: block bytes; equal stays basic)."""

FANOUT: Final = 256
LARGEST_FANOUT: Final = 1024
MURMUR3: Final = 0x22
_HASH_BITS: Final = 64


class DuplicateName(Rejected):
    """Two entries of one directory have the same name, or names of the same 64-bit hash.

    The latter does not happen by chance, but MurmurHash3 is easily run backwards.
    """


def directory(
    entries: Iterable[Link], put: Callable[[bytes], Cid], largest: int = LARGEST_NODE
) -> tuple[Cid, int]:
    """Make a directory of `entries`, in any order; return its root and its tsize.

    It is one node, or a HAMT when that node would take more than `largest` bytes. Every block goes
    to `put`, children first. Raises DuplicateName.
    """
    links = sorted(entries, key=attrgetter("name"))
    for one, other in pairwise(links):
        if one.name == other.name:
            raise DuplicateName(f"a directory with two entries {one.name!r}")
    if 4 + sum(map(dagpb.link_size, links)) <= largest:
        block = unixfs.directory_node(links)
        return put(block), len(block) + sum(link.tsize for link in links)
    return _shard([(_hash(link.name), link) for link in links], _HASH_BITS, put)


def update(
    root_block: bytes,
    changes: Mapping[bytes, Link | None],
    get: Callable[[Cid], bytes],
    put: Callable[[bytes], Cid],
    largest: int = LARGEST_NODE,
) -> tuple[Cid, int]:
    """Change a directory: names get the links given, None takes a name out; absent is no error.

    The key is the name, whatever the link says.

    Gives exactly what `directory` would make of all entries, but of a HAMT only the shards on the
    way to a changed name are read and written. After a removal as many more may be read as it
    takes to tell that one node would still be too small: a few dozen in a large directory.
    Raises DuplicateName, and MalformedNode, also for a HAMT that was not made here (fanout).
    """
    node = unixfs.parse(root_block)
    if node.data is not None and node.data.kind == unixfs.DIRECTORY:
        return _rebuilt({link.name: link for link in node.links}, changes, put, largest)
    wanted = [(_hash(name), name, link) for name, link in changes.items()]
    links = _changed(node, wanted, _HASH_BITS, get, put)
    if not _exceeds(links, largest - 4, get):
        shard = unixfs.parse(_shard_block(links))
        found = {link.name: link for link in _walk(shard, get)}
        if 4 + sum(map(dagpb.link_size, found.values())) <= largest:
            return _rebuilt(found, {}, put, largest)
    return _put_shard(links, put)


def _rebuilt(
    found: dict[bytes, Link],
    changes: Mapping[bytes, Link | None],
    put: Callable[[bytes], Cid],
    largest: int,
) -> tuple[Cid, int]:
    whole: dict[bytes, Link | None] = {**found, **changes}
    links = (Link(link.cid, link.tsize, name) for name, link in whole.items() if link is not None)
    return directory(links, put, largest)


_Change = tuple[int, bytes, Link | None]


def _changed(
    node: unixfs.Node | None,
    changes: list[_Change],
    left: int,
    get: Callable[[Cid], bytes],
    put: Callable[[bytes], Cid],
) -> list[Link]:
    """Return the links of a shard after changes to entries that belong into it."""
    if left == 0:
        raise MalformedNode("a HAMT deeper than its hash has bits")
    left -= 8
    slots: dict[int, Link] = {}
    if node is not None:
        _check_shard(node, FANOUT)
        slots = {int(link.name[:2], 16): link for link in node.links}
    parted: dict[int, list[_Change]] = {}
    for change in changes:
        parted.setdefault(change[0] >> left & 255, []).append(change)
    for index, inside in parted.items():
        link = _slot(slots.pop(index, None), inside, left, get, put)
        if link is not None:
            slots[index] = Link(link.cid, link.tsize, b"%02X%b" % (index, link.name))
    return [slots[index] for index in sorted(slots)]


def _slot(
    old: Link | None,
    changes: list[_Change],
    left: int,
    get: Callable[[Cid], bytes],
    put: Callable[[bytes], Cid],
) -> Link | None:
    """Return what stands in one slot after changes: an entry, a shard without a name, nothing."""
    if old is not None and len(old.name) == 2:
        below = _changed(unixfs.parse(get(old.cid)), changes, left, get, put)
        if len(below) == 1 and len(below[0].name) > 2:
            return Link(below[0].cid, below[0].tsize, below[0].name[2:])
        return Link(*_put_shard(below, put), b"") if below else None
    entries: dict[bytes, tuple[int, Link]] = {}
    if old is not None:
        name = old.name[2:]
        entries[name] = _hash(name), Link(old.cid, old.tsize, name)
    for hashed, name, link in changes:
        entries.pop(name, None)
        if link is not None:
            entries[name] = hashed, Link(link.cid, link.tsize, name)
    if len(entries) > 1:
        return Link(*_shard(list(entries.values()), left, put), b"")
    return next((link for _, link in entries.values()), None)


_SMALLEST_LINK: Final = 13
"""Bytes that no entry's link is below: an identity CID of 4, a name of 1."""


def _exceeds(links: Iterable[Link], most: int, get: Callable[[Cid], bytes]) -> bool:
    """Tell whether the entries below surely take more than `most` bytes in one node.

    Shards are opened from the top down, until their entries, two in each at least, are enough.
    """
    ahead = list(links)
    known = sum(_least(link) for link in ahead)
    at = 0
    while known <= most and at < len(ahead):
        link = ahead[at]
        at += 1
        if len(link.name) == 2:
            below = unixfs.parse(get(link.cid)).links
            known += sum(map(_least, below)) - _least(link)
            ahead += below
    return known > most


def _least(link: Link) -> int:
    """Return how many bytes the entries of a shard's link take in one node, at least."""
    if len(link.name) == 2:
        return 2 * _SMALLEST_LINK
    return dagpb.link_size(Link(link.cid, link.tsize, link.name[2:]))


def entries(root_block: bytes, get: Callable[[Cid], bytes]) -> Iterator[Link]:
    """Iterate the entries of a directory, basic or HAMT, in the order of their names.

    `get` gives the blocks of the shards below. Raises MalformedNode, also for a name that no
    directory can have, and for an entry that stands where its hash does not belong.
    """
    node = unixfs.parse(root_block)
    if node.data is None or node.data.kind not in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
        raise MalformedNode("a node that is no directory")
    if node.data.kind == unixfs.DIRECTORY:
        found = list(node.links)
    else:
        found = list(_walk(node, get))
    found.sort(key=attrgetter("name"))
    last = None
    for link in found:
        name = link.name
        if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
            raise MalformedNode(f"a directory with an entry {name[:80]!r}")
        if name == last:
            raise MalformedNode(f"a directory with two entries {name[:80]!r}")
        last = name
    return iter(found)


def unsorted(root_block: bytes, get: Callable[[Cid], bytes]) -> Iterator[Link]:
    """Iterate the entries of a directory as they are met: shards are asked for as it goes on.

    Raises MalformedNode, also midway.
    """
    node = unixfs.parse(root_block)
    if node.data is None or node.data.kind not in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
        raise MalformedNode("a node that is no directory")
    return iter(node.links) if node.data.kind == unixfs.DIRECTORY else _walk(node, get)


def find(root_block: bytes, name: bytes, get: Callable[[Cid], bytes]) -> Link | None:
    """Return the entry `name` of a directory, or None; only the shards on its way are asked for.

    Raises MalformedNode.
    """
    if not name:
        return None
    node, fanout, depth = unixfs.parse(root_block), None, 0
    if node.data is not None and node.data.kind == unixfs.DIRECTORY:
        return next((link for link in node.links if link.name == name), None)
    hashed = _hash(name)
    while True:
        width, fanout = _check_shard(node, fanout)
        bits = fanout.bit_length() - 1
        depth += 1
        if depth * bits > _HASH_BITS:
            raise MalformedNode("a HAMT deeper than its hash has bits")
        prefix = b"%0*X" % (width, hashed >> _HASH_BITS - depth * bits & fanout - 1)
        for link in node.links:
            if link.name == prefix:
                node = unixfs.parse(get(link.cid))
                break
            if link.name.startswith(prefix):
                return Link(link.cid, link.tsize, name) if link.name[width:] == name else None
        else:
            return None


def _hash(name: bytes) -> int:
    return mmh3.hash64(name, 0, signed=False)[0]


def _shard(
    hashed: list[tuple[int, Link]], left: int, put: Callable[[bytes], Cid]
) -> tuple[Cid, int]:
    """Make the shard of entries that agree in all but the last `left` bits of their hash."""
    if left == 0:
        raise DuplicateName(f"entries with one hash: {hashed[0][1].name!r}, {hashed[1][1].name!r}")
    left -= 8
    buckets: dict[int, list[tuple[int, Link]]] = {}
    for pair in hashed:
        buckets.setdefault(pair[0] >> left & 255, []).append(pair)
    links = []
    for index in sorted(buckets):
        bucket = buckets[index]
        if len(bucket) == 1:
            cid, tsize, name = bucket[0][1]
            links.append(Link(cid, tsize, b"%02X%b" % (index, name)))
        else:
            links.append(Link(*_shard(bucket, left, put), b"%02X" % index))
    return _put_shard(links, put)


def _put_shard(links: list[Link], put: Callable[[bytes], Cid]) -> tuple[Cid, int]:
    block = _shard_block(links)
    return put(block), len(block) + sum(link.tsize for link in links)


def _shard_block(links: list[Link]) -> bytes:
    """Write the shard with these links, which are in order."""
    bitfield = sum(1 << int(link.name[:2], 16) for link in links)
    bits = bitfield.to_bytes((bitfield.bit_length() + 7) // 8, "big")
    message = Unixfs(unixfs.HAMT_SHARD, bits or None, hash_type=MURMUR3, fanout=FANOUT)
    return unixfs.encode(links, message)


def _walk(root: unixfs.Node, get: Callable[[Cid], bytes]) -> Iterator[Link]:
    """Iterate the entries of a HAMT, in the order of their hashes.

    An entry must stand where its hash says, so no shard can be used twice; and no shard but the
    root may be empty. Together this bounds the work by what is really there.
    """
    width, fanout = _check_shard(root, None)
    bits = fanout.bit_length() - 1
    stack = [(iter(root.links), 0, _HASH_BITS - bits)]
    while stack:
        links, path, left = stack[-1]
        link = next(links, None)
        if link is None:
            stack.pop()
            continue
        here = path << bits | int(link.name[:width], 16)
        if len(link.name) > width:
            name = link.name[width:]
            if _hash(name) >> left != here:
                raise MalformedNode(f"the HAMT entry {name[:80]!r} stands where it does not belong")
            yield Link(link.cid, link.tsize, name)
            continue
        if left < bits:
            raise MalformedNode("a HAMT deeper than its hash has bits")
        node = unixfs.parse(get(link.cid))
        _check_shard(node, fanout)
        if not node.links:
            raise MalformedNode("an empty shard below the root of a HAMT")
        stack.append((iter(node.links), here, left - bits))


def _check_shard(node: unixfs.Node, expected: int | None) -> tuple[int, int]:
    """Check what a shard says of itself; return the length of its prefixes and its fanout."""
    shard = node.data
    if shard is None or shard.kind != unixfs.HAMT_SHARD:
        raise MalformedNode("a node that is no HAMT shard")
    fanout = shard.fanout or 0
    if not 8 <= fanout <= LARGEST_FANOUT or fanout & fanout - 1:
        raise MalformedNode(f"a HAMT with a fanout of {fanout}")
    if expected not in (None, fanout):
        raise MalformedNode(f"a shard with a fanout of {fanout} below one with {expected}")
    if shard.hash_type != MURMUR3:
        raise MalformedNode(f"a HAMT with the hash function {shard.hash_type}")
    width = len(b"%X" % (fanout - 1))
    seen = 0
    for link in node.links:
        index = _index(link.name[:width], width)
        if index >= fanout or seen >> index:
            raise MalformedNode(f"a HAMT link {link.name[:80]!r} that is out of order or range")
        seen |= 1 << index
    bits = shard.data or b""
    if len(bits) > fanout // 8 or int.from_bytes(bits, "big") != seen:
        raise MalformedNode(
            f"a HAMT shard whose bitfield {bits[:128].hex()} is not that of its links"
        )
    return width, fanout


def _index(prefix: bytes, width: int) -> int:
    """Read the prefix of a link's name: `width` upper-case hexadecimal digits."""
    try:
        index = int(prefix, 16)
    except ValueError:
        index = -1
    if b"%0*X" % (width, index) != prefix:
        raise MalformedNode(f"a HAMT link with the prefix {prefix!r}")
    return index
