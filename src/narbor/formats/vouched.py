"""The one maker of trust: a claim goes in, and comes out vouched for, or not at all.

An item may be believed for one of three reasons:

1. a key of the keyring signed its fingerprint;
2. its path follows from a content address (names/contentaddress.py), and the content has it;
3. the operator said that this upstream is to be trusted.

Where only (2) holds and the content must be read to see it, `Vouched.duty` says so, and `discharge`
looks at the archive on its way in. A content address that is provably wrong ends the matter even
for a signed item: signatures do not cover it, and Nix refuses to keep such an item.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from narbor.errors import Rejected
from narbor.formats import addressed, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.names import contentaddress
from narbor.names.contentaddress import ContentAddress
from narbor.names.keys import Keyring, Signature

# Names of keys hold no blanks, so neither of these can be mistaken for one.
BY_ADDRESS: Final = "content address"
BY_TRUST: Final = "trusted upstream"


class Unvouched(Rejected):
    """Nobody vouches for a claim."""


class ContentAddressMismatch(Unvouched):
    """An item is not what its content address says."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """A claim that is believed; only `vouch` makes one.

    `by` names the keys that signed, and says `BY_ADDRESS` or `BY_TRUST` where these hold. `duty`
    is the content address when nothing else vouches, and the bytes must still be seen to have it.
    """

    narinfo: Narinfo
    by: tuple[str, ...]
    duty: str | None


def vouch(claim: Narinfo, keyring: Keyring, trusted: bool = False) -> Vouched:
    """Return the claim as one that is believed.

    Raises Unvouched when nobody vouches, ContentAddressMismatch when its content address is wrong,
    CorruptSignature when a known key's signature cannot be one.
    """
    address = None if claim.ca is None else contentaddress.parse(claim.ca)
    proven = address is not None and _proves(address, claim)
    text = narinfo.fingerprint(claim.path, claim.seal, claim.references)
    signers = keyring.signers(text, claim.signatures)
    by = (*signers, *([BY_ADDRESS] if proven else []), *([BY_TRUST] if trusted else []))
    if by:
        return Vouched(claim, by, None)
    if address is None:
        raise Unvouched(f"{claim.path}: {_unsigned(claim, keyring)}")
    if address.method == contentaddress.GIT or address.digest.algorithm not in addressed.ALGORITHMS:
        raise Unvouched(
            f"{claim.path}: {address} cannot be checked here; {_unsigned(claim, keyring)}"
        )
    return Vouched(claim, (BY_ADDRESS,), str(address))


def discharge(vouched: Vouched, archive: Iterable[bytes]) -> Iterator[bytes]:
    """Pass the bytes of the NAR on; raise ContentAddressMismatch when they fail the duty.

    The error may come as late as behind the last byte: nothing counts until the iterator has ended.
    Where there is no duty, the bytes just pass.
    """
    if vouched.duty is None:
        yield from archive
        return
    claim = vouched.narinfo
    address = contentaddress.parse(vouched.duty)
    reader = _reader(address, claim)
    for chunk in archive:
        reader.feed(chunk)
        yield chunk
    complaint = reader.complaint(address.digest)
    if complaint is not None:
        raise ContentAddressMismatch(f"{claim.path} claims to be {address}, but {complaint}")


def _proves(address: ContentAddress, claim: Narinfo) -> bool:
    """Hold the address against the path; tell whether it is proven with the archive's seal alone.

    A tree's address is its NarHash unless the tree refers to itself, and NarHash is always checked.
    """
    path = claim.path
    own = path.base in claim.references
    others = [base for base in claim.references if base != path.base]
    try:
        found = contentaddress.store_path(address, path.store, path.name, others, own)
    except contentaddress.MalformedContentAddress as error:
        raise ContentAddressMismatch(f"{path} cannot have its content address: {error}") from error
    if found != path:
        raise ContentAddressMismatch(f"{path} claims to be {address}, but that would be {found}")
    if own or address.method != contentaddress.ARCHIVE or address.digest.algorithm != "sha256":
        return False
    if address.digest != claim.seal.digest:
        raise ContentAddressMismatch(
            f"{path} claims to be {address}, but its NarHash is {claim.seal.digest}"
        )
    return True


def _reader(address: ContentAddress, claim: Narinfo) -> addressed.Reader:
    algorithm = address.digest.algorithm
    if address.method != contentaddress.ARCHIVE:
        return addressed.Contents(algorithm)
    if claim.path.base in claim.references:
        return addressed.Modulo(algorithm, claim.path.hash_part)
    return addressed.Whole(algorithm)


def _unsigned(claim: Narinfo, keyring: Keyring) -> str:
    """Say who signed, and who is trusted."""
    signers = ", ".join(Signature.parse(text).key for text in claim.signatures) or "nobody"
    trusted = ", ".join(keyring.names) or "no key"
    return f"signed by {signers}; trusted: {trusted}; no good signature by a trusted key"
