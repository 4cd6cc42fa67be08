"""Store paths: `/nix/store/HASH-NAME`, `/gnu/store/HASH-NAME`."""

import re
from dataclasses import dataclass

from narbor.errors import Rejected

# 32 letters of Nix base 32, a dash, a name of 1 to 211 characters (nix: src/libstore/path.cc).
_BASE = re.compile(r"([0-9a-df-np-sv-z]{32})-([0-9a-zA-Z+\-._?=]{1,211})", re.ASCII)
_HASH_PART = re.compile(r"[0-9a-df-np-sv-z]{32}", re.ASCII)
_DOTTED = re.compile(r"\.\.?(-|$)")
# A store directory in the one spelling it has: two spellings would be two identities.
_STORE = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[^/\x00-\x1f\x7f-\x9f]+)+")


class MalformedStorePath(Rejected):
    """A text is no store path."""


@dataclass(frozen=True, slots=True, order=True)
class StorePath:
    """One store path; the store directory belongs to its identity."""

    store: str
    hash_part: str
    name: str

    @property
    def base(self) -> str:
        """The last component, `HASH-NAME`."""
        return f"{self.hash_part}-{self.name}"

    def __str__(self) -> str:
        return f"{self.store}/{self.hash_part}-{self.name}"


def parse(text: str) -> StorePath:
    """Read a full store path, with nothing behind its name; raises MalformedStorePath.

    The store directory must be canonical: absolute, without empty, `.` or `..` components and
    without control characters.
    """
    store, _, last = text.rpartition("/")
    if _STORE.fullmatch(store) is None:
        raise MalformedStorePath(f"{text!r} is no store path: it needs a canonical store directory")
    return of_base(last, store)


def of_base(base: str, store: str) -> StorePath:
    """Read `HASH-NAME` under the store directory `store`; raises MalformedStorePath."""
    match = _BASE.fullmatch(base)
    if match is None or _DOTTED.match(match[2]):
        raise MalformedStorePath(f"{base!r} is no store path name (32 letters, a dash, a name)")
    return StorePath(store, match[1], match[2])


def is_hash_part(text: str) -> bool:
    """Tell whether `text` is 32 letters of Nix base 32."""
    return _HASH_PART.fullmatch(text) is not None
