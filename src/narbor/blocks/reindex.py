"""Make the index again from the packs alone.

Unlike the reading of a tail after a power cut, this goes on behind what is damaged: a frame that
does not hold what its head says is left out, and where a head is torn the next one is looked for.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from narbor.blocks.codec import Codec
from narbor.blocks.files import FileLayer
from narbor.blocks.index import Index, Place, key_of
from narbor.errors import Unavailable
from narbor.formats import frames
from narbor.names import cid

_STEP: Final = 16 << 20
_HEAD: Final = (0x184D2A5B).to_bytes(4, "little")


class PackInUse(Unavailable):
    """Another process writes to a pack."""


@dataclass(frozen=True, slots=True)
class Reread:
    """A pack was read: blocks that were noted, frames that are damaged, bytes that are neither."""

    name: str
    blocks: int
    damaged: int
    skipped: int


def reindex(files: FileLayer, index: Index) -> Iterator[Reread]:
    """Read all packs into an empty index; give each as it is done.

    All packs are owned meanwhile, so that none grows. Raises PackInUse.
    """
    names = [name for name in files.names() if name.endswith(".pack")]
    with ExitStack() as owned:
        for name in names:
            pack = files.adopt(name)
            if pack is None:
                raise PackInUse(f"another process writes to {name}; try again when it has ended")
            owned.callback(pack.close)
        for name in names:
            yield _read(files, name, index)


def _read(files: FileLayer, name: str, index: Index) -> Reread:
    id = index.add_pack(name, 0)
    codec = Codec(frames.DEFAULT_LEVEL)
    at = good_end = len(frames.MAGIC)
    size = files.size(name)
    blocks = damaged = skipped = 0
    while at < size:
        data = files.read(name, at, _STEP)
        places: list[tuple[bytes, Place]] = []
        end = at
        for found in frames.scan(data, at):
            start = found.offset - at
            block = codec.decompress(data[start : start + found.length], found.size)
            end = found.offset + found.length
            if block is None or not cid.matches(found.name, block):
                damaged += 1
                continue
            place = Place(id, found.offset, found.length, found.size)
            places.append((key_of(found.name), place))
            good_end = end
        blocks += len(places)
        index.add(places, {id: good_end})
        if end == at:
            end += _to_next_head(data)
            skipped += end - at
        at = end
    return Reread(name, blocks, damaged, skipped)


def _to_next_head(data: bytes) -> int:
    """Return how many bytes lie before what may be a head; all but three where there is none."""
    found = data.find(_HEAD, 1)
    return found if found > 0 else max(len(data) - 3, 1)
