"""How two narbors speak of blocks: lists of names, and the records that are not those of packs.

    names       binary CIDs end to end; each tells by itself where it ends
    stretches   names that are wanted, each behind what the asker has that resembles them
    thin        a record with wanted blocks, packed together with what the asker has
    closing     the record that ends an answer: how many names were looked for

Both records are skippable frames like the heads of a pack, so an answer is a zstd stream.
See docs/formats/exchange.md.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from narbor.errors import Rejected
from narbor.names import cid
from narbor.names.cid import Cid

NAMES: Final = "application/vnd.narbor.names"
STRETCHES: Final = "application/vnd.narbor.stretches"
FRAMES: Final = "application/vnd.narbor.frames"
MOST_NAMES: Final = 10_000
"""Names in one request."""
LARGEST_NAMES: Final = 512 << 10
"""Bytes that a list of names may have."""
LARGEST_BASIS: Final = 24 << 20
"""Bytes of the blocks, unpacked, that a thin record builds on."""
LARGEST_THIN: Final = 8 << 20
"""Bytes of the blocks, unpacked, that a thin record carries, if they are more than one."""
_CLOSING: Final = struct.Struct("<II4sI")
_CLOSING_MAGIC: Final = 0x184D2A5C
_THIN_MAGIC: Final = 0x184D2A5D
_THIN: Final = struct.Struct("<IIII")
_PAIR: Final = struct.Struct("<II")
CLOSING: Final = _CLOSING.size
LARGEST_FRAMES: Final = 16 << 20
"""Bytes of records in one request."""
LARGEST_UNPACKED: Final = 256 << 20
"""Bytes of the blocks, unpacked, in one request."""
LARGEST_OUTCOME: Final = 8 << 20
MOST_TOLD: Final = 1000
"""Failures that are told of one by one."""


class MalformedExchange(Rejected):
    """A list of names, or an answer, is none."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks that are wanted, and those that the asker has and that are likely to resemble them."""

    wanted: tuple[Cid, ...]
    basis: tuple[Cid, ...] = ()


@dataclass(frozen=True, slots=True)
class Thin:
    """A thin record: blocks of one stretch (by number, from 0), packed behind some of its basis.

    `built_on` are places in the basis, rising; `sizes` are places in `wanted` with the lengths of
    the blocks, in the order in which these lie end to end in `frame`.
    """

    stretch: int
    built_on: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    frame: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """An item of a cache that could not be taken in, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of keeping a root. Where blocks lack below it, they are `missing`, and that is all.

    `cache`: it is a binary cache: so many of its items are new, so many were known, and some could
    not be taken in, of which at most MOST_TOLD are in `failures`.
    """

    missing: tuple[Cid, ...] = ()
    cache: bool = False
    admitted: int = 0
    known: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()


def write_names(names: Iterable[Cid]) -> bytes:
    """Write CIDs end to end."""
    return b"".join(names)


def read_names(data: bytes) -> list[Cid]:
    """Read CIDs that lie end to end, each given once; raises MalformedExchange."""
    names: dict[Cid, None] = {}
    at = 0
    while at < len(data):
        name, at = _name(data, at)
        names[name] = None
        if len(names) > MOST_NAMES:
            raise MalformedExchange(_TOO_MANY)
    return list(names)


def write_stretches(stretches: Iterable[Stretch]) -> bytes:
    """Write stretches: of each how many names its basis has, how many are wanted, then both."""
    parts: list[bytes] = []
    for each in stretches:
        parts += (_PAIR.pack(len(each.basis), len(each.wanted)), *each.basis, *each.wanted)
    return b"".join(parts)


def read_stretches(data: bytes) -> list[Stretch]:
    """Read stretches; nothing is wanted twice. Raises MalformedExchange."""
    stretches: list[Stretch] = []
    met: set[Cid] = set()
    count = at = 0
    while at < len(data):
        if len(data) - at < _PAIR.size:
            raise MalformedExchange(f"byte {at} of the stretches: they end too early")
        old, new = _PAIR.unpack_from(data, at)
        at += _PAIR.size
        count += old + new
        if count > MOST_NAMES or len(stretches) >= MOST_NAMES:
            raise MalformedExchange(_TOO_MANY)
        names = []
        for _ in range(old + new):
            name, at = _name(data, at)
            names.append(name)
        wanted = names[old:]
        if len(met | set(wanted)) != len(met) + new:
            raise MalformedExchange("a block is wanted twice")
        met.update(wanted)
        stretches.append(Stretch(tuple(wanted), tuple(names[:old])))
    return stretches


