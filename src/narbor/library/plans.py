"""Plans: where the bytes of an archive lie, in stretches that are read in one go.

A plan is made from the archive's nodes and the index. A store that is only read keeps plans for as
long as the index stays the same: what is asked for again costs no look-up, and neither does the
rest of a body that is on its way while frames move.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Final, NamedTuple, TypeAlias

from narbor.blocks.index import Place
from narbor.dag.splice import Leaf, Piece
from narbor.formats import zstdframe
from narbor.names.cid import Cid

CHUNK: Final = 512 << 10  # bytes that a stretch gives, unless one leaf or one run is more
_BATCH: Final = 1024  # pieces looked up at once
_GAP: Final = 32 << 10  # frames so close in a pack are read in one go
_LIMIT: Final = 32 << 20  # bytes that kept plans may weigh
_WEIGHT: Final = 200  # of a frame or a stretch; of inline bytes, their length and half of this


class Frame(NamedTuple):
    """A leaf's frame, `start` to `stop` in what a stretch reads, and the leaf's size."""

    start: int
    stop: int
    size: int


Part: TypeAlias = "bytes | Frame"


@dataclass(frozen=True, slots=True)
class Stretch:
    """`length` bytes at `offset` in a pack, and what they give with inline bytes between."""

    pack: int
    offset: int
    length: int
    size: int
    parts: tuple[Part, ...]


Plan: TypeAlias = tuple[Stretch, ...]


class _Open:
    """A stretch that may grow. `packed`: frames go out as they are."""

    def __init__(self, packed: bool) -> None:
        self._packed = packed
        self._parts: list[Part] = []
        self._pack = self._offset = self._end = self.size = 0

    def put(self, inline: bytes) -> None:
        """Add inline bytes."""
        part = zstdframe.stored(inline) if self._packed else inline
        self._parts.append(part)
        self.size += len(part)

    def reaches(self, place: Place) -> bool:
        """Tell whether a frame can be read in the same go."""
        near = place.pack == self._pack and 0 <= place.offset - self._end <= _GAP
        return near or not self._end

    def add(self, place: Place) -> None:
        """Add a leaf."""
        if not self._end:
            self._pack, self._offset = place.pack, place.offset
        start, self._end = place.offset - self._offset, place.offset + place.length
        self._parts.append(Frame(start, start + place.length, place.size))
        self.size += place.length if self._packed else place.size

    def close(self) -> Stretch:
        """Return it as it is."""
        length = self._end - self._offset
        return Stretch(self._pack, self._offset, length, self.size, tuple(self._parts))


def stretches(
    pieces: Iterable[Piece], places: Callable[[Sequence[Cid]], list[Place]], packed: bool
) -> Iterator[Stretch]:
    """Plan a splice as its content, or with `packed` as the frames of its leaves, end to end."""
    waiting, here = iter(pieces), _Open(packed)
    while batch := list(islice(waiting, _BATCH)):
        found = iter(places([piece.cid for piece in batch if isinstance(piece, Leaf)]))
        for piece in batch:
            if here.size >= CHUNK:
                yield here.close()
                here = _Open(packed)
            if isinstance(piece, bytes):
                here.put(piece)
                continue
            place = next(found)
            if not here.reaches(place):
                yield here.close()
                here = _Open(packed)
            here.add(place)
    if here.size:
        yield here.close()


class Plans:
    """The plans of one store, the least used forgotten first. Safe for threads."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._lock = Lock()
        self._plans: OrderedDict[tuple[Cid, bool], tuple[Plan, int]] = OrderedDict()
        self._weight = 0
        self._version: int | None = None

    def get(self, root: Cid, packed: bool, version: int) -> Plan | None:
        """Return what is kept of an archive, if it was made at this version of the index."""
        with self._lock:
            self._settle(version)
            found = self._plans.get((root, packed))
            if found is None:
                return None
            self._plans.move_to_end((root, packed))
            return found[0]

    def keep(self, root: Cid, packed: bool, version: int, plan: Plan) -> None:
        """Keep a plan whose places were looked up at this version or later."""
        weight = sum(map(_weigh, plan))
        with self._lock:
            if (
                version != self._version
                or weight * 2 > self._limit
                or (root, packed) in self._plans
            ):
                return
            self._plans[root, packed] = plan, weight
            self._weight += weight
            while self._weight > self._limit:
                _, (_, gone) = self._plans.popitem(last=False)
                self._weight -= gone

    def _settle(self, version: int) -> None:
        if version != self._version:
            self._version = version
            self._plans.clear()
            self._weight = 0

    def __len__(self) -> int:
        return len(self._plans)


def _weigh(stretch: Stretch) -> int:
    inline = (len(part) - _WEIGHT // 2 for part in stretch.parts if isinstance(part, bytes))
    return _WEIGHT * (1 + len(stretch.parts)) + sum(inline)
