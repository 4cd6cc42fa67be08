"""Store references exchanged for others of the same length, as a stream.

What a rebuild changes in most items is the hash parts of what they refer to. With those exchanged,
the old content is the new one; whether it is, only a hash can tell.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from narbor.dag.cut import references

_HASH: Final = 32
# A reference that begins in the last so many bytes may not be seen whole yet.
_UNSURE: Final = len(b"/nix/store/") + _HASH - 1


def graft(chunks: Iterable[bytes], swaps: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Give the same bytes, but for each hash part in `swaps` (32 letters behind a store's name)."""
    held = b""
    for chunk in chunks:
        data = held + chunk if held else chunk
        whole = max(len(data) - _UNSURE, 0)
        out, at = _swapped(data, swaps)
        at = max(at, whole)
        if at:
            yield out[:at]
        # What is held is as it came: its references are looked for again.
        held = data[at:]
    if held:
        yield _swapped(held, swaps)[0]


def _swapped(data: bytes, swaps: Mapping[bytes, bytes]) -> tuple[bytes, int]:
    """Return the bytes with references exchanged, and where the last of these ends."""
    out: bytearray | None = None
    end = 0
    for at in references(data):
        end = at + _HASH
        new = swaps.get(data[at:end])
        if new is not None:
            out = bytearray(data) if out is None else out
            out[at:end] = new
    return data if out is None else bytes(out), end
