"""Two base 32 spellings: Nix's own, and RFC 4648 in lower case without padding.

Nix reads the bytes as one little-endian number and writes its five-bit digits with the most
significant first (nix: src/libutil/base-nix-32.cc). It is not RFC 4648 with another alphabet.
"""

import base64

from narbor.errors import Rejected

NIX_ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"
_RFC_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_FROM_RFC = bytes.maketrans(_RFC_ALPHABET, NIX_ALPHABET.encode())
# What `int` reads as digits to the base 32.
_TO_DIGITS = str.maketrans(NIX_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


class MalformedBase32(Rejected):
    """A text is not base 32 of the kind asked for."""


def nix(data: bytes) -> str:
    """Spell `data` in Nix's base 32: ceil(8 n / 5) letters for n bytes."""
    length = (len(data) * 8 + 4) // 5
    # RFC 4648 has the most significant digit first too, of groups of five bytes.
    groups = bytes(-len(data) % 5) + data[::-1]
    spelt = base64.b32encode(groups).translate(_FROM_RFC).decode()
    return spelt[len(spelt) - length :]


def parse_nix(text: str, size: int) -> bytes:
    """Read Nix's base 32 of exactly `size` bytes.

    Raises MalformedBase32 for a wrong length, a foreign letter, or bits past the last byte.
    """
    if len(text) != (size * 8 + 4) // 5:
        raise MalformedBase32(f"{text!r} is not the Nix base 32 of {size} bytes")
    foreign = text.strip(NIX_ALPHABET)
    if foreign:
        raise MalformedBase32(f"{text!r} has {foreign[0]!r}, which Nix base 32 does not know")
    number = int(text.translate(_TO_DIGITS), 32) if text else 0
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
