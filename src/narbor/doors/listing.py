"""The tree of an item as JSON, Nix's `.ls`, version 1.

    {"version":1,"root":{"type":"directory","entries":{NAME:NODE,...}}}
    NODE = {"type":"regular","size":N[,"executable":true][,"narOffset":N]}
         | {"type":"symlink","target":TEXT} | {"type":"directory","entries":{...}}

`narOffset` is where the contents begin in the uncompressed archive. JSON is Unicode and has no
place for other bytes: an item in which a name or a target is not UTF-8 has no listing (`NotText`),
since an escape of our own would name files that are not there.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Protocol

from narbor.errors import Refused


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
