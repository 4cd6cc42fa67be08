"""IPNS records: what is signed is believed, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from narbor.errors import Rejected
from narbor.formats import dagcbor, ipns
from narbor.formats.ipns import Expired, MalformedRecord, Unproven
from narbor.names import cid, peerkey
from narbor.names.peerkey import PeerKey

KEY = PeerKey(bytes(range(32)))
OTHER = PeerKey(bytes(32))
VALUE = b"/ipfs/bafkqaaa"
NOW = ipns.read_time(b"2026-11-21T12:00:00Z")
LATER = NOW + ipns.LIFETIME


def test_what_is_signed_is_believed() -> None:
    for legacy in (True, False):
        text = ipns.create(KEY, VALUE, 7, LATER, 60 * 10**9, legacy)
        record = ipns.verify(text, KEY.name, NOW)
        assert (record.value, record.sequence, record.until) == (VALUE, 7, LATER)
        assert record.ttl == 60 * 10**9
        assert record.text == text
        assert ipns.parse(text) == record


def test_the_data_by_hand() -> None:
    # Keys by length; Value and Validity are byte strings, the rest numbers.
    text = ipns.create(KEY, VALUE, 0, ipns.read_time(b"2030-01-02T03:04:05.000000006Z"), 1, False)
    data = (
        b"\xa5\x63TTL\x01\x65Value\x4e/ipfs/bafkqaaa\x68Sequence\x00"
        b"\x68Validity\x58\x1e2030-01-02T03:04:05.000000006Z\x6cValidityType\x00"
    )
    signature = KEY.sign(b"ipns-signature:" + data)
    assert text == b"\x42\x40" + signature + b"\x4a" + bytes([len(data)]) + data


@given(
    st.binary(max_size=60), st.integers(0, 1 << 40), st.integers(0, 1 << 60), st.integers(0, 10**15)
)
def test_all_fields_come_back(value: bytes, sequence: int, until: int, ttl: int) -> None:
    record = ipns.verify(ipns.create(KEY, value, sequence, until, ttl), KEY.name, until - 1)
    assert (record.value, record.sequence, record.until, record.ttl) == (
        value,
        sequence,
        until,
        ttl,
    )


@given(st.data())
def test_no_bit_can_be_changed_without_notice(data: st.DataObject) -> None:
    text = bytearray(ipns.create(KEY, VALUE, 7, LATER, legacy=data.draw(st.booleans())))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        record = ipns.verify(bytes(text), KEY.name, NOW)
    except Rejected:
        return
    # The old signature is not looked at, and a field may become one that is not known.
    assert (record.value, record.sequence, record.until) == (VALUE, 7, LATER)


@given(st.binary(max_size=60))
def test_junk_raises_only_rejected(text: bytes) -> None:
    try:
        ipns.verify(text, KEY.name, NOW)
    except Rejected:
        return


@dataclass
class Entry:
    """A record made of parts: what is given replaces what belongs there, None leaves it out."""

    data: dict[str, dagcbor.Value] = field(default_factory=dict)
    fields: dict[int, bytes | int | None] = field(default_factory=dict)
    legacy: bool = True
    key: PeerKey = KEY

    def text(self) -> bytes:
        """Spell it."""
        validity = ipns.spell_time(LATER)
        said: dict[str, dagcbor.Value] = {"Value": VALUE, "Validity": validity, "ValidityType": 0}
        said |= {"Sequence": 7, "TTL": 5}
        said |= self.data
        data = dagcbor.encode({name: value for name, value in said.items() if value is not None})
        fields: dict[int, bytes | int | None] = {8: self.key.sign(b"ipns-signature:" + data)}
        if self.legacy:
            fields |= {1: VALUE, 2: b"old", 3: 0, 4: validity, 5: 7, 6: 5}
        fields |= {9: data}
        fields |= self.fields
        return b"".join(spelt(number, value) for number, value in fields.items())


def spelt(number: int, value: bytes | int | None) -> bytes:
    """One field of protobuf."""
    if value is None:
        return b""
    if isinstance(value, int):
        return cid.varint(number << 3) + cid.varint(value)
    return cid.varint(number << 3 | 2) + cid.varint(len(value)) + value


GOOD: Final = {
    "as it should be": Entry(),
    "without the old fields": Entry(legacy=False),
    "a broken signature of old": Entry(fields={2: b"broken"}),
    "a field that is not known": Entry(fields={14: b"x", 15: 3}),
    "data that is not known": Entry({"_of ours": {"x": [1]}}),
    "the public key beside": Entry(fields={7: KEY.public}),
    "numbers alone of old": Entry(legacy=False, fields={5: 99}),
}


@pytest.mark.parametrize("entry", GOOD.values(), ids=list(GOOD))
def test_good(entry: Entry) -> None:
    record = ipns.verify(entry.text(), KEY.name, NOW)
    assert (record.value, record.sequence) == (VALUE, 7)


BAD: Final[dict[str, tuple[Entry, type[Rejected]]]] = {
    "no signature": (Entry(fields={8: None}), MalformedRecord),
    "an empty signature": (Entry(fields={8: b""}), MalformedRecord),
    "no data": (Entry(fields={9: None}), MalformedRecord),
    "another's signature": (Entry(key=OTHER), Unproven),
    "another's public key": (Entry(key=OTHER, fields={7: OTHER.public}), Unproven),
    "a key that is none": (Entry(fields={7: b"\x08\x07"}), Unproven),
    "another value of old": (Entry(fields={1: b"/ipfs/other"}), Unproven),
    "another validity of old": (Entry(fields={4: b"2040-01-01T00:00:00Z"}), Unproven),
    "another sequence of old": (Entry(fields={5: 8}), Unproven),
    "another TTL of old": (Entry(fields={6: 6}), Unproven),
    "another type of old": (Entry(fields={3: 1}), Unproven),
    "a value of old alone": (Entry(legacy=False, fields={1: VALUE}), Unproven),
    "a signature of old alone": (Entry(legacy=False, fields={2: b"old"}), Unproven),
    "no value": (Entry({"Value": None}), MalformedRecord),
    "a value that is text": (Entry({"Value": "/ipfs/bafkqaaa"}), MalformedRecord),
    "no validity": (Entry({"Validity": None}), MalformedRecord),
    "a validity of another type": (Entry({"ValidityType": 1}), MalformedRecord),
    "a sequence that is no number": (Entry({"Sequence": True}), MalformedRecord),
    "a negative TTL": (Entry({"TTL": -1}), MalformedRecord),
    "a validity that is no time": (Entry({"Validity": b"tomorrow"}), MalformedRecord),
    "a day that is none": (Entry({"Validity": b"2030-02-30T00:00:00Z"}), MalformedRecord),
    "long gone": (
        Entry({"Validity": b"2020-01-01T00:00:00Z"}, legacy=False),
        Expired,
    ),
    "more than 10 KiB": (Entry({"x": bytes(10 << 10)}), MalformedRecord),
    "a field of another type": (Entry(fields={5: b"7"}), MalformedRecord),
}


@pytest.mark.parametrize(("entry", "error"), BAD.values(), ids=list(BAD))
def test_bad(entry: Entry, error: type[Rejected]) -> None:
    with pytest.raises(error):
        ipns.verify(entry.text(), KEY.name, NOW)


def test_a_field_twice_and_odd_bytes() -> None:
    good = Entry().text()
    for text in (
        good + spelt(5, 7),
        good + b"\x0b",
        good + b"\xff" * 11,
        good[:-1],
        good + b"\x72",
    ):
        with pytest.raises(MalformedRecord):
            ipns.parse(text)


def test_it_ends_to_the_nanosecond() -> None:
    text = ipns.create(KEY, VALUE, 1, LATER)
    assert ipns.verify(text, KEY.name, LATER - 1)
    with pytest.raises(Expired):
        ipns.verify(text, KEY.name, LATER)


def test_an_rsa_name() -> None:
    key = rsa.generate_private_key(65537, 2048)
    kind, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_key().public_bytes(kind, form)
    public = b"\x08\x00\x12" + cid.varint(len(der)) + der
    name = peerkey.name_of(public)
    data = dagcbor.encode(
        {
            "Value": VALUE,
            "Validity": ipns.spell_time(LATER),
            "ValidityType": 0,
            "Sequence": 1,
            "TTL": 1,
        }
    )
    signature = key.sign(b"ipns-signature:" + data, padding.PKCS1v15(), hashes.SHA256())
    text = spelt(7, public) + spelt(8, signature) + spelt(9, data)
    assert ipns.verify(text, name, NOW).value == VALUE
    with pytest.raises(Unproven, match="without the public key"):
        ipns.verify(spelt(8, signature) + spelt(9, data), name, NOW)
    with pytest.raises(Unproven):
        ipns.verify(text, KEY.name, NOW)


def test_the_newer_record() -> None:
    def made(sequence: int, until: int) -> bytes:
        return ipns.create(KEY, VALUE, sequence, until)

    pick: Callable[[bytes, bytes], bytes] = ipns.newer
    assert pick(made(1, LATER), made(2, NOW)) == made(2, NOW)
    assert pick(made(2, NOW), made(1, LATER)) == made(2, NOW)
    assert pick(made(2, NOW), made(2, LATER)) == made(2, LATER)


@given(st.integers(0, 1 << 62))
def test_times_come_back(time: int) -> None:
    assert ipns.read_time(ipns.spell_time(time)) == time


def test_times_of_other_zones() -> None:
    expected = ipns.read_time(b"2026-11-21T10:00:00Z")
    assert ipns.read_time(b"2026-11-21T12:30:00+02:30") == expected
    assert ipns.read_time(b"2026-11-21T08:00:00.0-02:00") == expected
    assert ipns.read_time(b"2026-11-21T10:00:00.0000000019Z") == expected + 1
    for text in (
        b"2026-11-21",
        b"2026-11-21t10:00:00Z",
        b"2026-13-21T10:00:00Z",
        b"",
        b"\xff" * 20,
    ):
        with pytest.raises(MalformedRecord):
            ipns.read_time(text)
    with pytest.raises(MalformedRecord):
        ipns.spell_time(1 << 80)
