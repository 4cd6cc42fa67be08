"""Tar archives, as they are written: ustar, with a pax header where a name or a size is too long.

    512 bytes of header, the content, zeros up to the next multiple of 512; in the end 1024 zeros

All times are the same and nobody owns anything, so that equal trees make equal archives. Headers
and padding only: content goes between them as it is.
Specification: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block".
"""

import struct
from typing import Final, Literal, TypeAlias

from narbor.errors import Refused

Kind: TypeAlias = Literal["file", "directory", "symlink"]
BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
MODES: Final[dict[Kind, int]] = {"file": 0o644, "directory": 0o755, "symlink": 0o777}
TIME: Final = 1
"""Of whatever says no time of its own: that of a Nix store."""

_FLAGS: Final[dict[Kind, bytes]] = {"file": b"0", "symlink": b"2", "directory": b"5"}
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_LONGEST: Final = 100
_LARGEST: Final = 8**11 - 1
_LARGEST_TIME: Final = 8**11 - 1


class BadName(Refused):
    """A name cannot stand in an archive."""


def header(
    name: bytes,
    kind: Kind,
    size: int = 0,
    mode: int | None = None,
    time: int | None = None,
    target: bytes = b"",
) -> bytes:
    """Write what stands before the content of an entry: one header, or three blocks and more.

    `name` is a path with `/`, relative; of a directory without its last `/`. `size` is that of the
    content in bytes, `mode` the nine bits of permissions, `time` seconds since 1970, `target` what
    a symlink says. Raises BadName.
    """
    if not name or name.startswith(b"/") or b"\0" in name or b"\0" in target:
        raise BadName(f"{name!r} cannot be the name of an entry in an archive")
    full = name + b"/" * (kind == "directory")
    more = _more(full, target, size)
    bits = MODES[kind] if mode is None else mode & 0o777
    when = min(max(TIME if time is None else time, 0), _LARGEST_TIME)
    head = _block(full, _FLAGS[kind], size, bits, when, target)
    if not more:
        return head
    before = _block(b"././@PaxHeader", b"x", len(more), 0o644, TIME, b"")
    return before + more + padding(len(more)) + head


def padding(size: int) -> bytes:
    """Return the zeros that stand behind content of so many bytes."""
    return bytes(-size % BLOCK)


def _more(name: bytes, target: bytes, size: int) -> bytes:
    """Write the records of a pax header: what the header itself has no room for."""
    records, binary = b"", False
    for key, value in ((b"path", name), (b"linkpath", target)):
        plain = _is_text(value)
        if len(value) > _LONGEST or (plain and not value.isascii()):
            records += _record(key, value)
            binary |= not plain
    if size > _LARGEST:
        records += _record(b"size", b"%d" % size)
    return _record(b"hdrcharset", b"BINARY") * binary + records


def _record(key: bytes, value: bytes) -> bytes:
    """Write a record, whose length counts its own digits."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d%b" % (length, rest)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _block(name: bytes, flag: bytes, size: int, mode: int, time: int, target: bytes) -> bytes:
    fields = [
        name[:_LONGEST],
        b"%07o\0" % mode,
        b"%07o\0" % 0,
        b"%07o\0" % 0,
        b"%011o\0" % (size if size <= _LARGEST else 0),
        b"%011o\0" % time,
        b" " * 8,
        flag,
        target[:_LONGEST],
        b"ustar\0",
        b"00",
        b"",
        b"",
        b"%07o\0" % 0,
        b"%07o\0" % 0,
        b"",
    ]
    # The sum is over the header with blanks in place of the sum.
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)
