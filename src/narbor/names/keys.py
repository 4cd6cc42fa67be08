"""Keys and signatures as Nix writes them: `NAME:BASE64`, ed25519.

The name is only a handle: it says which key to try, and proves nothing. A public key is 32 bytes, a
secret key 64 (seed, then public key), a signature 64 (nix: src/libutil/signature/local-keys.cc).
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from narbor.errors import Refused, Rejected

# Lists of keys are split at blanks, so a name that holds one could never be trusted.
_KEY_NAME = re.compile(r"[!-9;-~]+", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*", re.ASCII)


class CorruptKey(Refused):
    """A text is no key that can be used here."""


class CorruptSignature(Rejected):
    """A text is no signature, or not one that its key could have made."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who says that he signed, and the signature's bytes. Nothing is verified yet."""

    key: str
    value: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME:BASE64` as leniently as Nix does; raises CorruptSignature.

        Nix stops at the first `=` and does not ask for the padding. The length is looked at only
        when the key is known, so a signature by a kind of key yet to come does no harm.
        """
        name, _, rest = text.partition(":")
        letters = rest.partition("=")[0]
        if not name or len(letters) < 2 or not _BASE64.fullmatch(letters):
            raise CorruptSignature(f"{text!r} is no signature (NAME:BASE64)")
        if len(letters) % 4 == 1:
            # Six bits over make no byte; Nix drops them.
            letters = letters[:-1]
        return cls(name, base64.b64decode(letters + "=" * (-len(letters) % 4)))

    def __str__(self) -> str:
        return _spell(self.key, self.value)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that can verify."""

    name: str
    value: bytes

    def __post_init__(self) -> None:
        _check(self.name, self.value, 32, "public")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME:BASE64` of 32 bytes; raises CorruptKey."""
        return cls(*_read(text, "public"))

    def verifies(self, text: str, signature: Signature) -> bool:
        """Tell whether `signature` was made over `text` by this key's secret half."""
        try:
            Ed25519PublicKey.from_public_bytes(self.value).verify(signature.value, text.encode())
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return _spell(self.name, self.value)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key that can sign. `str` gives the secret itself; `repr` does not."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check(self.name, self.seed, 32, "secret")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME:BASE64` of 64 bytes; raises CorruptKey, and never shows the text.

        A public half that is not the seed's own is refused: signing with such a pair would give
        the seed away.
        """
        name, value = _read(text, "secret")
        if len(value) != 64:
            raise CorruptKey(f"the secret key {name!r} has {len(value)} bytes, not 64")
        key = cls(name, value[:32])
        if key.public.value != value[32:]:
            raise CorruptKey(f"the two halves of the secret key {name!r} do not belong together")
        return key

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a new key; raises CorruptKey when `name` cannot be the name of one."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> PublicKey:
        """The half that may be shown."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return PublicKey(self.name, key.public_bytes_raw())

    def sign(self, text: str) -> str:
        """Return the signature over `text` in UTF-8, as `NAME:BASE64`."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        return _spell(self.name, key.sign(text.encode()))

    def __str__(self) -> str:
        return _spell(self.name, self.seed + self.public.value)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The public keys somebody trusts. Two may share a name, as they do while one is replaced."""

    keys: tuple[PublicKey, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read keys that stand apart by blanks, as in `trusted-public-keys`; raises CorruptKey."""
        return cls(tuple(PublicKey.parse(word) for word in text.split()))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys, each once."""
        return tuple(dict.fromkeys(key.name for key in self.keys))

    def signers(self, fingerprint: str, signatures: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the keys that verify, each once, in the order of the signatures.

        Raises CorruptSignature for a text that is no signature, and for one of a known key that
        is not 64 bytes long; both end the matter for Nix too.
        """
        found: dict[str, None] = {}
        for text in signatures:
            signature = Signature.parse(text)
            for key in self.keys:
                if key.name == signature.key:
                    if len(signature.value) != 64:
                        raise CorruptSignature(
                            f"{text!r} has {len(signature.value)} bytes, not the 64 of ed25519"
                        )
                    if key.verifies(fingerprint, signature):
                        found[key.name] = None
        return tuple(found)


def _spell(name: str, value: bytes) -> str:
    return f"{name}:{base64.b64encode(value).decode()}"


def _read(text: str, kind: str) -> tuple[str, bytes]:
    """Split a key's text; the message names the key at most, since it may be a secret."""
    name, colon, rest = text.strip().partition(":")
    if not colon:
        raise CorruptKey(f"a {kind} key has no colon (NAME:BASE64)")
    try:
        return name, base64.b64decode(rest, validate=True)
    except (binascii.Error, ValueError):
        # `from None`: the cause would quote what may be a secret.
        raise CorruptKey(f"the {kind} key {name!r} is no base64 behind its colon") from None


def _check(name: str, value: bytes, size: int, kind: str) -> None:
    if not _KEY_NAME.fullmatch(name):
        raise CorruptKey(f"{name!r} cannot be the name of a key (no blanks, no colon)")
    if len(value) != size:
        raise CorruptKey(f"the {kind} key {name!r} has {len(value)} bytes, not {size}")
