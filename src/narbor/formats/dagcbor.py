"""DAG-CBOR: the one spelling of the IPLD data model in CBOR.

    None, bool, int (64 bits and a sign), float (64 bits, never NaN or infinite), str, bytes, list,
    dict (keys are text, sorted by length, then bytewise), Link (tag 42: a zero byte and a CID)

`decode` refuses every other spelling of the same value: numbers longer than need be, indefinite
lengths, other tags, unsorted or repeated keys. So encode(decode(x)) == x for all that is read.
With `strict=False` the order of keys and the length of numbers are forgiven, as other readers do:
for finding the links of blocks that came from elsewhere. Nothing is ever written that way.
Specification: https://ipld.io/specs/codecs/dag-cbor/spec/
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from narbor.errors import Rejected
from narbor.names import cidtext
from narbor.names.cid import MalformedCid

DEEPEST: Final = 128
_TAG: Final = b"\xd8\x2a"
_SIMPLE: Final[dict[int, "Value"]] = {0xF4: False, 0xF5: True, 0xF6: None}
_EXTRA: Final = {24: 1, 25: 2, 26: 4, 27: 8}


class MalformedCbor(Rejected):
    """Bytes are no DAG-CBOR."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link, by its CID as it stands: version 0 or 1."""

    cid: bytes


Value: TypeAlias = (
    "bool | int | float | str | bytes | Link | Sequence[Value] | Mapping[str, Value] | None"
)


def encode(value: Value) -> bytes:
    """Write a value; raises MalformedCbor for what has no place in the data model."""
    out: list[bytes] = []
    _write(value, out, 0)
    return b"".join(out)


def _write(value: Value, out: list[bytes], depth: int) -> None:
    if depth > DEEPEST:
        raise MalformedCbor(f"a value that is deeper than {DEEPEST}")
    match value:
        case None:
            out.append(b"\xf6")
        case bool():
            out.append(b"\xf5" if value else b"\xf4")
        case int():
            out.append(_head(0, value) if value >= 0 else _head(1, -1 - value))
        case float():
            if not math.isfinite(value):
                raise MalformedCbor(f"{value} has no place in DAG-CBOR")
            out.append(b"\xfb" + struct.pack(">d", value))
        case bytes():
            out += (_head(2, len(value)), value)
        case str():
            text = _utf8(value)
            out += (_head(3, len(text)), text)
        case Link():
            out += (_TAG, _head(2, len(value.cid) + 1), b"\0", value.cid)
        case Mapping():
            out.append(_head(5, len(value)))
            for text, each in sorted(
                ((_utf8(key), each) for key, each in value.items()),
                key=lambda pair: (len(pair[0]), pair[0]),
            ):
                out += (_head(3, len(text)), text)
                _write(each, out, depth + 1)
        case Sequence():
            out.append(_head(4, len(value)))
            for each in value:
                _write(each, out, depth + 1)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedCbor(f"{text!r} cannot be written in UTF-8") from error


def _head(major: int, number: int) -> bytes:
    """Write a major type with its number, as short as it can be."""
    if number < 24:
        return bytes((major << 5 | number,))
    for low, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major << 5 | low,)) + number.to_bytes(size, "big")
    raise MalformedCbor(f"{number} takes more than 64 bits")


def decode(data: bytes, strict: bool = True) -> Value:
    """Read exactly one value; raises MalformedCbor and nothing else."""
    reader = _Reader(data, strict)
    value = reader.value(0)
    if reader.at != len(data):
        raise MalformedCbor(f"{len(data) - reader.at} bytes behind the value")
    return value


class _Reader:
    """Reads one value after the other; `at` is where the next one begins."""

    def __init__(self, data: bytes, strict: bool) -> None:
        self._data = data
        self._strict = strict
        self.at = 0

    def value(self, depth: int) -> Value:
        if depth > DEEPEST:
            raise MalformedCbor(f"a value that is deeper than {DEEPEST}")
        first = self._take(1)[0]
        if first in _SIMPLE:
            return _SIMPLE[first]
        if first == 0xFB:
            return self._float()
        major, number = first >> 5, self._number(first & 31)
        if major < 2:
            return number if major == 0 else -1 - number
        if major == 2:
            return self._take(number)
        if major == 3:
            return self._text(number)
        if major == 4:
            return [self.value(depth + 1) for _ in range(self._fits(number))]
        if major == 5:
            return self._map(number, depth)
        if major == 6 and number == 42:
            return self._link()
        raise MalformedCbor(f"byte {self.at - 1} begins a value that DAG-CBOR does not know")

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise MalformedCbor(f"{size} bytes are said to follow byte {self.at}: there are fewer")
        piece = self._data[self.at : end]
        self.at = end
        return piece

    def _number(self, low: int) -> int:
        if low < 24:
            return low
        size = _EXTRA.get(low)
        if size is None:
            raise MalformedCbor(f"byte {self.at - 1} begins a value without a definite length")
        number = int.from_bytes(self._take(size), "big")
        if self._strict and number < (24 if size == 1 else 1 << 4 * size):
            raise MalformedCbor(f"{number} is written in {size} bytes, which is too many")
        return number

    def _fits(self, count: int) -> int:
        """Check that so many values, of a byte each at least, can follow."""
        if count > len(self._data) - self.at:
            raise MalformedCbor(f"{count} values cannot stand in {len(self._data) - self.at} bytes")
        return count

    def _float(self) -> float:
        (number,) = struct.unpack(">d", self._take(8))
        if not math.isfinite(number):
            raise MalformedCbor(f"{number} has no place in DAG-CBOR")
        return float(number)

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as error:
            raise MalformedCbor(f"a text before byte {self.at} is no UTF-8: {error}") from error

    def _map(self, count: int, depth: int) -> Value:
        found: dict[str, Value] = {}
        last = (-1, b"")
        for _ in range(self._fits(count)):
            first = self._take(1)[0]
            if first >> 5 != 3:
                raise MalformedCbor(f"byte {self.at - 1} begins a key that is no text")
            key = self._text(self._number(first & 31))
            place = len(spelt := key.encode()), spelt
            if key in found or (self._strict and place < last):
                raise MalformedCbor(f"the key {key[:80]!r} stands twice or out of order")
            last = place
            found[key] = self.value(depth + 1)
        return found

    def _link(self) -> Link:
        first = self._take(1)[0]
        if first >> 5 != 2:
            raise MalformedCbor("a link that is no byte string")
        data = self._take(self._number(first & 31))
        if data[:1] != b"\0":
            raise MalformedCbor("a link without its zero byte")
        try:
            cidtext.known(data[1:])
        except MalformedCid as error:
            raise MalformedCbor(f"a link to what is no CID: {error}") from error
        return Link(data[1:])
