"""The spellings of CIDs that others use, and CIDs as they stand in links: version 0 or 1.

A `Written` is a CID in the very bytes of the link or the text it came from. Stores know only its
CIDv1 (`known`); but whoever asks for a block under a CIDv0, or finds one in a CAR, expects to be
answered in the same form, since comparing CIDs is comparing bytes.

Texts are multibase: `b` and `B` (base 32), `k` and `K` (base 36), `z` (base 58), `f` and `F`
(base 16), `u` (base 64, URL-safe), all without padding; and CIDv0, base 58 without a prefix.
"""

import base64
import binascii
from typing import Final, NewType

from narbor.names import base32, cid
from narbor.names.cid import Cid, MalformedCid

Written = NewType("Written", bytes)

LONGEST: Final = 512
"""Letters a CID may have. Numbers to a base that is no power of two take quadratic time."""

BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_V0: Final = b"\x12\x20"


def known(written: bytes) -> Cid:
    """Return the CIDv1 of a CID of either version; raises MalformedCid."""
    return cid.check(written)


def text(written: bytes) -> str:
    """Spell a CID as IPFS does by default: version 0 as `Qm...`, version 1 as `b...`."""
    if written[:2] == _V0:
        return base58(written)
    return "b" + base32.rfc4648(written)


def parse(spelling: str) -> Written:
    """Read a CID in any spelling above; raises MalformedCid."""
    if len(spelling) > LONGEST:
        raise MalformedCid(f"a CID of {len(spelling)} letters")
    if len(spelling) == 46 and spelling.startswith("Qm"):
        data = parse_base58(spelling)
    else:
        data = decode(spelling)
        if data[:2] == _V0:
            raise MalformedCid(f"{spelling!r} is a CIDv0 in multibase, which is no CID")
    known(data)
    return Written(data)


def decode(spelling: str) -> bytes:
    """Read a multibase text; raises MalformedCid."""
    prefix, rest = spelling[:1], spelling[1:]
    try:
        if prefix in ("b", "B"):
            return base32.parse_rfc4648(rest if prefix == "b" else _lower(rest))
        if prefix in ("k", "K"):
            return parse_base36(rest if prefix == "k" else _lower(rest))
        if prefix == "z":
            return parse_base58(rest)
        if prefix in ("f", "F"):
            return binascii.unhexlify(rest)
        if prefix == "u":
            return base64.b64decode(rest + "=" * (-len(rest) % 4), b"-_", validate=True)
    except (base32.MalformedBase32, ValueError) as error:
        raise MalformedCid(f"{spelling[:LONGEST]!r} cannot be read: {error}") from error
    raise MalformedCid(f"{spelling[:LONGEST]!r} is in no base that is read here (b, k, z, f, u)")


def _lower(rest: str) -> str:
    if not rest.isupper() or not rest.isascii():
        raise MalformedCid(f"{rest!r} mixes cases")
    return rest.lower()


def base58(data: bytes) -> str:
    """Spell bytes in Bitcoin's base 58."""
    return _spell(data, BASE58)


def parse_base58(spelling: str) -> bytes:
    """Read Bitcoin's base 58; raises MalformedCid."""
    return _read(spelling, BASE58)


def base36(data: bytes) -> str:
    """Spell bytes in base 36, lower case."""
    return _spell(data, BASE36)


def parse_base36(spelling: str) -> bytes:
    """Read base 36 in lower case; raises MalformedCid."""
    return _read(spelling, BASE36)


def _spell(data: bytes, alphabet: str) -> str:
    """Write bytes as one big-endian number; each leading zero byte is a leading first letter."""
    number, letters, base = int.from_bytes(data, "big"), [], len(alphabet)
    while number:
        number, digit = divmod(number, base)
        letters.append(alphabet[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return alphabet[0] * zeros + "".join(reversed(letters))


def _read(spelling: str, alphabet: str) -> bytes:
    if len(spelling) > LONGEST:
        raise MalformedCid(f"{len(spelling)} letters of base {len(alphabet)}")
    number = 0
    for letter in spelling:
        value = alphabet.find(letter)
        if value < 0:
            raise MalformedCid(f"{spelling!r} is no base {len(alphabet)}: {letter!r}")
        number = number * len(alphabet) + value
    zeros = len(spelling) - len(spelling.lstrip(alphabet[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
