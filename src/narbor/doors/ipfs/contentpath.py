"""Where a content path leads: through directories, and through documents with links.

    /ipfs/CID/a/b     CID ─▶ (shards) ─▶ a ─▶ (shards) ─▶ b

Raises what becomes the answer: Missing (404, or 412 where only what is cached was asked for),
NoEntry (404). Nothing is followed that is no link: a symlink ends the path.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from narbor.errors import Refused, Unavailable
from narbor.formats import hamt, ipld, unixfs
from narbor.formats.dagcbor import Link, Value
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from narbor.names.cidtext import Written


class Missing(Unavailable):
    """A block on the way is not here."""

    def __init__(self, name: bytes) -> None:
        super().__init__(f"the block {cidtext.text(name)} is not here")


class NoEntry(Refused):
    """The way is known to lead nowhere."""


class Blocks(Protocol):
    """The blocks of a store, whatever they are of. All of it may raise Unavailable."""

    def block(self, name: Cid) -> bytes | None:
        """Return a block, also one that stands in its CID; None if it is not here."""
        ...

    def block_size(self, name: Cid) -> int | None:
        """Return the length of a block without reading it; None if it is not here."""
        ...

    def blocks(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give blocks in the order asked for; raises Unavailable where one is not here."""
        ...

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the bytes [start, stop) of the UnixFS file at `root`."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads.

    `roots`: what each part of the path named, the first CID included; the last is where it ends.
    `way`: every block before that, shards included, in the order they are met.
    `rest`: parts that lead on inside a document, but to no link.
    """

    roots: tuple[Written, ...]
    way: tuple[Written, ...]
    rest: tuple[str, ...] = ()

    @property
    def written(self) -> Written:
        """The CID where it ends, as it stands in the last link."""
        return self.roots[-1]

    @property
    def cid(self) -> Cid:
        """The CIDv1 where it ends."""
        return cidtext.known(self.roots[-1])


def need(blocks: Blocks, written: bytes) -> bytes:
    """Return a block by its CID as it stands; raises Missing."""
    block = blocks.block(cidtext.known(written))
    if block is None:
        raise Missing(written)
    return block


def resolve(blocks: Blocks, root: Written, parts: Sequence[bytes]) -> Place:
    """Follow a path from `root`; raises Missing, NoEntry, and Rejected for blocks that are junk."""
    roots, way = [root], []
    left = list(parts)
    while left:
        here = roots[-1]
        name, block = cidtext.known(here), need(blocks, here)
        codec = cid.codec(name)
        if codec == cid.DAG_PB:
            link, shards = _entry(blocks, block, left.pop(0), here)
            way += [here, *shards]
        elif codec in ipld.DOCUMENTS:
            found = _through(ipld.document(name, block), left, here)
            if found is None:
                rest = tuple(part.decode("utf-8", "replace") for part in left)
                return Place(tuple(roots), tuple(way), rest)
            link, left = found
            way.append(here)
        else:
            raise NoEntry(f"there is nothing called {_shown(left[0])} in {cidtext.text(here)}")
        roots.append(link)
    return Place(tuple(roots), tuple(way))


def _entry(
    blocks: Blocks, block: bytes, name: bytes, here: Written
) -> tuple[Written, list[Written]]:
    """Find a directory's entry; return its link, and the shards on the way."""
    met, seen = [], [block]

    def get(shard: Cid) -> bytes:
        # Asked for one after the other, each stands in the one before.
        written = ipld.as_written(seen[-1], [shard])[0]
        seen.append(need(blocks, written))
        met.append(written)
        return seen[-1]

    data = unixfs.parse(block).data
    if data is None or data.kind not in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
        raise NoEntry(f"{cidtext.text(here)} is no directory: nothing is called {_shown(name)}")
    found = hamt.find(block, name, get)
    if found is None:
        raise NoEntry(f"there is nothing called {_shown(name)} in {cidtext.text(here)}")
    return ipld.as_written(seen[-1], [found.cid])[0], met


def _through(value: Value, parts: list[bytes], here: Written) -> tuple[Written, list[bytes]] | None:
    """Go through a document to its next link; None if the path ends inside."""
    for number, part in enumerate(parts, 1):
        try:
            value = ipld.step(value, part.decode())
        except (KeyError, UnicodeDecodeError):
            raise NoEntry(
                f"there is nothing called {_shown(part)} in {cidtext.text(here)}"
            ) from None
        if isinstance(value, Link):
            return Written(value.cid), parts[number:]
    return None


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
