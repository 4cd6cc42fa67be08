"""A source that is given by its URL alone: a narbor if it speaks as one, else a trustless gateway.

Which of the two it is shows when it is first asked, and stays so.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from narbor.blocks.gateway import GatewaySource
from narbor.blocks.narbor import NarborSource, NoNarbor
from narbor.formats.exchange import Stretch
from narbor.names.cid import Cid
from narbor.net.http import Failing, Http

MANY: Final = 500
"""Names that a narbor is best asked for in one request."""


class EitherSource:
    """The narbor or the gateway at `url`, for any number of threads."""

    def __init__(self, url: str, http: Http) -> None:
        self._narbor = NarborSource(http, url)
        self._gateway = GatewaySource(url, http)
        self._known: NarborSource | GatewaySource | None = None

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return self._gateway.name

    def together(self) -> int:
        """Return how many names one request should have."""
        return 1 if self._known is self._gateway else MANY

    def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give those of these blocks that it has; raises what the source behind it raises."""
        if self._known is not None:
            yield from self._known.fetch(names)
            return
        blocks = self._narbor.fetch(names)
        try:
            first = next(blocks, None)
        except (NoNarbor, Failing):
            # A gateway refuses the method or the path. Whether it is one, its own answers tell.
            yield from self._first(names)
            return
        self._known = self._narbor
        yield from chain(() if first is None else (first,), blocks)

    def resembling(
        self, stretches: Iterable[Stretch], get: Callable[[Cid], bytes]
    ) -> Iterator[tuple[Cid, bytes]]:
        """Give what is wanted, out of a narbor as differences to what is like it."""
        asked = list(stretches)
        if self._known is self._narbor:
            yield from self._narbor.resembling(asked, get)
        else:
            yield from self.fetch([name for each in asked for name in each.wanted])

    def record(self, name: Cid) -> bytes | None:
        """Return the IPNS record of a name, not verified: both kinds give it the same way."""
        return self._gateway.record(name)

    def _first(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        for block in self._gateway.fetch(names):
            self._known = self._gateway
            yield block
