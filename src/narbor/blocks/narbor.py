"""Another narbor as a source of blocks: many by name in one request, as their frames.

Nothing it says is believed: each block is hashed, and a source that lies is named. What it lacks is
left out. See docs/formats/exchange.md.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from narbor.blocks import frames
from narbor.errors import Rejected, Unavailable
from narbor.formats import exchange
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.net import credentials
from narbor.net.http import Http

LARGEST_ANSWER: Final = 64 << 20
"""Bytes of one answer; ours are of about 16 MiB."""


class NoNarbor(Unavailable):
    """There is no narbor at a URL that exchanges blocks."""


class Liar(Rejected):
    """A source gave bytes that are not what it says they are."""


class NarborSource:
    """The narbor at `url`, for any number of threads. `name` is what it is called in errors."""

    def __init__(self, http: Http, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self.name = credentials.bare(self._url)
        self._codecs = frames.Codec(frames.DEFAULT_LEVEL)

    def missing(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which of these it has not; raises Unavailable, Liar, Refused."""
        lacking: set[Cid] = set()
        for at in range(0, len(names), exchange.MOST_NAMES):
            batch = names[at : at + exchange.MOST_NAMES]
            data = self._ask("missing", batch, exchange.LARGEST_NAMES)
            try:
                lacking.update(exchange.read_names(data))
            except exchange.MalformedExchange as error:
                raise Liar(f"{self.name}: {error}") from error
        if not lacking.issubset(names):
            raise Liar(f"{self.name} speaks of blocks that it was not asked for")
        return lacking

    def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give those of these blocks that it has, each once and as it should be, in any order.

        Raises Unavailable where it cannot go on, Liar for bytes that are not what was asked for.
        """
        left = [name for name in dict.fromkeys(names) if cid.inlined(name) is None]
        while left:
            batch = left[: exchange.MOST_NAMES]
            data = self._ask("get", batch, LARGEST_ANSWER)
            waiting = set(batch)
            end = 0
            for found in frames.scan(data, 0):
                end = found.offset + found.length
                if found.name not in waiting:
                    raise Liar(f"{self.name} gave {cid.text(found.name)}, which was not asked for")
                waiting.discard(found.name)
                yield found.name, self._block(data, found)
            settled = self._settled(data[end:])
            if not 0 < settled <= len(batch):
                raise Liar(f"{self.name} settled {settled} of {len(batch)} names")
            left = left[settled:]

    def _settled(self, data: bytes) -> int:
        try:
            return exchange.read_closing(data)
        except exchange.MalformedExchange as error:
            raise Liar(f"{self.name}: {error}") from error

    def _block(self, data: bytes, found: frames.Found) -> bytes:
        frame = memoryview(data)[found.offset : found.offset + found.length]
        block = self._codecs.unpack(frame, found.size)
        if block is None or not cid.matches(found.name, block):
            raise Liar(f"{self.name} gave bytes for {cid.text(found.name)} that are not that block")
        return block

    def _ask(self, what: str, names: Sequence[Cid], limit: int) -> bytes:
        """Ask about names, which takes nothing from anybody, so it may be asked again."""
        answer = self._http.send(
            "POST",
            f"{self._url}/blocks/{what}",
            limit,
            exchange.write_names(names),
            {"Content-Type": exchange.NAMES},
            again=True,
        )
        if answer is None:
            raise NoNarbor(f"{self.name} exchanges no blocks: it has no /blocks/{what}")
        return answer.content
