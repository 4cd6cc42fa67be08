"""`packages.json`, which a channel has of its packages: what nixpkgs says of each attribute.

    {"version":2,"packages":{"hello":{"name":"hello-2.12.1","system":"x86_64-linux",
      "meta":{"description":"...",...},...},...}}

It is of hundreds of megabytes, so that it is read while it comes, one package at a time (nixpkgs:
pkgs/top-level/packages-info.nix).
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from narbor.errors import Rejected
from narbor.formats.jsontokens import OPENERS, QUOTE, SMALLEST_PIECE, TOKEN
from narbor.formats.streams import gathered

DEEPEST: Final = 64
LARGEST: Final = 1 << 22  # bytes of one package
_PACKAGES: Final = b'"packages"'


class MalformedPackages(Rejected):
    """Bytes are no packages.json."""


class _Meta(Struct, frozen=True):
    description: str | None = None


class _Package(Struct, frozen=True):
    meta: _Meta = _Meta()


def descriptions(chunks: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Give attributes with their descriptions, where there are any; raises MalformedPackages.

    What was given before an error is right, though it is not all.
    """
    whole = msgspec.json.Decoder(_Package)
    for key, text in _entries(chunks):
        try:
            said = whole.decode(text).meta.description
            attribute = msgspec.json.decode(key, type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedPackages(f"the package {key[:80]!r} cannot be read: {error}") from error
        if said and said.strip():
            yield attribute, " ".join(said.split())


def _entries(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Give key and value of each member of the object `packages`."""
    buffer, key = b"", b""
    depth = begin = at = 0
    inside = False
    for piece in gathered(chunks, SMALLEST_PIECE):
        buffer += piece
        for token in TOKEN.finditer(buffer, at):
            start, at = token.span()
            if buffer[start] == QUOTE:
                if not token[1]:
                    at = start  # the end of this string is still to come
                    break
                if depth == 1 or (inside and depth == 2):
                    key = buffer[start:at]
            elif buffer[start] in OPENERS:
                depth += 1
                if depth == 2:
                    inside = key == _PACKAGES
                elif inside and depth == 3:
                    begin = start
                elif depth > DEEPEST:
                    raise MalformedPackages(f"it is nested deeper than {DEEPEST}")
            else:
                depth -= 1
                if inside and depth == 2:
                    yield key, _bounded(buffer[begin:at])
                elif depth <= 0:
                    return
        # Of a package that has begun all is kept, of anything else nothing but what is not read.
        kept = begin if inside and depth >= 3 else at
        buffer, begin, at = buffer[kept:], begin - kept, at - kept
        _bounded(buffer)
    raise MalformedPackages("it ends in the middle")


def _bounded(text: bytes) -> bytes:
    if len(text) > LARGEST:
        raise MalformedPackages(f"a package is larger than {LARGEST} bytes")
    return text
