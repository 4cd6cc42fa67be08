"""Hashes and their four spellings (hex, Nix base 32, base64, SRI), and seals."""

import base64
import binascii
from dataclasses import dataclass

from narbor.errors import Rejected
from narbor.names import base32

SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64, "blake3": 32}


class MalformedDigest(Rejected):
    """A text is not a hash in any spelling Nix or Guix uses."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The value of a hash function, with the function's name as Nix writes it."""

    algorithm: str
    value: bytes

    def __post_init__(self) -> None:
        if SIZES.get(self.algorithm) != len(self.value):
            raise MalformedDigest(
                f"{self.value.hex()} ({len(self.value)} bytes) is no {self.algorithm} hash"
            )

    @property
    def hex(self) -> str:
        """Lower-case hexadecimal."""
        return self.value.hex()

    @property
    def nix32(self) -> str:
        """Nix's base 32."""
        return base32.nix(self.value)

    @property
    def sri(self) -> str:
        """The W3C's Subresource Integrity form, `sha256-BASE64`."""
        return f"{self.algorithm}-{base64.b64encode(self.value).decode()}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.nix32}"


def parse(text: str) -> Digest:
    """Read `ALGORITHM:` with hex, Nix base 32 or base64, or SRI `ALGORITHM-BASE64`, as Nix does.

    The length tells the three apart. Raises MalformedDigest.
    """
    algorithm, colon, rest = text.partition(":")
    if not colon:
        algorithm, dash, rest = text.partition("-")
        if not dash:
            raise MalformedDigest(f"{text!r} does not name a hash algorithm")
    size = SIZES.get(algorithm)
    if size is None:
        raise MalformedDigest(f"{text!r}: the hash algorithm {algorithm!r} is not known")
    try:
        if not colon:
            return Digest(algorithm, base64.b64decode(rest, validate=True))
        if len(rest) == size * 2:
            return Digest(algorithm, bytes.fromhex(rest))
        if len(rest) == (size * 8 + 4) // 5:
            return Digest(algorithm, base32.parse_nix(rest, size))
        return Digest(algorithm, base64.b64decode(rest, validate=True))
    except (binascii.Error, ValueError, base32.MalformedBase32) as error:
        raise MalformedDigest(f"{text!r} is no {algorithm} hash: {error}") from error


@dataclass(frozen=True, slots=True)
class Seal:
    """What a byte stream must turn out to be: its hash and its length in bytes."""

    digest: Digest
    size: int
