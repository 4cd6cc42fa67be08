"""Blocks as they lie in the packs: what one narbor hands another.

Frames go out as they are, with their heads: nothing is unpacked or packed for it. Who gets them
hashes them, so a frame that was damaged here is found out there.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from narbor.blocks import BlockDamaged, frames
from narbor.blocks.index import Place, is_kept, key_of
from narbor.blocks.packs import PackStore
from narbor.formats import exchange, ipld
from narbor.library import Library
from narbor.names.cid import Cid

ANSWER: Final = 16 << 20
"""Bytes after which an answer ends; what is left is asked for again."""
_BATCH: Final = 256


class Exchange:
    """What other narbors may ask of a library. Safe for threads."""

    def __init__(self, library: Library, answer: int = ANSWER) -> None:
        self._store: PackStore = library.blocks
        self._answer = answer

    def missing(self, names: Sequence[Cid]) -> list[Cid]:
        """Return which of these are not here, in their order. What stands in its CID is here."""
        here = self._places(names)
        return [name for name in names if name not in here and ipld.inlined(name) is None]

    def records(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give the records of those that are here, in their order, then the closing record.

        Raises BlockDamaged where a pack ends before a frame.
        """
        here = self._places(names)
        size = done = 0
        while done < len(names) and size < self._answer:
            batch = names[done : done + _BATCH]
            cut = self._fitting(batch, here, self._answer - size)
            found = [name for name in batch[:cut] if name in here]
            for record in self._records(found, [here[name] for name in found]):
                size += len(record)
                yield record
            done += cut
        yield exchange.closing(done)

    def _fitting(self, names: Sequence[Cid], here: dict[Cid, Place], room: int) -> int:
        """Return how many of these fill the room; the last of them may go beyond it."""
        for at, name in enumerate(names, 1):
            room -= here[name].length if name in here else 0
            if room <= 0:
                return at
        return len(names)

    def _places(self, names: Sequence[Cid]) -> dict[Cid, Place]:
        """Return where those lie that are here."""
        keys = {name: key_of(name) for name in names if is_kept(name)}
        found = self._store.index.find(list(keys.values()))
        return {name: found[key] for name, key in keys.items() if key in found}

    def _records(self, names: Sequence[Cid], places: Sequence[Place]) -> Iterator[bytes]:
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


def _is_of(name: Cid, record: bytes) -> bool:
    """Tell whether a record is whole and of this block."""
    found = next(frames.scan(record, 0), None)
    return found is not None and found.name == name and found.offset + found.length == len(record)