_TOO_MANY: Final = f"more than {MOST_NAMES:,} names; ask in several requests"


def _name(data: bytes, at: int) -> tuple[Cid, int]:
    try:
        return cid.read(data, at)
    except cid.MalformedCid as error:
        raise MalformedExchange(f"byte {at} of the names: {error}") from error


def write_thin(thin: Thin, basis: int) -> bytes:
    """Write a thin record; its stretch has so many names in its basis."""
    marks = bytearray(-(-basis // 8))
    for at in thin.built_on:
        marks[at // 8] |= 1 << at % 8
    pairs = b"".join(_PAIR.pack(*pair) for pair in thin.sizes)
    length = _THIN.size - 8 + len(marks) + len(pairs) + len(thin.frame)
    head = _THIN.pack(_THIN_MAGIC, length, thin.stretch, len(thin.sizes))
    return b"".join((head, marks, pairs, thin.frame))


def read_thin(data: bytes, at: int, asked: Sequence[Stretch]) -> tuple[Thin, int]:
    """Read the thin record at `at`, which answers these stretches; return it and its end.

    Raises MalformedExchange for what is none.
    """
    if len(data) - at < _THIN.size:
        raise MalformedExchange(f"byte {at} of an answer: it ends too early")
    magic, length, number, count = _THIN.unpack_from(data, at)
    end = at + 8 + length
    if magic != _THIN_MAGIC or end > len(data):
        raise MalformedExchange(f"byte {at} of an answer: no record that is known, or half of one")
    if number >= len(asked) or count > len(asked[number].wanted):
        raise MalformedExchange(f"byte {at} of an answer: a thin record of what nobody asked for")
    stretch = asked[number]
    pairs = at + _THIN.size + -(-len(stretch.basis) // 8)
    frame = pairs + count * _PAIR.size
    if frame > end:
        raise MalformedExchange(f"byte {at} of an answer: a thin record that ends too early")
    marks = data[at + _THIN.size : pairs]
    built_on = tuple(n for n in range(len(stretch.basis)) if marks[n // 8] >> n % 8 & 1)
    sizes = tuple(_PAIR.iter_unpack(data[pairs:frame]))
    if any(place >= len(stretch.wanted) for place, _ in sizes):
        raise MalformedExchange(f"byte {at} of an answer: a block that was not asked for")
    return Thin(number, built_on, sizes, data[frame:end]), end


def closing(looked_for: int) -> bytes:
    """Write the record that ends an answer: so many of the names asked for are settled."""
    return _CLOSING.pack(_CLOSING_MAGIC, CLOSING - 8, b"done", looked_for)


def read_closing(data: bytes) -> int:
    """Return how many names an answer settled, of its last bytes; raises MalformedExchange."""
    if len(data) == CLOSING:
        magic, size, word, looked_for = _CLOSING.unpack(data)
        if (magic, size, word) == (_CLOSING_MAGIC, CLOSING - 8, b"done"):
            return int(looked_for)
    raise MalformedExchange(f"{len(data)} bytes where an answer should end with its closing record")


def write_outcome(outcome: Outcome) -> bytes:
    """Write what became of a cache's items as JSON."""
    failures = [{"what": each.what, "reason": each.reason} for each in outcome.failures]
    counts = {"admitted": outcome.admitted, "known": outcome.known, "failed": outcome.failed}
    return json.dumps({**counts, "failures": failures}).encode()


def read_outcome(data: bytes) -> Outcome:
    """Read what became of a cache's items; raises MalformedExchange."""
    try:
        said = json.loads(data)
        admitted, known, failed = counts = tuple(
            said[key] for key in ("admitted", "known", "failed")
        )
        failures = [Failure(str(each["what"]), str(each["reason"])) for each in said["failures"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedExchange(f"{data[:200]!r} does not tell what became of items") from error
    if not all(type(count) is int and count >= 0 for count in counts):
        raise MalformedExchange(f"{data[:200]!r} does not tell how many items there were")
    return Outcome((), True, admitted, known, failed, tuple(failures[:MOST_TOLD]))
