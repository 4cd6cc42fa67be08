"""How two narbors speak of blocks: lists of names, and the record that closes an answer.

    names     binary CIDs end to end; each tells by itself where it ends
    records   those of a pack (blocks/frames.py), behind the last of them the closing record:
              magic 0x184D2A5C, length 8, "done", how many names were looked for (u32)

The closing record is a skippable frame like the heads of a pack, so an answer is a zstd stream.
See docs/formats/exchange.md.
"""

import struct
from collections.abc import Iterable
from typing import Final

from narbor.errors import Rejected
from narbor.names import cid
from narbor.names.cid import Cid

NAMES: Final = "application/vnd.narbor.names"
FRAMES: Final = "application/vnd.narbor.frames"
MOST_NAMES: Final = 10_000
"""Names in one request."""
LARGEST_NAMES: Final = 512 << 10
"""Bytes that a list of names may have."""
_CLOSING: Final = struct.Struct("<II4sI")
_MAGIC: Final = 0x184D2A5C
CLOSING: Final = _CLOSING.size


class MalformedExchange(Rejected):
    """A list of names, or an answer, is none."""


def write_names(names: Iterable[Cid]) -> bytes:
    """Write CIDs end to end."""
    return b"".join(names)


def read_names(data: bytes) -> list[Cid]:
    """Read CIDs that lie end to end, each given once; raises MalformedExchange."""
    names: dict[Cid, None] = {}
    at = 0
    while at < len(data):
        try:
            name, at = cid.read(data, at)
        except cid.MalformedCid as error:
            raise MalformedExchange(f"byte {at} of the names: {error}") from error
        names[name] = None
        if len(names) > MOST_NAMES:
            raise MalformedExchange(f"more than {MOST_NAMES:,} names; ask in several requests")
    return list(names)


def closing(looked_for: int) -> bytes:
    """Write the record that ends an answer: so many of the names asked for are settled."""
    return _CLOSING.pack(_MAGIC, CLOSING - 8, b"done", looked_for)


def read_closing(data: bytes) -> int:
    """Return how many names an answer settled, of its last bytes; raises MalformedExchange."""
    if len(data) == CLOSING:
        magic, size, word, looked_for = _CLOSING.unpack(data)
        if (magic, size, word) == (_MAGIC, CLOSING - 8, b"done"):
            return int(looked_for)
    raise MalformedExchange(f"{len(data)} bytes where an answer should end with its closing record")
