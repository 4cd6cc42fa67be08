"""Nix archives (NAR) <-> events.

    archive   = str("nix-archive-1") node
    node      = str("(") str("type") body str(")")
    body      = str("regular") [ str("executable") str("") ] str("contents") str(bytes)
              | str("symlink") str("target") str(bytes)
              | str("directory") { entry }
    entry     = str("entry") str("(") str("name") str(bytes) str("node") node str(")")
    str(s)    = length as 64-bit little-endian, s, zeros up to a multiple of 8

Only the canonical spelling of a tree is read (names strictly rising, zero padding, fields in this
order, nothing behind the end), so that a tree alone gives its archive back bit for bit. The limits
are those of Nix 2.34 (src/libutil/archive.cc): 64 levels, names of 255 bytes, targets of 4095.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, NoReturn, TypeVar

from narbor.errors import Rejected

C = TypeVar("C", covariant=True)

DEEPEST: Final = 64
LONGEST_NAME: Final = 255
LONGEST_TARGET: Final = 4095
LARGEST_FILE: Final = 1 << 62


class MalformedNar(Rejected):
    """Bytes are no NAR in canonical form."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file begins; `size` bytes of content follow as Data."""

    name: bytes
    executable: bool
    size: int


@dataclass(frozen=True, slots=True)
class Data(Generic[C]):
    """Some content of the file that began last. Bytes, or what stands for them."""

    content: C


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link."""

    name: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory begins; its entries follow, then End."""

    name: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The directory that began last ends."""


Event = File | Data[C] | Symlink | Directory | End
END: Final = End()


def string(content: bytes) -> bytes:
    """Spell `content` as a NAR string: length, bytes, padding."""
    return len(content).to_bytes(8, "little") + content + bytes(-len(content) % 8)


def _words(*words: bytes) -> bytes:
    return b"".join(map(string, words))


_MAGIC: Final = _words(b"nix-archive-1")
_TYPE: Final = _words(b"(", b"type")
_REGULAR: Final = _words(b"regular")
_DIRECTORY: Final = _words(b"directory")
_SYMLINK: Final = _words(b"symlink", b"target")
_EXECUTABLE: Final = _words(b"executable", b"")
_CONTENTS: Final = _words(b"contents")
_ENTRY: Final = _words(b"entry", b"(", b"name")
_NODE: Final = _words(b"node")
_CLOSE: Final = _words(b")")
_REGULAR_HEAD: Final = _TYPE + _REGULAR + _CONTENTS
_EXECUTABLE_HEAD: Final = _TYPE + _REGULAR + _EXECUTABLE + _CONTENTS
_DIRECTORY_HEAD: Final = _TYPE + _DIRECTORY
_SYMLINK_HEAD: Final = _TYPE + _SYMLINK
# Enough for every fixed word sequence and any name: one refill serves a whole small node.
_AHEAD: Final = 1024


class _Reader:
    """A cursor over the chunks, which knows where in the tree it stands."""

    __slots__ = ("_chunks", "at", "buffer", "names")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.buffer = b""
        self.at = 0
        self.names: list[bytes] = []

    def fill(self, size: int) -> bool:
        """Have `size` bytes at hand; tell whether there are as many."""
        if len(self.buffer) - self.at >= size:
            return True
        parts = [self.buffer[self.at :]]
        have = len(parts[0])
        for chunk in self._chunks:
            parts.append(chunk)
            have += len(chunk)
            if have >= size:
                break
        self.buffer = b"".join(parts)
        self.at = 0
        return have >= size

    def skip(self, word: bytes) -> bool:
        """Step over `word` if it stands here."""
        if self.buffer.startswith(word, self.at) or (
            self.fill(len(word)) and self.buffer.startswith(word, self.at)
        ):
            self.at += len(word)
            return True
        return False

    def expect(self, word: bytes, what: str) -> None:
        if not self.skip(word):
            self.fail(f"{what} expected")

    def fail(self, why: str) -> NoReturn:
        inside = b"/".join(self.names).decode(errors="backslashreplace")
        if not self.fill(1):
            why += ", but the archive ends"
        raise MalformedNar(f"not a canonical NAR at '/{inside}': {why}")

    def number(self) -> int:
        if not self.fill(8):
            self.fail("a length expected")
        value = int.from_bytes(self.buffer[self.at : self.at + 8], "little")
        self.at += 8
        return value

    def short(self, limit: int, what: str) -> bytes:
        """Read a string of at most `limit` bytes, without NUL, not empty."""
        size = self.number()
        if not 0 < size <= limit:
            self.fail(f"{what} of {size} bytes: between 1 and {limit} are allowed")
        padded = size + -size % 8
        if not self.fill(padded):
            self.fail(f"{what} of {size} bytes expected")
        start = self.at
        self.at = start + padded
        value = self.buffer[start : start + size]
        if 0 in value:
            self.fail(f"{what} {value!r} has a NUL byte")
        if any(self.buffer[start + size : self.at]):
            self.fail(f"{what} {value!r} is padded with other bytes than zeros")
        return value

    def contents(self, size: int) -> Iterator[Data[bytes]]:
        """Give the `size` bytes from here on in pieces, then step over the padding."""
        left = size
        while left:
            have = len(self.buffer) - self.at
            if not have:
                if not self.fill(1):
                    self.fail(f"{left} more bytes of content expected (of {size})")
                continue
            if have <= left and self.at == 0:
                piece, self.buffer = self.buffer, b""
            else:
                piece = self.buffer[self.at : self.at + left]
                self.at += len(piece)
            left -= len(piece)
            yield Data(piece)
        self.expect(bytes(-size % 8), "padding of zeros behind the contents")


def parse(chunks: Iterable[bytes]) -> Iterator[Event[bytes]]:
    """Read a NAR, cut into chunks at will, as events; the root has the empty name.

    The chunks are drained to their end. Raises MalformedNar, naming the place inside the archive.
    """
    reader = _Reader(chunks)
    reader.expect(_MAGIC, "'nix-archive-1'")
    last: list[bytes] = []  # per open directory: the name of the entry before
    name = b""
    while True:
        reader.fill(_AHEAD)
        if reader.skip(_REGULAR_HEAD):
            yield from _file(reader, name, False)
        elif reader.skip(_EXECUTABLE_HEAD):
            yield from _file(reader, name, True)
        elif reader.skip(_SYMLINK_HEAD):
            yield Symlink(name, reader.short(LONGEST_TARGET, "a link target"))
            reader.expect(_CLOSE * 2 if last else _CLOSE, "')' behind a symlink")
        elif reader.skip(_DIRECTORY_HEAD):
            yield Directory(name)
            last.append(b"")
            if len(last) > DEEPEST:
                reader.fail(f"directories nest deeper than {DEEPEST}")
            reader.names.append(b"")
        else:
            _unknown_node(reader)
        while last and not reader.skip(_ENTRY):
            reader.expect(_CLOSE, "an entry or ')' in a directory")
            last.pop()
            reader.names.pop()
            yield END
            if last:
                reader.expect(_CLOSE, "')' behind an entry")
        if not last:
            break
        name = _entry_name(reader, last[-1])
        last[-1] = name
        reader.names[-1] = name
    if reader.fill(1):
        raise MalformedNar("not a canonical NAR: there are bytes behind its end")


def _file(reader: _Reader, name: bytes, executable: bool) -> Iterator[Event[bytes]]:
    size = reader.number()
    if size > LARGEST_FILE:
        reader.fail(f"a file of {size} bytes")
    yield File(name, executable, size)
    yield from reader.contents(size)
    reader.expect(_CLOSE * 2 if reader.names else _CLOSE, "')' behind the contents")


def _entry_name(reader: _Reader, before: bytes) -> bytes:
    name = reader.short(LONGEST_NAME, "a name")
    if b"/" in name or name in (b".", b".."):
        reader.fail(f"the name {name!r} is not allowed")
    if name <= before:
        reader.fail(f"the name {name!r} does not sort behind {before!r}")
    reader.expect(_NODE, "'node' behind a name")
    return name


def _unknown_node(reader: _Reader) -> NoReturn:
    reader.expect(_TYPE, "'(' and 'type'")
    reader.fail("'regular' with 'contents', 'symlink' with 'target', or 'directory' expected")


def write(events: Iterable[Event[C]]) -> Iterator[bytes | C]:
    """Write a NAR; contents pass through as they are, with framing bytes between them.

    With bytes as contents the pieces, joined, are the archive; with leaves they are its splice.
    The events must be those of one canonical tree, as `parse` gives them.
    """
    out = bytearray(_MAGIC)
    tail = b""  # what closes the node before, once its contents have passed
    depth = 0
    for event in events:
        if isinstance(event, Data):
            if out:
                yield bytes(out)
                out.clear()
            yield event.content
            continue
        out += tail
        if isinstance(event, End):
            depth -= 1
            tail = _CLOSE * 2 if depth else _CLOSE
            continue
        if depth:
            out += _ENTRY + string(event.name) + _NODE
        tail = _CLOSE * 2 if depth else _CLOSE
        match event:
            case File(_, executable, size):
                out += _EXECUTABLE_HEAD if executable else _REGULAR_HEAD
                out += size.to_bytes(8, "little")
                tail = bytes(-size % 8) + tail
            case Symlink(_, target):
                out += _SYMLINK_HEAD + string(target)
            case Directory():
                out += _DIRECTORY_HEAD
                depth += 1
                tail = b""
    yield bytes(out + tail)
