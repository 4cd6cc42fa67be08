"""IPNS records: who holds a key says what its name means, until when.

    protobuf   value = 1, signatureV1 = 2, validityType = 3, validity = 4, sequence = 5, ttl = 6,
               pubKey = 7, signatureV2 = 8, data = 9
    data       DAG-CBOR {Value: bytes, Validity: bytes, ValidityType: 0, Sequence, TTL}

`signatureV2` is over "ipns-signature:" and `data`; nothing else counts. The first six fields are
for readers of old: where some stand, all must say what `data` says. Validity is a time as RFC 3339
has it, TTL nanoseconds. Times here are nanoseconds since 1970, UTC.
Specification: https://specs.ipfs.tech/ipns/ipns-record/
"""

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from narbor.errors import Rejected
from narbor.formats import dagcbor
from narbor.names import cid, peerkey
from narbor.names.cid import Cid, MalformedCid
from narbor.names.peerkey import MalformedPeerKey, PeerKey

LONGEST: Final = 10 << 10
MINUTE: Final = 60_000_000_000
HOUR: Final = 60 * MINUTE
TTL: Final = 5 * MINUTE
LIFETIME: Final = 48 * HOUR
"""For which a record is good unless told otherwise; routers keep none for longer."""

_SIGNED: Final = b"ipns-signature:"
_VALUE, _SIGNATURE_1, _KIND, _VALIDITY, _SEQUENCE, _TTL, _PUBLIC, _SIGNATURE, _DATA = range(1, 10)
_BYTES: Final = frozenset({_VALUE, _SIGNATURE_1, _VALIDITY, _PUBLIC, _SIGNATURE, _DATA})
_TIME: Final = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII
)


class MalformedRecord(Rejected):
    """Bytes are no IPNS record."""


class Unproven(Rejected):
    """A record was not signed by the key of its name, or contradicts itself."""


class Expired(Rejected):
    """A record is no longer good."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says; `verify` tells whether it is true. `text` is the whole as it came.

    `value` is a content path (`/ipfs/CID/...`), `until` and `ttl` are nanoseconds.
    """

    value: bytes
    sequence: int
    until: int
    ttl: int
    text: bytes


def create(
    key: PeerKey, value: bytes, sequence: int, until: int, ttl: int = TTL, legacy: bool = True
) -> bytes:
    """Sign a record. `legacy`: with the fields and the signature for readers of old as well."""
    validity = spell_time(until)
    data = dagcbor.encode(
        {"Value": value, "Validity": validity, "ValidityType": 0, "Sequence": sequence, "TTL": ttl}
    )
    fields: list[tuple[int, bytes | int]] = [
        (_SIGNATURE, key.sign(_SIGNED + data)),
        (_DATA, data),
    ]
    if legacy:
        fields = [
            (_VALUE, value),
            (_SIGNATURE_1, key.sign(value + validity + b"EOL")),
            (_KIND, 0),
            (_VALIDITY, validity),
            (_SEQUENCE, sequence),
            (_TTL, ttl),
            *fields,
        ]
    text = b"".join(_field(number, content) for number, content in fields)
    if len(text) > LONGEST:
        raise MalformedRecord(f"a record of {len(text)} bytes: more than {LONGEST}")
    return text


def parse(text: bytes) -> Record:
    """Read a record, whoever signed it; raises MalformedRecord."""
    return _record(text, _fields(text))


def verify(text: bytes, name: Cid, now: int) -> Record:
    """Read a record, and check it as a claim about `name` at the time `now`.

    Raises MalformedRecord, Unproven, Expired.
    """
    # The order is that of the specification, "Record Verification".
    fields = _fields(text)
    record = _record(text, fields)
    data, signature = _bytes(fields, _DATA), _bytes(fields, _SIGNATURE)
    public = _public(fields, name)
    try:
        proven = peerkey.verifies(public, _SIGNED + data, signature)
    except MalformedPeerKey as error:
        raise Unproven(f"{peerkey.text(name)}: {error}") from error
    if not proven:
        raise Unproven(f"the record of {peerkey.text(name)} was not signed by its key")
    _agree(fields, _document(data), name)
    if record.until <= now:
        raise Expired(
            f"the record of {peerkey.text(name)} was good until {spell_time(record.until).decode()}"
        )
    return record


def newer(one: bytes, other: bytes) -> bytes:
    """Return the better of two verified records of a name: the later sequence, then validity."""
    first, second = parse(one), parse(other)
    return max(
        (one, first), (other, second), key=lambda pair: (pair[1].sequence, pair[1].until, pair[0])
    )[0]


