"""A tarball of Nix expressions: written, looked at, and one more file put into it.

What is there stays byte for byte: the file comes behind the last member (POSIX.1-1988, ustar), in
the folder that all members lie in. Compression is the caller's.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from narbor.errors import Rejected

_BLOCK: Final = tarfile.BLOCKSIZE
_RECORD: Final = tarfile.RECORDSIZE
_END: Final = bytes(2 * _BLOCK)


class MalformedTarball(Rejected):
    """Bytes are no tarball with one folder at its top."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder that all lies in, what lies right in that, and where the last member ends."""

    top: str
    names: frozenset[str]
    end: int


class _Reading(io.RawIOBase):
    """Chunks as a file that can only be read on."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, fewer only at the end."""
        parts, length = [self._held], len(self._held)
        while length < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            length += len(chunk)
        held = b"".join(parts)
        self._held = held[size:]
        return held[:size]


def write(top: str, files: Mapping[str, bytes], modified: int) -> Iterator[bytes]:
    """Give a tarball, uncompressed, of files in the folder `top`; `modified` is in seconds."""
    size = 0
    for name, data in sorted(files.items()):
        member = _member(f"{top}/{name}", data, modified)
        size += len(member)
        yield member
    yield _END + bytes(-(size + len(_END)) % _RECORD)


def _member(name: str, data: bytes, modified: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), modified, 0o444
    return entry.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % _BLOCK)


def layout(chunks: Iterable[bytes]) -> Layout:
    """Read a tarball, uncompressed, to its end; raises MalformedTarball."""
    tops: set[str] = set()
    names: set[str] = set()
    end = 0
    try:
        with tarfile.open(fileobj=_Reading(chunks), mode="r|") as tar:
            for member in tar:
                top, _, rest = member.name.removeprefix("./").partition("/")
                tops.add(top)
                if rest and "/" not in rest:
                    names.add(rest)
                size = member.size if member.isreg() else 0
                end = member.offset_data + (size + _BLOCK - 1) // _BLOCK * _BLOCK
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise MalformedTarball(f"no tarball: {error}") from error
    if len(tops) != 1 or not all(tops):
        raise MalformedTarball(f"a tarball has {len(tops)} entries at its top, not one folder")
    return Layout(tops.pop(), frozenset(names), end)


def added(
    chunks: Iterable[bytes], where: Layout, name: str, data: bytes, modified: int
) -> Iterator[bytes]:
    """Give the tarball whose layout this is, uncompressed, with a file more; `modified` in seconds.

    Raises MalformedTarball where it ends before its layout says.
    """
    left = where.end
    for chunk in chunks:
        part = chunk[:left]
        left -= len(part)
        yield part
        if not left:
            break
    if left:
        raise MalformedTarball(f"a tarball ends {left} bytes early")
    tail = _member(f"{where.top}/{name}", data, modified) + _END
    yield tail + bytes(-(where.end + len(tail)) % _RECORD)
