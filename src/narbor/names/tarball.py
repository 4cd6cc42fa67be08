"""Tarball: one file that is fetched by its hash, whatever it holds."""

from dataclasses import dataclass
from typing import Final

from narbor.names.cid import Cid
from narbor.names.digest import Digest

ALGORITHMS: Final = ("md5", "sha1", "sha256", "sha512")


@dataclass(frozen=True, slots=True)
class Tarball:
    """A file by all hashes it may be asked for with. `root` is the UnixFS root of its content."""

    root: Cid
    size: int
    md5: Digest
    sha1: Digest
    sha256: Digest
    sha512: Digest

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Its hashes, in the order of `ALGORITHMS`."""
        return self.md5, self.sha1, self.sha256, self.sha512


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A source that could not be had: its hash or else its address, its name, and why."""

    what: str
    name: str
    reason: str

    @property
    def line(self) -> str:
        """All three as a line of a log, with tabs between."""
        reason = " ".join(self.reason.split())
        return f"{self.what}\t{self.name}\t{reason}\n"
