"""Who vouches for a claim, and what must still be seen in the bytes."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import narinfo
from narbor.formats.narinfo import Narinfo
from narbor.formats.vouched import (
    BY_ADDRESS,
    BY_TRUST,
    ContentAddressMismatch,
    Unvouched,
    Vouched,
    discharge,
    vouch,
)
from narbor.names import contentaddress
from narbor.names.digest import Digest, Seal
from narbor.names.keys import CorruptKey, CorruptSignature, Keyring, SecretKey
from narbor.names.storepath import StorePath
from tests import strategies
from tests.formats.test_addressed import OWN, plain

CACHE = Path(__file__).parent.parent / "vectors" / "cache"
CLAIMS = [narinfo.parse(file.read_bytes()) for file in sorted(CACHE.glob("*.narinfo"))]
RING = Keyring.parse((CACHE / "public-key").read_text())
NOBODY = Keyring()
KEY = SecretKey(name="mine", seed=bytes(32))

every_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.ca)[:18])


def archive(claim: Narinfo) -> bytes:
    """Return the archive of a vector."""
    return (CACHE / claim.url).read_bytes()


def signed(claim: Narinfo, key: SecretKey = KEY) -> Narinfo:
    """Return the claim with one good signature."""
    text = narinfo.fingerprint(claim.path, claim.seal, claim.references)
    return replace(claim, signatures=(key.sign(text),))


def addressed(method: str, digest: Digest, seal: Seal, references: tuple[str, ...] = ()) -> Narinfo:
    """Make an unsigned claim whose path follows from its address."""
    address = contentaddress.ContentAddress(method, digest)
    path = contentaddress.store_path(address, "/nix/store", "made", references, False)
    return Narinfo(
        path, "nar/x", "none", None, None, seal, references, None, (), str(address), (), b""
    )


def sha256(data: bytes) -> Digest:
    """Hash at once."""
    return Digest("sha256", hashlib.sha256(data).digest())


@every_claim
def test_nix_signed_it(claim: Narinfo) -> None:
    believed = vouch(claim, RING)
    assert believed.narinfo is claim
    assert believed.by[0] == "vectors-1"
    assert believed.duty is None


@every_claim
def test_the_address_is_enough(claim: Narinfo) -> None:
    believed = vouch(claim, NOBODY)
    data = archive(claim)
    assert believed.by == (BY_ADDRESS,)
    proven = claim.ca == f"fixed:r:{claim.seal.digest}"
    assert believed.duty == (None if proven else claim.ca)
    for size in (1, 31, len(data)):
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        assert list(discharge(believed, chunks)) == chunks


@every_claim
def test_other_bytes_are_found_out(claim: Narinfo) -> None:
    """Any content but its own, once the seal is a lie as well; a proven claim needs the seal."""
    believed = vouch(claim, NOBODY)
    if believed.duty is None:
        return
    for other in {archive(each) for each in CLAIMS} - {archive(claim)}:
        passed = []
        with pytest.raises(ContentAddressMismatch) as caught:
            for chunk in discharge(believed, [other]):
                passed.append(chunk)
        assert passed == [other]
        assert str(claim.path) in str(caught.value)
        assert str(claim.ca) in str(caught.value)


@given(st.sampled_from(CLAIMS), st.data())
def test_any_flipped_bit_fails_the_duty(claim: Narinfo, data: st.DataObject) -> None:
    believed = vouch(claim, NOBODY)
    if believed.duty is None:
        return
    bits = bytearray(archive(claim))
    at = data.draw(st.integers(0, len(bits) * 8 - 1))
    bits[at // 8] ^= 1 << at % 8
    with pytest.raises(ContentAddressMismatch):
        list(discharge(believed, [bytes(bits)]))


@given(st.sampled_from(CLAIMS), strategies.narinfos(), st.data())
def test_an_address_binds_path_references_and_store(
    claim: Narinfo, other: Narinfo, data: st.DataObject
) -> None:
    """Where one of them is changed, not even a signature or trust helps."""
    lies = [
        replace(claim, path=replace(claim.path, name=claim.path.name + "x")),
        replace(claim, path=replace(claim.path, store="/gnu/store")),
        replace(claim, path=replace(claim.path, hash_part=other.path.hash_part)),
        replace(claim, references=(*claim.references, other.path.base)),
        replace(claim, references=(*claim.references, claim.path.base) * 2),
        replace(claim, ca=next(each.ca for each in CLAIMS if each.ca != claim.ca)),
    ]
    if claim.references:
        lies.append(replace(claim, references=claim.references[1:]))
    lie = data.draw(st.sampled_from(lies))
    if (
        set(lie.references) == set(claim.references)
        and lie.path == claim.path
        and lie.ca == claim.ca
    ):
        assert vouch(lie, NOBODY).by == (BY_ADDRESS,)
        return
    with pytest.raises(ContentAddressMismatch, match=str(lie.path).replace("+", r"\+")):
        vouch(signed(lie), Keyring((KEY.public,)), trusted=True)


def test_a_tree_is_held_against_its_narhash_at_once() -> None:
    claim = next(each for each in CLAIMS if each.ca == f"fixed:r:{each.seal.digest}")
    lie = replace(claim, seal=replace(claim.seal, digest=sha256(b"other")))
    with pytest.raises(ContentAddressMismatch, match="NarHash"):
        vouch(lie, NOBODY)


@given(strategies.narinfos(), strategies.secret_keys())
def test_a_signature_by_the_keyring(claim: Narinfo, key: SecretKey) -> None:
    claim = signed(replace(claim, ca=None), key)
    assert vouch(claim, Keyring((key.public,))) == Vouched(claim, (key.name,), None)
    impostor = SecretKey(key.name, bytes(31) + bytes([key.seed[31] ^ 1]))
    for ring in (NOBODY, Keyring((impostor.public,))):
        with pytest.raises(Unvouched) as caught:
            vouch(claim, ring)
        assert str(claim.path) in str(caught.value)
        assert f"signed by {key.name}" in str(caught.value)


@given(strategies.narinfos(), strategies.narinfos())
def test_a_signature_is_for_one_claim(claim: Narinfo, other: Narinfo) -> None:
    """Each signed part taken from another claim undoes the signature; the unsigned parts do not."""
    ring = Keyring((KEY.public,))
    good = signed(replace(claim, ca=None))
    free = replace(
        good, url=other.url, compression=other.compression, file_hash=None, extra=other.extra
    )
    assert vouch(free, ring).by == ("mine",)
    for forged in (
        replace(good, path=other.path),
        replace(good, seal=replace(good.seal, digest=other.seal.digest)),
        replace(good, seal=replace(good.seal, size=other.seal.size)),
        replace(good, references=other.references),
    ):
        if replace(forged, references=good.references) != good or set(forged.references) != set(
            good.references
        ):
            with pytest.raises(Unvouched):
                vouch(forged, ring)


@given(strategies.narinfos())
def test_trust_is_said_aloud(claim: Narinfo) -> None:
    claim = replace(claim, ca=None, signatures=())
    with pytest.raises(Unvouched, match="signed by nobody; trusted: no key"):
        vouch(claim, NOBODY)
    assert vouch(claim, NOBODY, trusted=True) == Vouched(claim, (BY_TRUST,), None)
    both = vouch(signed(claim), Keyring((KEY.public,)), trusted=True)
    assert both.by == ("mine", BY_TRUST)


@pytest.mark.parametrize("reason", [BY_ADDRESS, BY_TRUST])
def test_no_key_can_be_named_like_a_reason(reason: str) -> None:
    with pytest.raises(CorruptKey):
        SecretKey(reason, bytes(32))


def test_a_broken_signature_of_a_known_key() -> None:
    claim = replace(CLAIMS[0], ca=None, signatures=("mine:QUJD",))
    with pytest.raises(CorruptSignature):
        vouch(claim, Keyring((KEY.public,)))


def test_what_cannot_be_checked_needs_a_signature() -> None:
    """Git objects and BLAKE3 hash what this house does not compute."""
    seal = Seal(sha256(b""), 120)
    for method, digest in (
        (contentaddress.GIT, Digest("sha1", bytes(20))),
        (contentaddress.FLAT, Digest("blake3", bytes(32))),
        (contentaddress.ARCHIVE, Digest("blake3", bytes(32))),
    ):
        claim = addressed(method, digest, seal)
        with pytest.raises(Unvouched, match="cannot be checked here"):
            vouch(claim, NOBODY)
        assert vouch(signed(claim), Keyring((KEY.public,))).by == ("mine",)


def test_a_flat_file_may_not_be_executable() -> None:
    content = b"#!/bin/sh\n"
    claim = addressed(contentaddress.FLAT, sha256(content), Seal(sha256(b""), 120))
    believed = vouch(claim, NOBODY)
    assert list(discharge(believed, [plain(content)])) == [plain(content)]
    with pytest.raises(ContentAddressMismatch, match="not executable"):
        list(discharge(believed, [plain(content, b"executable", b"")]))


def test_a_hash_without_positions_proves_nothing() -> None:
    """As Nix 2.17 to 2.34 reckon: the path follows from it, but zeros could be self references."""
    data = plain(b"x" + OWN.encode())
    weak = sha256(data.replace(OWN.encode(), bytes(32)))
    address = contentaddress.ContentAddress(contentaddress.ARCHIVE, weak)
    path = contentaddress.store_path(address, "/nix/store", "made", [], True)
    own = path.hash_part.encode()
    data = data.replace(OWN.encode(), own)
    claim = replace(
        addressed(contentaddress.ARCHIVE, weak, Seal(weak, len(data))),
        path=path,
        references=(path.base,),
        seal=Seal(sha256(data), len(data)),
    )
    with pytest.raises(ContentAddressMismatch, match=r"Nix 2\.17 to 2\.34"):
        list(discharge(vouch(claim, NOBODY), [data]))
    believed = vouch(signed(claim), Keyring((KEY.public,)))
    assert list(discharge(believed, [data])) == [data]


def test_where_there_is_no_duty_the_bytes_just_pass() -> None:
    claim = signed(replace(CLAIMS[0], ca=None, path=StorePath("/nix/store", OWN, "x")))
    believed = vouch(claim, Keyring((KEY.public,)))
    assert list(discharge(believed, iter([b"any", b"", b"thing"]))) == [b"any", b"", b"thing"]


def test_bytes_pass_before_they_have_all_come() -> None:
    """Each chunk is passed on before the next is asked for, so a duty costs no memory."""
    claim = next(each for each in CLAIMS if each.path.name == "self")
    data = archive(claim)
    asked = []

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(data), 64):
            asked.append(at)
            yield data[at : at + 64]

    for count, _ in enumerate(discharge(vouch(claim, NOBODY), chunks()), 1):
        assert len(asked) == count
    assert len(asked) > 1
