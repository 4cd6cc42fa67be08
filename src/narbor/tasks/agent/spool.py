"""The bytes of one archive while it is being made: one writer, any number of readers.

A small archive is given out when all of it was checked. A large one is given out as it comes, as is
a small one that takes long; but the last byte goes out only when the whole is what it should be. So
an answer is right, or it ends short. What would fill the memory lies in a file without a name.
"""

import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from narbor.errors import NarborError, Unavailable

HELD: Final = 16 << 20  # bytes; up to so many are checked before the first is given
_PIECE: Final = 256 << 10
_IN_MEMORY: Final = 1 << 20
_SOON: Final = 4.0  # seconds in which a small one should be whole
_TICK: Final = 0.25  # seconds; so often a reader looks whether it has waited too long


class Stalled(Unavailable):
    """Bytes that a reader waits for do not come."""


class Spool:
    """An archive of `size` bytes that is being written."""

    def __init__(
        self, size: int, folder: Path, clock: Callable[[], float], held: int = HELD
    ) -> None:
        self.size = size
        self._held = held
        self._clock = clock
        self._changed = threading.Condition()
        self._memory = bytearray()
        self._file: int | None = None
        if size > _IN_MEMORY:
            self._file, name = tempfile.mkstemp(prefix="spool-", dir=folder)
            # Readers may be at it when the making is over: it is closed when nobody has it.
            weakref.finalize(self, os.close, self._file)
            Path(name).unlink()
        self._written = 0
        self._freely = False
        self._begun = clock()
        self._given = False
        self._whole = False
        self._error: NarborError | None = None

    @property
    def given(self) -> bool:
        """Whether any byte was given to a reader."""
        return self._given

    @property
    def whole(self) -> bool:
        """Whether all of it is here and was checked."""
        return self._whole

    def begin(self, freely: bool) -> bool:
        """Write from the first byte on; `freely`: bytes may be given before all is checked.

        False when bytes of an earlier attempt were given: there is no other beginning then.
        """
        with self._changed:
            if self._given:
                return False
            self._memory.clear()
            self._written = 0
            self._freely = freely
            self._begun = self._clock()
            return True

    def passing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Write what passes; raises OSError when the disk is full."""
        for chunk in chunks:
            if self._file is None:
                self._memory += chunk
            else:
                _write(self._file, chunk, self._written)
            with self._changed:
                self._written += len(chunk)
                self._changed.notify_all()
            yield chunk

    def finish(self) -> None:
        """Say that all that was written is right."""
        with self._changed:
            self._whole = True
            self._changed.notify_all()

    def fail(self, error: NarborError) -> None:
        """Say that no more will come."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def end(self, error: NarborError) -> None:
        """Fail with `error`, unless it is whole or has failed already."""
        if not self._whole and self._error is None:
            self.fail(error)

    def read(self, start: int, stop: int, first: float, stall: float) -> Iterator[bytes]:
        """Give the bytes [start, stop).

        Raises Stalled when the first does not come within `first` seconds or others within `stall`,
        and what the writer failed with.
        """
        at, patience = start, first
        while at < stop:
            end = min(self._ready(at, patience), stop, at + _PIECE)
            data = self._piece(at, end)
            at, patience = end, stall
            yield data

    def _ready(self, at: int, patience: float) -> int:
        """Wait until there are bytes at `at`; return up to where."""
        deadline = self._clock() + patience
        with self._changed:
            while True:
                end = self._readable()
                if end > at:
                    self._given = True
                    return end
                if self._error is not None:
                    raise self._error
                if self._clock() >= deadline:
                    raise Stalled(f"byte {at} of an archive did not come within {patience:g} s")
                self._changed.wait(min(_TICK, patience))

    def _readable(self) -> int:
        if self._whole:
            return self._written
        late = self.size > self._held or self._clock() - self._begun >= _SOON
        return min(self._written, self.size - 1) if self._freely and late else 0

    def _piece(self, start: int, stop: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[start:stop])
        return os.pread(self._file, stop - start, start)


def _write(file: int, chunk: bytes, at: int) -> None:
    rest = memoryview(chunk)
    while rest:
        done = os.pwrite(file, rest, at)
        rest, at = rest[done:], at + done
