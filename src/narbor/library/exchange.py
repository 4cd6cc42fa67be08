"""Blocks as they lie in the packs: what one narbor hands another.

Frames go out as they are, with their heads: nothing is unpacked or packed for it. Who gets them
hashes them, so a frame that was damaged here is found out there. Only where the asker names blocks
that it has are others packed anew, behind these: what is new in a new version is little.
"""

import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from narbor.blocks import BlockDamaged, thin
from narbor.blocks.index import Place, is_kept, key_of
from narbor.blocks.packs import PackStore
from narbor.formats import exchange, frames, ipld
from narbor.formats.exchange import Stretch, Thin
from narbor.library import Library
from narbor.names.cid import Cid

ANSWER: Final = 16 << 20
"""Bytes after which an answer ends; what is left is asked for again."""
WORK: Final = 64 << 20
"""Bytes, unpacked, that are packed anew for one answer."""
_PORTION: Final = 1 << 20
_RECORD: Final = 64  # bytes beside the frame, about

# Packing takes up to 100 MB, so it is done once at a time in each process.
_PACKING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Portion:
    """What of a stretch is looked for in one go: the places [start, stop) in what is wanted.

    `basis` are places in the stretch's basis; where there are none, records go out as they lie.
    """

    stretch: int
    basis: tuple[int, ...]
    start: int
    stop: int


class Exchange:
    """What other narbors may ask of a library. Safe for threads."""

    def __init__(
        self,
        library: Library,
        answer: int = ANSWER,
        work: int = WORK,
        withheld: Container[bytes] = frozenset(),
    ) -> None:
        """Give what is in `library`, but for blocks whose SHA-256 is `withheld`.

        An answer has about so many bytes, of which at most `work`, unpacked, were packed anew.
        """
        self._library = library
        self._withheld = withheld
        self._store: PackStore = library.blocks
        self._answer = answer
        self._work = work

    def missing(self, names: Sequence[Cid]) -> list[Cid]:
        """Return which of these are not here, in their order. What stands in its CID is here."""
        here = self._places(names)
        return [name for name in names if name not in here and ipld.inlined(name) is None]

    def kept(self, name: str) -> Cid | None:
        """Return the root that is kept under a name."""
        return self._library.catalogue.kept_root(name)

    def records(self, stretches: Sequence[Stretch]) -> Iterator[bytes]:
        """Give the records of what is wanted and here, in its order, then the closing record.

        What has a basis that is here comes in thin records, all else as it lies. Raises
        BlockDamaged, BlockMissing.
        """
        here = self._places([name for each in stretches for name in (*each.wanted, *each.basis)])
        room, work, settled = self._answer, self._work, 0
        for portion in _portions(stretches, here):
            if room <= 0 or work <= 0:
                break
            stretch = stretches[portion.stretch]
            wanted = [at for at in range(portion.start, portion.stop) if stretch.wanted[at] in here]
            if portion.basis and wanted:
                record = self._thin(stretch, portion, wanted, here)
                work -= sum(here[stretch.wanted[at]].size for at in wanted)
                room -= len(record)
                yield record
            else:
                found = [stretch.wanted[at] for at in wanted]
                for record in self._plain(found, [here[name] for name in found]):
                    room -= len(record)
                    yield record
            settled += portion.stop - portion.start
        yield exchange.closing(settled)

    def _places(self, names: Sequence[Cid]) -> dict[Cid, Place]:
        """Return where those lie that are here and given."""
        names = [name for name in names if is_kept(name) and name[-32:] not in self._withheld]
        keys = {name: key_of(name) for name in names}
        found = self._store.index.find(list(keys.values()))
        return {name: found[key] for name, key in keys.items() if key in found}

    def _thin(
        self, stretch: Stretch, portion: _Portion, wanted: Sequence[int], here: Mapping[Cid, Place]
    ) -> bytes:
        """Pack what is wanted behind the basis."""
        sizes = tuple((at, here[stretch.wanted[at]].size) for at in wanted)
        with _PACKING:
            basis = list(self._store.get_many([stretch.basis[at] for at in portion.basis]))
            blocks = list(self._store.get_many([stretch.wanted[at] for at in wanted]))
            frame = thin.pack(basis, blocks)
        made = Thin(portion.stretch, portion.basis, sizes, frame)
        return exchange.write_thin(made, len(stretch.basis))

    def _plain(self, names: Sequence[Cid], places: Sequence[Place]) -> Iterator[bytes]:
        """Give records whole; one that is no longer where it was is looked for again."""
        for name, record in zip(names, self._read(names, places), strict=True):
            if _is_of(name, record):
                yield record
                continue
            # Its pack was emptied meanwhile; or else it is damaged.
            again = self._places([name])
            found = list(self._read(list(again), list(again.values())))
            if not found or not _is_of(name, found[0]):
                raise BlockDamaged(name, "the head of its frame")
            yield found[0]

    def _read(self, names: Sequence[Cid], places: Sequence[Place]) -> Iterator[bytes]:
        whole = []
        for name, place in zip(names, places, strict=True):
            head = frames.head_size(name)
            whole.append(place._replace(offset=place.offset - head, length=place.length + head))
        return map(bytes, self._store.frames(whole))


def _portions(stretches: Sequence[Stretch], here: Mapping[Cid, Place]) -> Iterator[_Portion]:
    """Cut stretches into what is made in one go."""
    for number, stretch in enumerate(stretches):
        basis = _basis(stretch, here)
        limit = exchange.LARGEST_THIN if basis else _PORTION
        start = total = 0
        for at, name in enumerate(stretch.wanted):
            place = here.get(name)
            size = 0 if place is None else place.size if basis else place.length + _RECORD
            if total and total + size > limit:
                yield _Portion(number, basis, start, at)
                start, total = at, 0
            total += size
        if start < len(stretch.wanted):
            yield _Portion(number, basis, start, len(stretch.wanted))


def _basis(stretch: Stretch, here: Mapping[Cid, Place]) -> tuple[int, ...]:
    """Return what of the basis is here and is built on."""
    found, room = [], exchange.LARGEST_BASIS
    for at, name in enumerate(stretch.basis):
        place = here.get(name)
        if place is not None and place.size <= room:
            found.append(at)
            room -= place.size
    return tuple(found)


def _is_of(name: Cid, record: bytes) -> bool:
    """Tell whether a record is whole and of this block."""
    found = next(frames.scan(record, 0), None)
    return found is not None and found.name == name and found.offset + found.length == len(record)
