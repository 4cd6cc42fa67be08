"""Keys of IPNS names and libp2p peers: ed25519 to sign and verify, RSA to verify.

    name      CIDv1, libp2p-key, of a multihash over the serialised public key: `k51...` in base 36
    PeerID    the same multihash alone, in base 58: `12D3KooW...`; for RSA `Qm...`
    serialised public key   protobuf: Type = 1 (RSA 0, ed25519 1), Data = 2

An ed25519 key is so short that its name holds it (identity); an RSA key is hashed (sha2-256).
Specification: https://specs.ipfs.tech/ipns/ipns-record/, https://github.com/libp2p/specs (peer-ids)
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_private_key,
)

from narbor.errors import Rejected
from narbor.names import cid, cidtext
from narbor.names.cid import Cid, MalformedCid
from narbor.names.keys import CorruptKey

_ED25519: Final = b"\x08\x01\x12\x20"
_RSA: Final = b"\x08\x00\x12"
_SMALLEST_RSA: Final = 2048
_LARGEST_RSA: Final = 8192
_NAME: Final = bytes((1, cid.LIBP2P_KEY))


class MalformedPeerKey(Rejected):
    """Bytes are no public key that can be used here, or not the one that a name means."""


@dataclass(frozen=True, slots=True)
class PeerKey:
    """An ed25519 key that can sign: 32 bytes of seed. `str` gives the secret, `repr` does not."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise CorruptKey(f"a peer's secret key has {len(self.seed)} bytes, not 32")

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key in PEM (PKCS #8, not encrypted), as Kubo imports and exports them.

        Raises CorruptKey, and never shows the text.
        """
        try:
            key = load_pem_private_key(text.encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise CorruptKey("a text is no secret key in PEM (PKCS #8)") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise CorruptKey("a secret key of another kind than ed25519")
        return cls(key.private_bytes_raw())

    def __str__(self) -> str:
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key.private_bytes(*form).decode("ascii")

    @property
    def public(self) -> bytes:
        """The public half, serialised."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return _ED25519 + key.public_bytes_raw()

    @property
    def name(self) -> Cid:
        """The IPNS name of this key."""
        return name_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`: 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


def name_of(public: bytes) -> Cid:
    """Return the name of a serialised public key."""
    if len(public) <= 42:
        return Cid(_NAME + bytes((cid.IDENTITY, len(public))) + public)
    return Cid(_NAME + bytes((cid.SHA256, 32)) + sha256(public).digest())


def public_of(name: Cid) -> bytes | None:
    """Return the serialised public key that stands in a name; None where it is only hashed."""
    return cid.inlined(name)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` over `message` was made by the key whose public half this is.

    Raises MalformedPeerKey for bytes that are no key, or of a kind that is not known here.
    """
    try:
        if public[:4] == _ED25519 and len(public) == 36:
            Ed25519PublicKey.from_public_bytes(public[4:]).verify(signature, message)
            return True
        _rsa(public).verify(signature, message, PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _rsa(public: bytes) -> RSAPublicKey:
    """Read an RSA key: PKIX, in DER."""
    try:
        if public[:3] != _RSA:
            raise MalformedPeerKey(f"a public key of a kind that is not read: {public[:4].hex()}")
        size, at = cid.read_varint(public, 3)
        if at + size != len(public):
            raise MalformedPeerKey(f"a public key of {size} bytes in {len(public) - at}")
        key = load_der_public_key(public[at:])
    except (ValueError, UnsupportedAlgorithm, MalformedCid) as error:
        raise MalformedPeerKey(f"a public key that cannot be read: {error}") from error
    if not isinstance(key, RSAPublicKey) or not _SMALLEST_RSA <= key.key_size <= _LARGEST_RSA:
        raise MalformedPeerKey("a public key that is no RSA key of 2048 to 8192 bits")
    return key


def text(name: Cid) -> str:
    """Spell a name as IPNS does: base 36."""
    return "k" + cidtext.base36(name)


def peer_id(name: Cid) -> str:
    """Spell a name as the PeerID of libp2p: its multihash in base 58."""
    return cidtext.base58(name[2:])


def parse(spelling: str) -> Cid:
    """Read a name as a CID in any base, or as a PeerID in base 58; raises MalformedCid."""
    if spelling.startswith(("1", "Qm")):
        return _checked(_NAME + cidtext.parse_base58(spelling), spelling)
    return _checked(cidtext.parse(spelling), spelling)


def _checked(data: bytes, spelling: str) -> Cid:
    name = cid.check(data)
    if cid.codec(name) != cid.LIBP2P_KEY:
        raise MalformedCid(f"{spelling!r} names no key (codec {cid.codec(name):#x})")
    return name
