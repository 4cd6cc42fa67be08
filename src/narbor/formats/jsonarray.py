"""One long JSON array of objects (RFC 8259), split into its objects while it arrives.

What stands between the objects is checked here; what is inside them by who reads them: here only
strings and brackets are told apart, which is what finding an end takes.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from narbor.errors import Rejected
from narbor.formats.jsontokens import OPENERS, QUOTE, SMALLEST_PIECE, TOKEN
from narbor.formats.streams import gathered

DEEPEST: Final = 32

_BRACE: Final = b"{"[0]
_SPACE: Final = b" \t\r\n"


class MalformedArray(Rejected):
    """Bytes are no JSON array of objects, or an object is larger or deeper than allowed."""


def objects(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Give the text of each object, of at most `limit` bytes; raises MalformedArray.

    What was given before an error is whole, though the array is not.
    """
    buffer, before = b"", b"["
    depth = begin = done = at = 0
    pieces = gathered(chunks, SMALLEST_PIECE)
    for piece in pieces:
        buffer += piece
        for token in TOKEN.finditer(buffer, at):
            start, at = token.span()
            if buffer[start] == QUOTE:
                if not token[1]:
                    at = start  # the end of this string is still to come
                    break
            elif buffer[start] in OPENERS:
                depth += 1
                if depth == 2:
                    begin = start
                    _between(buffer[done:begin], before)
                    if buffer[begin] != _BRACE:
                        raise MalformedArray("an element is no object")
                elif depth > DEEPEST:
                    raise MalformedArray(f"an object is nested deeper than {DEEPEST}")
            else:
                depth -= 1
                if depth == 1:
                    if at - begin > limit:
                        raise MalformedArray(f"an object is larger than {limit} bytes")
                    yield buffer[begin:at]
                    done, before = at, b","
                elif depth <= 0:
                    _between(buffer[done:at], b"]" if before == b"," else b"[]")
                    _nothing(buffer[at:], pieces)
                    return
        buffer, begin, at, done = buffer[done:], begin - done, at - done, 0
        if len(buffer) > limit:
            raise MalformedArray(f"an object is larger than {limit} bytes")
    raise MalformedArray(f"it ends in the middle, behind {buffer[-40:]!r}")


def _between(text: bytes, expected: bytes) -> None:
    found = text.translate(None, _SPACE)
    if found != expected:
        raise MalformedArray(f"it has {found[:40]!r} where {expected!r} should be")


def _nothing(text: bytes, rest: Iterable[bytes]) -> None:
    for piece in (text, *rest):
        if more := piece.strip(_SPACE):
            raise MalformedArray(f"behind its end there is {more[:40]!r}")
