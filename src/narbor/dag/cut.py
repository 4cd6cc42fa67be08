"""Where file content is cut: at store references, and between them by content.

A reference is the 32-letter hash part behind `/nix/store/` or `/gnu/store/`; found from left to
right, without overlap. Each stretch between references (or an end of the file) is cut by FastCDC,
which starts anew there. The pieces joined are the content. `pieces` gives the same pieces whatever
the chunks its input came in.

When a world is rebuilt because one library changed, most files differ only in those hashes: with
them cut out, all other leaves are found again.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import Final

from pyfastcdc import FastCDC

from narbor.dag.profile import Profile
from narbor.dag.search import find

_MARK: Final = b"/store/"
_PREFIXES: Final = (b"/nix", b"/gnu")
_ALPHABET: Final = b"0123456789abcdfghijklmnpqrsvwxyz"
_HASH: Final = 32
# A reference that begins in the last so many bytes may not be seen whole yet.
_UNSURE: Final = len(b"/nix/store/") + _HASH - 1
# A cut is sure once FastCDC has seen the longest chunk whole; below eight of them, wait.
_WINDOW: Final = 8


def references(data: bytes, start: int = 0) -> Iterator[int]:
    """Give the offset of each hash part in `data`, from `start` on, in order."""
    at = find(data, _MARK, max(start, 4))
    while at >= 0:
        begin = at + len(_MARK)
        hash_part = data[begin : begin + _HASH]
        if (
            len(hash_part) == _HASH
            and at - 4 >= start
            and data[at - 4 : at] in _PREFIXES
            and not hash_part.translate(None, _ALPHABET)
        ):
            yield begin
            start = begin + _HASH
            at = find(data, _MARK, start + 4)
        else:
            at = find(data, _MARK, at + 1)


class Cutter:
    """Cuts by one profile; keeps nothing between calls."""

    __slots__ = ("_cdc", "_profile")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._cdc = FastCDC(
            profile.average,
            min_size=profile.smallest,
            max_size=profile.largest,
            normalized_chunking=1,
            seed=0,
        )

    def pieces(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Give the pieces of one file's content; none is longer than the profile's largest."""
        if not self._profile.references:
            yield from self._fixed(chunks)
            return
        window = _WINDOW * self._profile.largest
        held: list[bytes] = []
        size = 0
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= window:
                data = b"".join(held)
                rest = yield from self._sure(data)
                held = [data[rest:]]
                size -= rest
        data = held[0] if len(held) == 1 else b"".join(held)
        if len(data) > self._profile.smallest or _MARK in data:
            yield from self._whole(data)
        elif data:
            yield data

    def _fixed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        largest = self._profile.largest
        held = b""
        for chunk in chunks:
            held += chunk
            at = 0
            while len(held) - at > largest:
                yield held[at : at + largest]
                at += largest
            held = held[at:]
        if held:
            yield held

    def _whole(self, data: bytes) -> Iterator[bytes]:
        """Cut `data` to its end."""
        start = 0
        for at in references(data):
            yield from self._stretch(data, start, at)
            start = at + _HASH
            yield data[at:start]
        yield from self._stretch(data, start, len(data))

    def _sure(self, data: bytes) -> Generator[bytes, None, int]:
        """Cut `data` as far as no later byte can change a cut; return where the rest begins."""
        start = 0
        for at in references(data):
            yield from self._stretch(data, start, at)
            start = at + _HASH
            yield data[at:start]
        seen = len(data) - _UNSURE
        if seen - start > self._profile.largest:
            for chunk in self._cdc.cut_buf(memoryview(data)[start:seen]):
                if seen - start < self._profile.largest:
                    break
                yield data[start : start + chunk.length]
                start += chunk.length
        return start

    def _stretch(self, data: bytes, start: int, stop: int) -> Iterator[bytes]:
        if stop - start <= self._profile.smallest:
            if stop > start:
                yield data[start:stop]
            return
        for chunk in self._cdc.cut_buf(memoryview(data)[start:stop]):
            yield data[start : start + chunk.length]
            start += chunk.length
