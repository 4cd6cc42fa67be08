"""Item: one store path as the whole house speaks of it, and its renderings."""

from dataclasses import dataclass

from narbor.names.cid import Cid
from narbor.names.digest import Digest, Seal
from narbor.names.storepath import StorePath


@dataclass(frozen=True, slots=True)
class Item:
    """A store item that is here, whole and checked.

    `references` and `deriver` are base names (`HASH-NAME`); `signatures` stand as they came
    (`KEY:BASE64`), in the order they came. `tree` is the UnixFS root of what the item holds;
    `archive` the UnixFS file root whose bytes are its NAR.
    """

    path: StorePath
    seal: Seal
    references: tuple[str, ...]
    deriver: str | None
    signatures: tuple[str, ...]
    ca: str | None
    extra: tuple[tuple[str, str], ...]
    profile: str
    tree: Cid
    archive: Cid
    origin: str


@dataclass(frozen=True, slots=True)
class Rendering:
    """The bytes of an archive in one compression, as they were advertised: they never change."""

    compression: str
    digest: Digest
    size: int
