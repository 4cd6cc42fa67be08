"""The tree of an item as JSON, Nix's `.ls`, version 1.

    {"version":1,"root":{"type":"directory","entries":{NAME:NODE,...}}}
    NODE = {"type":"regular","size":N[,"executable":true][,"narOffset":N]}
         | {"type":"symlink","target":TEXT} | {"type":"directory","entries":{...}}

`narOffset` is where the contents begin in the uncompressed archive. JSON is Unicode and has no
place for other bytes: an item in which a name or a target is not UTF-8 has no listing (`NotText`),
since an escape of our own would name files that are not there.

Nobody signs a listing: it is as true as the cache that gives it. Members come in any order, and
members that are not named here are passed over (Nix: src/libstore/binary-cache-store.cc).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta, Struct

from narbor.errors import Refused, Rejected
from narbor.formats import nar, streams

LONGEST: Final = 64 << 20
_MAGICS: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
}


class MalformedListing(Rejected):
    """Bytes are no listing."""


class NotText(Refused):
    """A name or a target cannot be written in JSON."""


class Entry(Protocol):
    """One entry of a tree that is given flat: depth first, in the order of the archive."""

    @property
    def path(self) -> bytes:
        """The path inside the item: `b""` for the root, `b"bin/sh"` below it."""
        ...

    @property
    def kind(self) -> str:
        """`directory`, `regular` or `symlink`."""
        ...

    @property
    def size(self) -> int:
        """The size of a regular file, in bytes."""
        ...

    @property
    def executable(self) -> bool:
        """Whether a regular file may be run."""
        ...

    @property
    def target(self) -> bytes:
        """What a symlink points at."""
        ...

    @property
    def offset(self) -> int:
        """Where the contents of a regular file begin in the archive; 0 if nowhere."""
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """An `Entry` as a listing says it."""

    path: bytes
    kind: str
    size: int = 0
    executable: bool = False
    target: bytes = b""
    offset: int = 0


_Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Regular(Struct, tag="regular", frozen=True):
    size: _Number
    executable: bool = False
    offset: _Number = msgspec.field(name="narOffset", default=0)


class _Symlink(Struct, tag="symlink", frozen=True):
    target: str


class _Directory(Struct, tag="directory", frozen=True):
    entries: "dict[str, _Regular | _Symlink | _Directory]"


_Node = _Regular | _Symlink | _Directory


class _Listing(Struct, frozen=True):
    version: int
    root: _Node


def parse(text: bytes) -> tuple[Listed, ...]:
    """Read a listing whole: flat, depth first, in the order of the archive.

    Caches may keep them compressed, and do not always say so: what is no JSON is unpacked first.
    Raises MalformedListing, also for what no archive can hold (see formats/nar.py), or when more
    than LONGEST bytes come out.
    """
    try:
        said = msgspec.json.decode(_plain(text), type=_Listing)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedListing(f"a listing cannot be read: {error}") from error
    if said.version != 1:
        raise MalformedListing(f"a listing has the version {said.version}; only 1 is known")
    return tuple(_flat(said.root))


def _plain(text: bytes) -> bytes:
    """Unpack a listing; brotli has no magic, but what it begins with `{` is empty (RFC 7932)."""
    if text.startswith(b"{"):
        return text
    found = (name for magic, name in _MAGICS.items() if text.startswith(magic))
    try:
        return b"".join(streams.decompress((text,), next(found, "br"), LONGEST))
    except (streams.Corrupt, streams.TooLarge) as error:
        raise MalformedListing(f"a listing is no JSON, and cannot be unpacked: {error}") from error


def _flat(root: _Node) -> Iterator[Listed]:
    """Walk a tree without recursion; each level of `stack` is a folder and what it still has."""
    stack: list[tuple[bytes, Iterator[tuple[bytes, _Node]]]] = [(b"", iter(((b"", root),)))]
    while stack:
        above, rest = stack[-1]
        name, node = next(rest, (None, None))
        if name is None or node is None:
            stack.pop()
            continue
        path = above + b"/" + name if above else name
        if isinstance(node, _Regular):
            yield Listed(path, "regular", node.size, node.executable, offset=node.offset)
        elif isinstance(node, _Symlink):
            target = _bytes(node.target, nar.LONGEST_TARGET, "a target")
            yield Listed(path, "symlink", target=target)
        else:
            if len(stack) > nar.DEEPEST:
                raise MalformedListing(f"directories nest deeper than {nar.DEEPEST}")
            yield Listed(path, "directory")
            stack.append((path, _named(node.entries)))


def _named(entries: dict[str, _Node]) -> Iterator[tuple[bytes, _Node]]:
    below = {_name(name): node for name, node in entries.items()}
    return iter(sorted(below.items(), key=lambda each: each[0]))


def _name(text: str) -> bytes:
    name = _bytes(text, nar.LONGEST_NAME, "a name")
    if name in (b".", b"..") or b"/" in name:
        raise MalformedListing(f"{text!r} cannot be the name of a file")
    return name


def _bytes(text: str, limit: int, what: str) -> bytes:
    spelt = text.encode()
    if not 0 < len(spelt) <= limit or b"\0" in spelt:
        raise MalformedListing(f"{what} cannot be {text[:80]!r}: it is empty, too long or has NUL")
    return spelt


def write(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Write the listing, one piece an entry; raises NotText."""
    yield b'{"version":1,"root":'
    depth, first = 0, True
    for entry in entries:
        level = entry.path.count(b"/") + 1 if entry.path else 0
        text = "}}" * (depth - level)
        if level:
            comma = "" if first and depth == level else ","
            text += f"{comma}{_string(entry.path.rpartition(b'/')[2], entry.path)}:"
        depth, first = level, entry.kind == "directory"
        if first:
            depth += 1
        yield (text + _node(entry)).encode()
    yield ("}}" * depth + "}\n").encode()


def _node(entry: Entry) -> str:
    if entry.kind == "directory":
        return '{"type":"directory","entries":{'
    if entry.kind == "symlink":
        return f'{{"type":"symlink","target":{_string(entry.target, entry.path)}}}'
    executable = ',"executable":true' if entry.executable else ""
    offset = f',"narOffset":{entry.offset}' if entry.offset else ""
    return f'{{"type":"regular","size":{entry.size}{executable}{offset}}}'


def _string(text: bytes, path: bytes) -> str:
    try:
        return json.dumps(text.decode(), ensure_ascii=False)
    except UnicodeDecodeError:
        raise NotText(f"{path!r}: {text!r} is not UTF-8 and cannot stand in JSON") from None
