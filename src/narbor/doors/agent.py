"""The agent's door: a binary cache for the Nix of this machine, which always answers soon.

    /nix-cache-info                  the store directory, and a priority before the public caches
    /HASH.narinfo                    what an upstream says of an item, its archive being here
    /nar/HASH/NARHASH.nar            the archive
    /agent/status                    where bytes came from, as JSON

What cannot be had is 404, as Nix wants it: it goes on with its next substituter. There is no 5xx.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Protocol

from narbor.doors import http, routes
from narbor.doors.http import Answer, Entity, Request
from narbor.errors import NarborError
from narbor.names import base32, storepath
from narbor.names.digest import Digest

ARCHIVE: Final = "application/x-nix-nar"
# What is not here now may be in a moment; what is said of an item may gain a signature.
KEPT: Final = "private, max-age=60"


class Bytes(Protocol):
    """An archive: its size, and how to read a part of it, which may raise NarborError."""

    @property
    def size(self) -> int:
        """The size in bytes."""
        ...

    @property
    def read(self) -> Callable[[int, int], Iterator[bytes]]:
        """Give the bytes [start, stop)."""
        ...


class Supply(Protocol):
    """What this door asks of the agent. It may raise NarborError."""

    @property
    def store(self) -> str:
        """The store directory of the items."""
        ...

    def narinfo(self, hash_part: str) -> bytes | None:
        """Return what is said of an item, None where nothing can be said now."""
        ...

    def archive(self, hash_part: str, digest: Digest) -> Bytes | None:
        """Return the archive of an item with this NarHash, None where it is not known."""
        ...

    def status(self) -> Mapping[str, object]:
        """Return the counts."""
        ...


@dataclass(frozen=True, slots=True)
class AgentDoor:
    """The binary cache of an agent."""

    supply: Supply
    priority: int = 30

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for a path that is no part of a binary cache."""
        try:
            return routes.read(ROUTES, self, request, request.path)
        except NarborError as error:
            return http.missing(str(error))

    def cache_info(self, request: Request) -> Answer:
        """Say whose store this is, and that we want to be asked first."""
        text = f"StoreDir: {self.supply.store}\nWantMassQuery: 1\nPriority: {self.priority}\n"
        return http.document(request, text.encode(), "text/x-nix-cache-info", KEPT, "info")

    def narinfo(self, request: Request, hash_part: str) -> Answer:
        """Say who vouches for an item."""
        known = storepath.is_hash_part(hash_part)
        text = self.supply.narinfo(hash_part) if known else None
        if text is None:
            return ABSENT
        return Answer(
            200,
            (("content-type", "text/x-nix-narinfo"), ("cache-control", KEPT)),
            text,
        )

    def archive(self, request: Request, hash_part: str, hash: str) -> Answer:
        """Give an archive. Its first bytes are here before the answer begins."""
        try:
            digest = Digest("sha256", base32.parse_nix(hash, 32))
        except base32.MalformedBase32:
            return ABSENT
        known = storepath.is_hash_part(hash_part)
        found = self.supply.archive(hash_part, digest) if known else None
        if found is None:
            return ABSENT
        entity = Entity(ARCHIVE, found.size, found.read, hash, http.IMMUTABLE, ranges=True)
        answer = http.give(request, entity)
        if isinstance(answer.body, bytes):
            return answer
        first = next(answer.body, b"")
        # Kept by no server: what is given here is kept already.
        return replace(answer, body=_joined(first, answer.body), ready=False)

    def status(self, request: Request) -> Answer:
        """Tell where bytes came from."""
        text = json.dumps(self.supply.status(), indent=1) + "\n"
        headers = (("content-type", "application/json"), ("cache-control", "no-store"))
        return Answer(200, headers, text.encode())


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Give the first piece, then the rest; closing it closes the rest."""
    try:
        yield from chain((first,), rest)
    finally:
        http.close(rest)


ABSENT: Final = http.missing("not to be had now")

ROUTES: Final = routes.table(
    (r"/([0-9a-z]+)\.narinfo", AgentDoor.narinfo),
    (r"/nar/([0-9a-z]{32})/([0-9a-z]{52})\.nar", AgentDoor.archive),
    (r"/nix-cache-info", AgentDoor.cache_info),
    (r"/agent/status", AgentDoor.status),
)