def spell_time(nanoseconds: int) -> bytes:
    """Spell a time with nanoseconds, as records have it."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    try:
        whole = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise MalformedRecord(f"{nanoseconds} ns is no time that can be spelt") from error
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{fraction:09}Z".encode()


def read_time(text: bytes) -> int:
    """Read a time of RFC 3339 in nanoseconds; raises MalformedRecord."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise MalformedRecord(f"{text[:80]!r} is no time (RFC 3339)")
    try:
        whole = datetime.fromisoformat(f"{text[:19].decode('ascii')}+00:00")
    except ValueError as error:
        raise MalformedRecord(f"{text!r} is no time: {error}") from error
    seconds = timegm(whole.utctimetuple())
    zone = match[8]
    if zone != b"Z":
        ahead = (int(zone[1:3]) * 60 + int(zone[4:6])) * 60
        seconds -= ahead if zone[:1] == b"+" else -ahead
    return seconds * 1_000_000_000 + int((match[7] or b"0").ljust(9, b"0"))


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return bytes((number << 3,)) + cid.varint(content)
    return bytes((number << 3 | 2,)) + cid.varint(len(content)) + content


def _fields(text: bytes) -> dict[int, bytes | int]:
    """Read the protobuf. Fields that are not known are passed over, as protobuf demands."""
    if len(text) > LONGEST:
        raise MalformedRecord(f"a record of {len(text)} bytes: more than {LONGEST}")
    fields: dict[int, bytes | int] = {}
    at = 0
    try:
        while at < len(text):
            tag, at = _varint(text, at)
            content: bytes | int
            if tag & 7 == 0:
                content, at = _varint(text, at)
            elif tag & 7 == 2:
                length, at = _varint(text, at)
                content, at = text[at : at + length], at + length
            else:
                raise MalformedRecord(f"a field of the wire type {tag & 7}")
            number = tag >> 3
            if 1 <= number <= _DATA:
                if number in fields or (number in _BYTES) != isinstance(content, bytes):
                    raise MalformedRecord(f"field {number} twice, or of the wrong type")
                fields[number] = content
    except MalformedCid as error:
        raise MalformedRecord(f"a record with {error}") from error
    if at != len(text):
        raise MalformedRecord(f"a record that ends {at - len(text)} bytes too early")
    return fields


def _varint(text: bytes, at: int) -> tuple[int, int]:
    """Read a number of 64 bits, which may take ten bytes."""
    number = shift = 0
    for end in range(at, min(at + 10, len(text))):
        number |= (text[end] & 127) << shift
        shift += 7
        if text[end] < 128:
            if number >> 64:
                break
            return number, end + 1
    raise MalformedRecord(f"byte {at} of a record begins no number of 64 bits")


def _bytes(fields: dict[int, bytes | int], number: int) -> bytes:
    content = fields.get(number)
    if not isinstance(content, bytes) or not content:
        raise MalformedRecord(f"a record without field {number} (signatureV2 is 8, data is 9)")
    return content


def _document(data: bytes) -> dict[str, dagcbor.Value]:
    try:
        found = dagcbor.decode(data)
    except dagcbor.MalformedCbor as error:
        raise MalformedRecord(f"the data of a record: {error}") from error
    if not isinstance(found, dict):
        raise MalformedRecord("the data of a record is no map")
    return found


def _record(text: bytes, fields: dict[int, bytes | int]) -> Record:
    _bytes(fields, _SIGNATURE)
    said = _document(_bytes(fields, _DATA))
    value, validity = said.get("Value"), said.get("Validity")
    if not isinstance(value, bytes) or not isinstance(validity, bytes):
        raise MalformedRecord("a record without Value and Validity")
    numbers = [said.get(name) for name in ("ValidityType", "Sequence", "TTL")]
    kind, sequence, ttl = [
        number if isinstance(number, int) and not isinstance(number, bool) else -1
        for number in numbers
    ]
    if kind != 0:
        raise MalformedRecord(f"a record with a validity of type {kind}: only 0 is known")
    if sequence < 0 or ttl < 0:
        raise MalformedRecord(f"a record with Sequence {numbers[1]!r} and TTL {numbers[2]!r}")
    return Record(value, sequence, read_time(validity), ttl, text)


def _public(fields: dict[int, bytes | int], name: Cid) -> bytes:
    """Return the public key: out of the name, or out of the record where it fits the name."""
    public = peerkey.public_of(name)
    said = fields.get(_PUBLIC)
    if isinstance(said, bytes) and said:
        if peerkey.name_of(said) != name and said != public:
            raise Unproven(f"a record of {peerkey.text(name)} with another's public key")
        return said
    if public is None:
        raise Unproven(f"a record of {peerkey.text(name)} without the public key")
    return public


def _agree(fields: dict[int, bytes | int], said: dict[str, dagcbor.Value], name: Cid) -> None:
    """Check that the fields for readers of old, where some stand, say what `data` says."""
    if _VALUE not in fields and _SIGNATURE_1 not in fields:
        return
    for number, key, absent in (
        (_VALUE, "Value", b""),
        (_VALIDITY, "Validity", b""),
        (_KIND, "ValidityType", 0),
        (_SEQUENCE, "Sequence", 0),
        (_TTL, "TTL", 0),
    ):
        if fields.get(number, absent) != said.get(key):
            raise Unproven(f"the record of {peerkey.text(name)} says two things of its {key}")
