"""Two base 32 spellings: Nix's own, and RFC 4648 in lower case without padding.

Nix reads the bytes as one little-endian number and writes its five-bit digits with the most
significant first (nix: src/libutil/base-nix-32.cc). It is not RFC 4648 with another alphabet.
"""

import base64

from narbor.errors import Rejected

NIX_ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"
_NIX_VALUE = {letter: value for value, letter in enumerate(NIX_ALPHABET)}


class MalformedBase32(Rejected):
    """A text is not base 32 of the kind asked for."""


def nix(data: bytes) -> str:
    """Spell `data` in Nix's base 32: ceil(8 n / 5) letters for n bytes."""
    number = int.from_bytes(data, "little")
    length = (len(data) * 8 + 4) // 5
    return "".join(NIX_ALPHABET[number >> 5 * i & 31] for i in reversed(range(length)))


def parse_nix(text: str, size: int) -> bytes:
    """Read Nix's base 32 of exactly `size` bytes.

    Raises MalformedBase32 for a wrong length, a foreign letter, or bits past the last byte.
    """
    if len(text) != (size * 8 + 4) // 5:
        raise MalformedBase32(f"{text!r} is not the Nix base 32 of {size} bytes")
    number = 0
    for letter in text:
        value = _NIX_VALUE.get(letter)
        if value is None:
            raise MalformedBase32(f"{text!r} has {letter!r}, which Nix base 32 does not know")
        number = number << 5 | value
    if number >> size * 8:
        raise MalformedBase32(f"{text!r} has bits past its {size} bytes")
    return number.to_bytes(size, "little")


def rfc4648(data: bytes) -> str:
    """Spell `data` in RFC 4648 base 32, lower case, unpadded (multibase `b`)."""
    return base64.b32encode(data).decode().rstrip("=").lower()


def parse_rfc4648(text: str) -> bytes:
    """Read what `rfc4648` writes; raises MalformedBase32 for anything else."""
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:
        raise MalformedBase32(f"{text!r} is not base 32: {error}") from error
    if rfc4648(data) != text:
        raise MalformedBase32(f"{text!r} is not the canonical base 32 of its bytes")
    return data
