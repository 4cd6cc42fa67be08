"""What a content address says of an archive, looked at while the archive passes.

Each reader here is fed the bytes of a NAR, cut anywhere, and asked at the end whether the content
has the hash it should have. Three ways to hash:

- `Contents`: the bytes of the one file that the archive holds. The file may not be executable,
  as the hash would not say so, and one address would then have two archives.
- `Whole`: the archive itself.
- `Modulo`: the archive with the item's own hash part replaced by zeros wherever it stands, then
  `|POSITION` in decimal for each of those places (nix: HashModuloSink, src/libstore/references.cc).
  Nix 2.17 to 2.34 left the positions out by mistake. Such an address does not bind the bytes (zeros
  and self references can be exchanged at will), so here it vouches for nothing.
"""

import hashlib
from typing import Final, Protocol

from narbor.errors import Rejected
from narbor.formats import nar
from narbor.names.digest import Digest

ALGORITHMS: Final = frozenset({"md5", "sha1", "sha256", "sha512"})

# Positions are kept until the end, and a hostile archive could be nothing but self references.
MOST_SELF_REFERENCES: Final = 1 << 20

_FILE_WORDS: Final = (b"nix-archive-1", b"(", b"type", b"regular", b"contents")
_FILE_HEAD: Final = b"".join(map(nar.string, _FILE_WORDS))
_FILE_END: Final = nar.string(b")")
_START: Final = len(_FILE_HEAD) + 8


class TooManySelfReferences(Rejected):
    """An archive names its own path more often than this house keeps count of."""


class Reader(Protocol):
    """Something that looks at an archive as it passes."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the archive; may raise Rejected."""

    def complaint(self, expected: Digest) -> str | None:
        """Say, once all is fed, why the content is not at `expected`; None when it is."""


class Contents:
    """Hashes the one plain file that the archive holds."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._head = b""
        self._left: int | None = None
        self._end = b""
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the archive."""
        if self._left is None:
            self._head += chunk
            if len(self._head) < _START:
                return
            self._left = int.from_bytes(self._head[len(_FILE_HEAD) : _START], "little")
            self._end = bytes(-self._left % 8) + _FILE_END
            self._head, chunk = self._head[:_START], self._head[_START:]
        taken = chunk[: self._left]
        self._hash.update(taken)
        self._left -= len(taken)
        # One byte past the end is enough to know that it is not the end.
        self._tail = (self._tail + chunk[len(taken) :])[: len(self._end) + 1]

    def complaint(self, expected: Digest) -> str | None:
        """Say why the content is not at `expected`; None when it is."""
        if not self._head.startswith(_FILE_HEAD) or self._left != 0 or self._tail != self._end:
            return "is not one file that is not executable"
        return _difference(Digest(self._algorithm, self._hash.digest()), expected)


class Whole:
    """Hashes the archive as it is."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the archive."""
        self._hash.update(chunk)

    def complaint(self, expected: Digest) -> str | None:
        """Say why the archive is not at `expected`; None when it is."""
        return _difference(Digest(self._algorithm, self._hash.digest()), expected)


class Modulo:
    """Hashes the archive but for where it names itself."""

    def __init__(self, algorithm: str, hash_part: str) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._own = hash_part.encode()
        self._zeros = bytes(len(self._own))
        self._kept = b""
        self._offset = 0
        self._positions: list[int] = []

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the archive; raises TooManySelfReferences."""
        data = self._kept + chunk
        at = data.find(self._own)
        while at >= 0:
            self._positions.append(self._offset + at)
            at = data.find(self._own, at + len(self._own))
        if len(self._positions) > MOST_SELF_REFERENCES:
            raise TooManySelfReferences(
                f"an archive that names itself ({self._own.decode()}) "
                f"more than {MOST_SELF_REFERENCES} times"
            )
        data = data.replace(self._own, self._zeros)
        # The last 31 bytes may be the beginning of one more.
        whole = max(0, len(data) - len(self._own) + 1)
        self._hash.update(data[:whole])
        self._offset += whole
        self._kept = data[whole:]

    def complaint(self, expected: Digest) -> str | None:
        """Say why the archive is not at `expected`; None when it is."""
        self._hash.update(self._kept)
        self._kept = b""
        bare = Digest(self._algorithm, self._hash.digest())
        marked = self._hash.copy()
        for position in self._positions:
            marked.update(b"|%d" % position)
        found = Digest(self._algorithm, marked.digest())
        if found != expected == bare:
            return (
                f"is at {expected} only where the positions of self references are left out, "
                f"as by Nix 2.17 to 2.34, which proves nothing; with them it is at {found}"
            )
        return _difference(found, expected)


def _difference(found: Digest, expected: Digest) -> str | None:
    return None if found == expected else f"is at {found}, not at {expected}"
