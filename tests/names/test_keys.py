"""Keys and signatures, against real ones and against RFC 8032."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.names.keys import (
    CorruptKey,
    CorruptSignature,
    Keyring,
    PublicKey,
    SecretKey,
    Signature,
)
from tests import strategies

VECTORS = Path(__file__).parent.parent / "vectors"
OFFICIAL = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

CURL = (
    "1;/nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin;"
    "sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0;196040;"
    "/nix/store/0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0,"
    "/nix/store/6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115,"
    "/nix/store/j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12,"
    "/nix/store/yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n"
)
CURL_SIGNATURE = (
    "cache.nixos.org-1:TsTTb3WGTZKphvYdBHXwo6weVILmTytUjLB+vcX89fOjjRicCHmKA4RC"
    "PMVLkj6TMJ4GMX3HPVWRdD1hkeKZBQ=="
)


def test_a_real_signature() -> None:
    ring = Keyring.parse(OFFICIAL)
    assert ring.signers(CURL, [CURL_SIGNATURE]) == ("cache.nixos.org-1",)
    assert ring.signers(CURL + "x", [CURL_SIGNATURE]) == ()
    assert Keyring().signers(CURL, [CURL_SIGNATURE]) == ()


def test_keys_as_nix_made_them() -> None:
    secret = (VECTORS / "cache" / "secret-key").read_text()
    public = (VECTORS / "cache" / "public-key").read_text()
    key = SecretKey.parse(secret)
    assert (str(key), str(key.public)) == (secret, public)
    assert key.public == PublicKey.parse(public + "\n")


def test_the_first_vector_of_rfc_8032() -> None:
    key = SecretKey(
        "rfc", bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert key.public.value.hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert Signature.parse(key.sign("")).value.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


@given(strategies.secret_keys())
def test_keys_there_and_back(key: SecretKey) -> None:
    assert SecretKey.parse(f"{key}\n") == key
    assert PublicKey.parse(str(key.public)) == key.public
    assert str(key).partition(":")[2] not in repr(key)
    assert repr(key.seed) not in repr(key)


@given(strategies.secret_keys(), st.text(max_size=40), st.text(max_size=40))
def test_only_the_signed_text_verifies(key: SecretKey, text: str, other: str) -> None:
    ring = Keyring((key.public,))
    signature = key.sign(text)
    assert ring.signers(text, [signature]) == (key.name,)
    assert ring.signers(other, [signature]) == ((key.name,) if text == other else ())


@given(strategies.secret_keys(), st.integers(0, 511))
def test_any_flipped_bit_is_seen(key: SecretKey, bit: int) -> None:
    good = Signature.parse(key.sign("text"))
    value = bytearray(good.value)
    value[bit // 8] ^= 1 << bit % 8
    assert not key.public.verifies("text", Signature(key.name, bytes(value)))


def test_generated_keys_differ_and_work() -> None:
    keys = [SecretKey.generate("new-1"), SecretKey.generate("new-1")]
    assert keys[0] != keys[1]
    assert keys[0].public.verifies("text", Signature.parse(keys[0].sign("text")))


def test_the_name_decides_which_key_is_tried() -> None:
    key = SecretKey.generate("mine")
    assert Keyring((PublicKey("other", key.public.value),)).signers("t", [key.sign("t")]) == ()


def test_names_come_once_in_the_order_of_signatures() -> None:
    a, b, c = (SecretKey.generate(name) for name in "abc")
    ring = Keyring((a.public, b.public))
    texts = [b.sign("t"), c.sign("t"), a.sign("other"), b.sign("t"), a.sign("t")]
    assert ring.signers("t", texts) == ("b", "a")


def test_two_keys_may_share_a_name() -> None:
    old, new = SecretKey.generate("k"), SecretKey.generate("k")
    ring = Keyring.parse(f"{old.public}\n {new.public} ")
    assert ring.names == ("k",)
    for key in (old, new):
        assert ring.signers("t", [key.sign("t")]) == ("k",)


@given(st.text("ab-1 \u00e9", min_size=1, max_size=5), st.binary(min_size=1, max_size=80))
def test_signatures_there_and_back(name: str, value: bytes) -> None:
    text = str(Signature(name, value))
    assert Signature.parse(text) == Signature(name, value)
    assert Signature.parse(text.rstrip("=")) == Signature(name, value)


@pytest.mark.parametrize(
    "text", ["", "a", ":", "a:", ":QUJD", "a:=", "a:A", "a:QU JD", "a:QU-D", "a:QUJD\n", "a:\u00e9"]
)
def test_texts_that_are_no_signature(text: str) -> None:
    with pytest.raises(CorruptSignature):
        Signature.parse(text)


def test_a_wrong_length_matters_only_for_a_known_key() -> None:
    key = SecretKey.generate("known")
    good = key.sign("t")
    ring = Keyring((key.public,))
    assert ring.signers("t", ["unknown:QUJD", good]) == ("known",)
    with pytest.raises(CorruptSignature, match="3 bytes"):
        ring.signers("t", ["known:QUJD", good])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:",
        OFFICIAL[:-2],
        OFFICIAL[:-1],
        f":{OFFICIAL.partition(':')[2]}",
        f"a b:{OFFICIAL.partition(':')[2]}",
        f"{OFFICIAL[:-1]}!",
        f"{OFFICIAL} x",
        f"a:{base64.b64encode(bytes(31)).decode()}",
        f"a:{base64.b64encode(bytes(64)).decode()}",
    ],
)
def test_texts_that_are_no_public_key(text: str) -> None:
    with pytest.raises(CorruptKey):
        PublicKey.parse(text)


@given(strategies.secret_keys(), st.integers(0, 63))
def test_halves_that_do_not_belong_together(key: SecretKey, at: int) -> None:
    value = bytearray(key.seed + key.public.value)
    value[at] ^= 1
    with pytest.raises(CorruptKey, match="belong together"):
        SecretKey.parse(f"{key.name}:{base64.b64encode(value).decode()}")


@pytest.mark.parametrize("cut", [4, 3, 1])
@pytest.mark.parametrize("tail", ["", "!"])
def test_a_broken_secret_is_never_shown(cut: int, tail: str) -> None:
    secret = str(SecretKey.generate("mine")).partition(":")[2]
    with pytest.raises(CorruptKey) as caught:
        SecretKey.parse(f"mine:{secret[:-cut]}{tail}")
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "mine" in shown
    assert secret[:20] not in shown


def test_a_name_with_a_blank_is_refused() -> None:
    for name in ("", "a b", "a:b", "a\n"):
        with pytest.raises(CorruptKey):
            SecretKey.generate(name)
