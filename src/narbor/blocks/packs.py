"""Packs: blocks as zstd frames in append-only files, with an index beside them.

Each writing process owns the pack it appends to. Order of durability: frames appended, pack
synced, index committed. The index is a cache: on opening, what stands in the packs behind the
index's mark is read, checked and noted.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from narbor.blocks import BlockDamaged, BlockMissing
from narbor.blocks.codec import Codec
from narbor.blocks.files import Appending, FileLayer
from narbor.blocks.index import Index, Place, key_of, name_of
from narbor.formats import frames
from narbor.formats.frames import Packed
from narbor.names import cid
from narbor.names.cid import Cid

LARGEST_PACK: Final = 1 << 30
_GAP: Final = 32 << 10  # frames so close in a pack are read in one go
_RUN: Final = 2 << 20  # ... up to so many bytes
_SCAN: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """A block as it would be kept: its key, its zstd frame, its size, the frame's level."""

    name: Cid
    key: bytes
    frame: bytes
    size: int
    level: int


class PackStore:
    """A BlockStore of packs in a folder."""

    def __init__(
        self,
        files: FileLayer,
        index: Index,
        new_name: Callable[[], str],
        level: int,
        largest: int = LARGEST_PACK,
    ) -> None:
        self.files = files
        self.index = index
        self._new_name = new_name
        self._largest = largest
        self._codec = Codec(level)
        self._lock = threading.Lock()
        self._pack: Appending | None = None
        self._pack_id = 0
        self._end = 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._fresh: dict[bytes, Place] = {}  # appended, not yet in the index
        self._dirty: list[tuple[Appending, int, int]] = []
        self._names: dict[int, str] = {}
        self.generation = 0  # rises when writes were lost: what was put before may not be here

    # --- reading -------------------------------------------------------------------------------

    def places(self, names: Sequence[Cid]) -> list[Place]:
        """Return where each of these lies; raises BlockMissing."""
        keys = [key_of(name) for name in names]
        # What was appended is looked up first: a sync moves it into the index before it forgets it.
        found = {key: place for key in keys if (place := self._fresh.get(key)) is not None}
        found |= self.index.find([key for key in dict.fromkeys(keys) if key not in found])
        out = []
        for name, key in zip(names, keys, strict=True):
            place = found.get(key)
            if place is None:
                raise BlockMissing(name)
            out.append(place)
        return out

    def frames(self, places: Sequence[Place]) -> Iterator[memoryview]:
        """Give the zstd frames at these places; neighbours in a pack are read in one go."""
        at = 0
        while at < len(places):
            first = places[at]
            end = first.offset + first.length
            stop = at + 1
            while stop < len(places):
                place = places[stop]
                if (
                    place.pack != first.pack
                    or not 0 <= place.offset - end <= _GAP
                    or place.offset + place.length - first.offset > _RUN
                ):
                    break
                end = place.offset + place.length
                stop += 1
            run = memoryview(self.read(first.pack, first.offset, end - first.offset))
            for place in places[at:stop]:
                start = place.offset - first.offset
                yield run[start : start + place.length]
            at = stop

    def read(self, pack: int, offset: int, length: int) -> bytes:
        """Return the bytes of a pack at `offset`: fewer, or none, when it ends or is gone."""
        if (
            pack == self._pack_id
            and self._buffered
            and offset + length > self._end - self._buffered
        ):
            with self._lock:
                self._flush()
        name = self._names.get(pack)
        if name is None:
            self._names = {id: name for id, (name, _) in self.index.packs().items()}
            name = self._names.get(pack, "")
        return self.files.read(name, offset, length)

    def decoded(self, frame: memoryview, size: int) -> bytes | None:
        """Return the block of `size` bytes in a frame; None if the frame is damaged."""
        return self._codec.decompress(frame, size)

    def get_many(self, names: Sequence[Cid]) -> Iterator[bytes]:
        """Give the blocks in the order asked for; raises BlockMissing, BlockDamaged."""
        places = self.places(names)
        decompress = self._codec.decompress
        for name, place, frame in zip(names, places, self.frames(places), strict=True):
            block = decompress(frame, place.size)
            if block is None:
                raise BlockDamaged(name, self._where(place))
            yield block

    def get(self, name: Cid) -> bytes | None:
        """Return the block, checked by its frame's checksum; None if it is not here."""
        try:
            return next(iter(self.get_many([name])))
        except BlockMissing:
            return None

    def _where(self, place: Place) -> str:
        return f"{self._names.get(place.pack, 'a lost pack')}, byte {place.offset}"

    def missing(self, names: Iterable[Cid]) -> set[Cid]:
        """Return which of these are not here; those here are saved from a running collection."""
        keys = {key: name for name in names if (key := key_of(name)) not in self._fresh}
        here = self.index.claim(list(keys))
        return {name for key, name in keys.items() if key not in here}

    def keys(self) -> Iterator[Cid]:
        """Give each block's CID once."""
        for _, key, _ in self.index.blocks():
            yield name_of(key)

    # --- writing -------------------------------------------------------------------------------

    def frame(self, name: Cid, block: bytes) -> Frame:
        """Compress a block: the costly part of keeping it, done on any thread."""
        if isinstance(block, Packed):
            return Frame(name, key_of(name), block.frame, len(block), block.level)
        level = self._codec.level
        return Frame(name, key_of(name), self._codec.compress(block), len(block), level)

    def put_many(self, blocks: Sequence[tuple[Cid, bytes]]) -> None:
        """Keep those of these blocks that are not here yet."""
        absent = self.missing(name for name, _ in blocks)
        self.append([self.frame(name, block) for name, block in blocks if name in absent])

    def append(self, new: Sequence[Frame]) -> None:
        """Append frames to this process's pack, each key once; durable once `sync` returns."""
        with self._lock:
            for item in new:
                if item.key in self._fresh:
                    continue
                self._fresh[item.key] = self._append(item.name, item.frame, item.size, item.level)
            if self._buffered > 4 << 20:
                self._flush()

    def move(self, found: Sequence[tuple[Cid, bytes, int, int]]) -> None:
        """Append what lies in another pack, byte for byte, and point the index here.

        Each is a block's name, its head and frame as they lie there, the head's length, and the
        block's size.
        """
        with self._lock:
            moved: list[tuple[bytes, Place]] = []
            for name, record, head, size in found:
                moved.append((key_of(name), self._write(record[:head], record[head:], size)))
            self._flush()
            self.index.move(moved, self._sync_packs())

    def _append(self, name: Cid, frame: bytes, size: int, level: int) -> Place:
        return self._write(frames.head(name, len(frame), size, level), frame, size)

    def _write(self, head: bytes, frame: bytes, size: int) -> Place:
        if self._pack is None or self._end > self._largest:
            self._open_pack()
        offset = self._end + len(head)
        self._buffer += (head, frame)
        self._end = offset + len(frame)
        self._buffered += len(head) + len(frame)
        return Place(self._pack_id, offset, len(frame), size)

    def _open_pack(self) -> None:
        self._flush()
        if self._pack is not None:
            self._dirty.append((self._pack, self._pack_id, self._end))
            self._pack = None
        else:
            self._pack = self._adopt()
        if self._pack is None:
            self._pack = self._begin()
        self._names = {**self._names, self._pack_id: self._pack.name}

    def _begin(self) -> Appending:
        pack = self.files.create(self._new_name())
        try:
            pack.append(frames.MAGIC)
            self._pack_id = self.index.add_pack(pack.name, len(frames.MAGIC))
        except BaseException:
            pack.close()
            raise
        self._end = len(frames.MAGIC)
        return pack

    def _adopt(self) -> Appending | None:
        """Go on with a pack that ended cleanly, is not full, and has no owner."""
        for id, (name, indexed) in sorted(self.index.packs().items(), reverse=True):
            if (
                self.index.is_retired(id)
                or not 0 < indexed < self._largest // 2
                or self.files.size(name) != indexed
            ):
                continue
            pack = self.files.adopt(name)
            if pack is None:
                continue
            if pack.size() == indexed == self.index.packs().get(id, ("", 0))[1]:
                self._pack_id, self._end = id, indexed
                return pack
            pack.close()
        return None

    def _flush(self) -> None:
        if self._buffer and self._pack is not None:
            try:
                self._pack.append(b"".join(self._buffer))
            except BaseException:
                self._give_up()
                raise
            self._buffer.clear()
            self._buffered = 0

    def _give_up(self) -> None:
        """Give up what could not be written: nothing counts as here that is not in the file."""
        self._buffer.clear()
        self._buffered = 0
        self._fresh.clear()
        self.generation += 1
        for pack, _, _ in self._dirty:
            pack.close()
        self._dirty.clear()
        if self._pack is not None:
            self._pack.close()
            self._pack = None

    def abandon(self) -> None:
        """Forget what was put and not synced: it counts as never put."""
        with self._lock:
            self._give_up()

    def sync(self) -> None:
        """Make all that was put before durable: packs first, then the index."""
        with self._lock:
            if self._pack is None or not self._fresh:
                return
            self._flush()
            fresh = list(self._fresh.items())
            self.index.add(fresh, self._sync_packs())
            self._fresh.clear()

    def _sync_packs(self) -> dict[int, int]:
        """Make the packs written to durable; return how far each may be indexed."""
        ends = {id: end for _, id, end in self._dirty}
        try:
            for pack, _, _ in self._dirty:
                pack.sync()
            if self._pack is not None:
                self._pack.sync()
                ends[self._pack_id] = self._end
        except BaseException:
            self._give_up()
            raise
        for pack, _, _ in self._dirty:
            pack.close()
        self._dirty.clear()
        return ends

    def delete(self, names: Iterable[Cid]) -> None:
        """Take these blocks out of the index; their frames are garbage from then on."""
        with self.index.writing() as link:
            link.executemany("DELETE FROM block WHERE key = ?", [(key_of(n),) for n in names])

    # --- opening -------------------------------------------------------------------------------

    def catch_up(self) -> int:
        """Note what stands in the packs behind the index's mark; return how many blocks.

        A frame is noted only if it decodes to the block that its CID names: behind a power cut
        anything may stand in a tail. Packs that another process writes to are left to it.
        """
        known = {name: (id, indexed) for id, (name, indexed) in self.index.packs().items()}
        count = 0
        for name in self.files.names():
            id, indexed = known.get(name, (0, 0))
            if name.endswith(".pack") and self.files.size(name) > max(indexed, len(frames.MAGIC)):
                owned = self.files.adopt(name)
                if owned is None:
                    continue
                try:
                    count += self._read_up(name, id or self.index.add_pack(name, 0), indexed)
                finally:
                    owned.close()
        return count

    def _read_up(self, name: str, id: int, start: int) -> int:
        magic = len(frames.MAGIC)
        if start < magic:
            if self.files.read(name, 0, magic) != frames.MAGIC:
                return 0
            start = magic
        count = 0
        while True:
            data = self.files.read(name, start, _SCAN)
            good: list[tuple[bytes, Place]] = []
            end = start
            for found in frames.scan(data, start):
                at = found.offset - start
                block = self._codec.decompress(data[at : at + found.length], found.size)
                if block is None or not cid.matches(found.name, block):
                    break
                place = Place(id, found.offset, found.length, found.size)
                good.append((key_of(found.name), place))
                end = found.offset + found.length
            if not good:
                return count
            self.index.add(good, {id: end})
            count += len(good)
            start = end

    def close_pack(self) -> None:
        """Sync, and give the pack up: the next write goes to another, or adopts it again."""
        self.sync()
        with self._lock:
            if self._pack is not None:
                self._pack.close()
                self._pack = None

    def close(self) -> None:
        """Sync, give the pack up, and close the index and all files."""
        self.close_pack()
        self.index.close()
        self.files.close()
