"""CIDs in every spelling, and names of keys."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.names import base32, cid, cidtext, peerkey
from narbor.names.cid import Cid, MalformedCid
from narbor.names.keys import CorruptKey
from narbor.names.peerkey import MalformedPeerKey, PeerKey
from tests.strategies import cids

EMPTY_V0 = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
EMPTY_V1 = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"


@given(cids())
def test_all_bases_mean_the_same(name: Cid) -> None:
    hexadecimal = name.hex()
    spellings = [
        cidtext.text(name),
        "B" + base32.rfc4648(name).upper(),
        "k" + cidtext.base36(name),
        "K" + cidtext.base36(name).upper(),
        "z" + cidtext.base58(name),
        "f" + hexadecimal,
        "F" + hexadecimal.upper(),
        "u" + base64.urlsafe_b64encode(name).decode().rstrip("="),
    ]
    read = {cidtext.parse(each) for each in spellings if len(each) <= cidtext.LONGEST}
    assert read == {cidtext.Written(name)}


def test_version_0_stays_what_it_is() -> None:
    written = cidtext.parse(EMPTY_V0)
    assert len(written) == 34
    assert cidtext.text(written) == EMPTY_V0
    assert cidtext.text(cidtext.known(written)) == EMPTY_V1


@given(st.binary(max_size=60))
def test_base_58_and_36_keep_leading_zeros(data: bytes) -> None:
    assert cidtext.parse_base58(cidtext.base58(data)) == data
    assert cidtext.parse_base36(cidtext.base36(data)) == data


def test_base_58_of_bitcoin() -> None:
    assert cidtext.base58(b"Hello World!") == "2NEpo7TZRRrLZSi2U"
    assert cidtext.base58(bytes.fromhex("0000287fb4cd")) == "11233QC4"


@pytest.mark.parametrize(
    "text",
    (
        *("", "b", "x1234", "Q" * 46, "Qm" + "0" * 44, EMPTY_V1[:-1], "B" + EMPTY_V1[1:]),
        *("z" * 600, "bAfybe", "f1", "fzz", "z" + EMPTY_V0, "m" + EMPTY_V0),
        *("u\u00fc", "k\u0130", "K\u0131"),
    ),
)
def test_refused(text: str) -> None:
    with pytest.raises(MalformedCid):
        cidtext.parse(text)


@given(st.text(max_size=80))
def test_junk_raises_only_malformed(text: str) -> None:
    for parse in (cidtext.parse, peerkey.parse):
        try:
            parse(text)
        except MalformedCid:
            continue


# RFC 8032, 7.1, test 1: the seed and the public key.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_a_name_holds_the_public_key() -> None:
    key = PeerKey(SEED)
    assert key.public == b"\x08\x01\x12\x20" + PUBLIC
    assert key.name == bytes.fromhex("01720024080112 20".replace(" ", "")) + PUBLIC
    assert peerkey.text(key.name).startswith("k51qzi5uqu5d")
    assert peerkey.peer_id(key.name).startswith("12D3KooW")
    for spelling in (
        peerkey.text(key.name),
        peerkey.peer_id(key.name),
        cidtext.text(key.name),
        "z" + cidtext.base58(key.name),
    ):
        assert peerkey.parse(spelling) == key.name
    assert peerkey.public_of(key.name) == key.public
    assert "9d61" not in repr(key)


def test_the_two_spellings_of_a_name() -> None:
    # As Kubo says them of one key (gateway-conformance, TestRedirectCanonicalIPNS).
    peer = "12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK"
    assert (
        peerkey.text(peerkey.parse(peer))
        == "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"
    )
    rsa = peerkey.parse("QmcJM7PRfkSbcM5cf1QugM5R37TLRKyJGgBEhXjLTB8uA2")
    assert peerkey.text(rsa) == "k2k4r8ol4m8kkcqz509c1rcjwunebj02gcnm5excpx842u736nja8ger"
    assert peerkey.public_of(rsa) is None


@given(st.binary(max_size=50), st.integers(0, 63))
def test_signatures(message: bytes, at: int) -> None:
    key = PeerKey(SEED)
    signature = key.sign(message)
    assert peerkey.verifies(key.public, message, signature)
    wrong = bytearray(signature)
    wrong[at] ^= 1
    assert not peerkey.verifies(key.public, message, bytes(wrong))
    assert not peerkey.verifies(key.public, message + b"x", signature)


def test_what_is_no_key() -> None:
    with pytest.raises(CorruptKey):
        PeerKey(b"short")
    for public in (
        b"",
        b"\x08\x02\x12\x20" + PUBLIC,
        b"\x08\x00\x12\x05abcde",
        b"\x08\x00\x12\x05",
    ):
        with pytest.raises(MalformedPeerKey):
            peerkey.verifies(public, b"", b"")
    for text in (EMPTY_V1, "bafkqaaa"):
        with pytest.raises(MalformedCid):
            peerkey.parse(text)
    assert PeerKey.generate().seed != PeerKey.generate().seed
    assert cid.codec(PeerKey.generate().name) == cid.LIBP2P_KEY
