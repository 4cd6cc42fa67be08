"""Lists of SHA-256 digests in a file, sorted, 32 bytes each: looked up where they lie.

What a CAR holds is known from such a list without reading the CAR, and in little memory.
"""

import heapq
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO, Final

from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins.shelf import Shelf

WIDTH: Final = 32
_RUN: Final = 1 << 20  # digests sorted at one time
_PIECE: Final = WIDTH << 12
_PAGE: Final = 64  # digests read to find one
_BYTES: Final = _PAGE * WIDTH
_HEAD: Final = bytes((cid.SHA256, WIDTH))


def of(name: Cid) -> bytes | None:
    """Return the SHA-256 of a block by its name; None for names by other functions."""
    return name[-WIDTH:] if name[-WIDTH - 2 : -WIDTH] == _HEAD else None


def name(digest: bytes) -> Cid:
    """Return a name that has this digest; it says raw, for want of a codec."""
    return Cid(bytes((1, cid.RAW)) + _HEAD + digest)


def ordered(digests: Iterable[bytes], longest: int = _RUN) -> Iterator[bytes]:
    """Give digests in order, each once; runs of up to `longest` are kept in files meanwhile."""
    waiting = iter(digests)
    with ExitStack() as files:
        runs: list[IO[bytes]] = []
        while run := list(islice(waiting, longest)):
            if not runs and len(run) < longest:
                yield from sorted(set(run))
                return
            runs.append(files.enter_context(tempfile.TemporaryFile()))
            runs[-1].write(b"".join(sorted(set(run))))
            runs[-1].seek(0)
        last = b""
        for digest in heapq.merge(*map(_read, runs)):
            if digest != last:
                yield digest
            last = digest


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(_PIECE):
        yield from (data[at : at + WIDTH] for at in range(0, len(data), WIDTH))


def write(shelf: Shelf, file: str, digests: Iterable[bytes]) -> int:
    """Write a list from digests in any order, durably; return how many there are."""
    shelf.remove(file)
    draft = shelf.open(file)
    count = 0
    waiting = ordered(digests)
    try:
        while part := list(islice(waiting, _PIECE // WIDTH)):
            draft.append(b"".join(part))
            count += len(part)
        draft.sync()
    finally:
        draft.close()
    return count


class Digests:
    """A list that lies in a file. What begins each page is remembered once one is sought."""

    def __init__(self, shelf: Shelf, file: str) -> None:
        self._shelf = shelf
        self._file = file
        self._count = (shelf.size(file) or 0) // WIDTH
        self._firsts: list[bytes] | None = None
        self._page = (-1, b"")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        at = 0
        while data := self._shelf.read(self._file, at, _PIECE):
            yield from (data[start : start + WIDTH] for start in range(0, len(data), WIDTH))
            at += len(data)

    def find(self, digest: bytes) -> int:
        """Return the place of a digest in the order; -1 if it is not in the list."""
        if self._firsts is None:
            self._firsts = list(islice(self, 0, None, _PAGE))
        number = bisect_right(self._firsts, digest) - 1
        if number < 0:
            return -1
        if self._page[0] != number:
            self._page = number, self._shelf.read(self._file, number * _BYTES, _BYTES)
        at = self._page[1].find(digest)
        while at % WIDTH and at >= 0:
            at = self._page[1].find(digest, at + 1)
        return -1 if at < 0 else number * _PAGE + at // WIDTH
