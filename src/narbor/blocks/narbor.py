"""Another narbor as a source of blocks: many by name in one request, as their frames.

Nothing it says is believed: each block is hashed, and a source that lies is named. What it lacks is
left out. See docs/formats/exchange.md.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Final

from narbor.blocks import BlockMissing
from narbor.blocks.codec import Codec
from narbor.blocks.thin import unpack
from narbor.errors import Rejected, Unavailable
from narbor.formats import exchange, frames, ipld
from narbor.formats.exchange import Stretch, Thin
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.net import credentials
from narbor.net.http import Http

LARGEST_ANSWER: Final = 64 << 20
"""Bytes of one answer; ours are of about 16 MiB."""


Get = Callable[[Cid], bytes]


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
        self._codecs = Codec(frames.DEFAULT_LEVEL)

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
        left = [name for name in dict.fromkeys(names) if ipld.inlined(name) is None]
        while left:
            batch = left[: exchange.MOST_NAMES]
            data = self._ask("get", batch, LARGEST_ANSWER)
            settled = yield from self._read(data, [Stretch(tuple(batch))], _nothing)
            left = left[settled:]

    def resembling(self, stretches: Iterable[Stretch], get: Get) -> Iterator[tuple[Cid, bytes]]:
        """Give what is wanted as `fetch` does; what resembles its basis costs little on the way.

        Each block is wanted once. `get` gives the blocks of the basis and may be asked often; it
        raises Unavailable for one that is not there. At most 24 MiB of a basis are built on.
        """
        waiting = deque(part for each in stretches for part in _cut(each))
        while waiting:
            batch: list[Stretch] = []
            count = 0
            while waiting and (not batch or count + _count(waiting[0]) <= exchange.MOST_NAMES):
                batch.append(waiting.popleft())
                count += _count(batch[-1])
            body = exchange.write_stretches(batch)
            data = self._send("get", exchange.STRETCHES, body, LARGEST_ANSWER)
            settled = yield from self._read(data, batch, get)
            waiting.extendleft(reversed(list(_behind(batch, settled))))

    def _read(
        self, data: bytes, asked: Sequence[Stretch], get: Get
    ) -> Generator[tuple[Cid, bytes], None, int]:
        """Give the blocks in an answer; return how many of the names asked for are settled."""
        waiting = {name for each in asked for name in each.wanted}
        count, at = len(waiting), 0
        try:
            while len(data) - at > exchange.CLOSING:
                found = frames.record(data, at)
                if found is not None:
                    at = found.offset + found.length
                    blocks = [(found.name, self._block(data, found))]
                else:
                    thin, at = exchange.read_thin(data, at, asked)
                    blocks = self._unpacked(thin, asked[thin.stretch], get)
                for name, block in blocks:
                    if name not in waiting or not cid.matches(name, block):
                        raise Liar(f"{self.name} gave {cid.text(name)}, and it is not that block")
                    waiting.discard(name)
                    yield name, block
            settled = exchange.read_closing(data[at:])
        except exchange.MalformedExchange as error:
            raise Liar(f"{self.name}: {error}") from error
        if not min(count, 1) <= settled <= count:
            raise Liar(f"{self.name} settled {settled} of {count} names")
        return settled

    def _block(self, data: bytes, found: frames.Found) -> bytes:
        frame = memoryview(data)[found.offset : found.offset + found.length]
        block = self._codecs.keepable(frame, found)
        if block is None:
            raise Liar(f"{self.name} gave {cid.text(found.name)} in a frame that is none")
        return block

    def _unpacked(self, thin: Thin, stretch: Stretch, get: Get) -> list[tuple[Cid, bytes]]:
        basis = [get(stretch.basis[at]) for at in thin.built_on]
        blocks = unpack(basis, thin.frame, [size for _, size in thin.sizes])
        if blocks is None:
            raise Liar(f"{self.name} gave blocks in a thin record that does not hold them")
        names = [stretch.wanted[at] for at, _ in thin.sizes]
        return list(zip(names, blocks, strict=True))

    def _ask(self, what: str, names: Sequence[Cid], limit: int) -> bytes:
        return self._send(what, exchange.NAMES, exchange.write_names(names), limit)

    def _send(self, what: str, type: str, body: bytes, limit: int) -> bytes:
        """Ask for something, which takes nothing from anybody, so it may be asked again."""
        url = f"{self._url}/blocks/{what}"
        answer = self._http.send("POST", url, limit, body, {"Content-Type": type}, again=True)
        if answer is None:
            raise NoNarbor(f"{self.name} exchanges no blocks: it has no /blocks/{what}")
        return answer.content


def _nothing(name: Cid) -> bytes:
    raise BlockMissing(name)


def _count(stretch: Stretch) -> int:
    return len(stretch.wanted) + len(stretch.basis)


def _cut(stretch: Stretch) -> Iterator[Stretch]:
    """Cut a stretch into such as one request can hold."""
    basis = stretch.basis[: exchange.MOST_NAMES // 2]
    step = exchange.MOST_NAMES - len(basis)
    wanted = [name for name in stretch.wanted if ipld.inlined(name) is None]
    for at in range(0, len(wanted), step):
        yield Stretch(tuple(wanted[at : at + step]), basis)


def _behind(stretches: Iterable[Stretch], settled: int) -> Iterator[Stretch]:
    """Give what is left of stretches when so many of the names that are wanted are settled."""
    for each in stretches:
        wanted = each.wanted[settled:]
        settled = max(0, settled - len(each.wanted))
        if wanted:
            yield Stretch(wanted, each.basis)
