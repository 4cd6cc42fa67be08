"""Another narbor keeps DAGs for us: blocks are pushed to it, roots kept under names of ours there.

The token is the one for its host (`mirror.tokens`). See docs/formats/exchange.md.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote

from narbor.errors import Refused, Rejected, Unavailable
from narbor.formats import exchange, frames, ipld
from narbor.formats.exchange import Outcome
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from narbor.net import credentials
from narbor.net.http import Denied, Document, Failing, Gone, Http
from narbor.pins import MOST_ASKED, Block, Incomplete

_LARGEST: Final = 12 << 20
"""Bytes of records that are sent in one request; there is room for one block more."""
_LARGEST_UNPACKED: Final = exchange.LARGEST_UNPACKED // 2
_PAUSE: Final = 2.0
_MOST_TURNS: Final = 20_000  # half a day or so
_SHOWN: Final = 3


class Declined(Refused):
    """A narbor will not do it."""


class NarborHolder:
    """The narbor at `url` as a Holder (see narbor.pins); for one thread at a time.

    `outcome` is what became of the items of the cache that was kept last, None where it was none.
    """

    def __init__(self, http: Http, url: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._sleep = sleep
        self._codec = frames.Codec(frames.DEFAULT_LEVEL)
        self.name = credentials.bare(self._url)
        self.outcome: Outcome | None = None

    def kept(self, name: str) -> Cid | None:
        """Return the root that it keeps under this name."""
        answer = self._ask("GET", f"kept/{quote(name, '')}")
        if answer.status == 404:
            return None
        (root,) = self._names(answer, 1)
        return root

    def missing(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which of these it lacks; what it has stays there until a root is kept."""
        if not names:
            return set()
        assert len(names) <= MOST_ASKED
        body = exchange.write_names(names)
        found = self._names(self._ask("POST", "missing", exchange.NAMES, body))
        if not set(found).issubset(names):
            raise Rejected(f"{self.name} speaks of blocks that it was not asked for")
        return set(found)

    def inventory(self) -> Iterator[Cid] | None:
        """Give nothing: asking for what is missing is cheaper."""
        return None

    def take(self, blocks: Iterable[Block]) -> None:
        """Send blocks, as many in a request as it takes."""
        held: list[bytes] = []
        size = unpacked = 0
        for name, block in blocks:
            if ipld.inlined(name) is not None:
                continue
            frame = self._codec.compress(block)
            head = frames.head(name, len(frame), len(block), self._codec.level)
            held += (head, frame)
            size += len(head) + len(frame)
            unpacked += len(block)
            full = len(held) >= 2 * exchange.MOST_NAMES
            if full or size > _LARGEST or unpacked > _LARGEST_UNPACKED:
                self._put(held)
                held, size, unpacked = [], 0, 0
        if held:
            self._put(held)

    def keep(self, name: str, root: Cid) -> None:
        """Let it keep a root under this name; raises Incomplete."""
        path = f"kept/{quote(name, '')}"
        for _ in range(_MOST_TURNS):
            answer = self._ask("PUT", path, exchange.NAMES, root)
            if answer.status == 409:
                raise Incomplete(self._incomplete(root, self._names(answer)))
            if answer.status != 202:
                self.outcome = self._outcome(answer)
                return
            self._sleep(_PAUSE)
        raise Unavailable(f"{self.name} does not get done with keeping {cidtext.text(root)}")

    def close(self) -> None:
        """Let nothing go: the connections are the client's."""

    def _put(self, records: Sequence[bytes]) -> None:
        self._ask("POST", "put", exchange.FRAMES, b"".join(records))

    def _ask(
        self, method: str, path: str, type: str | None = None, body: bytes | None = None
    ) -> Document:
        """Ask, again where the answer is lost: nothing is done twice that is asked for twice."""
        url = f"{self._url}/blocks/{path}"
        headers = {} if type is None else {"Content-Type": type}
        limit = exchange.LARGEST_OUTCOME
        answer = self._http.send(method, url, limit, body, headers, again=True, plain=True)
        if answer is None or (answer.status == 404 and method != "GET"):
            raise Gone(f"{self.name} exchanges no blocks: it has no /blocks/{path}")
        if answer.status < 400 or answer.status in (404, 409):
            return answer
        said = answer.content[:500].decode("utf-8", "replace").strip()
        text = f"{self.name}: HTTP {answer.status}: {said}"
        match answer.status:
            case 401 | 403:
                raise Denied(f"{text} (a token for this host is given with mirror.tokens)")
            case 400:
                raise Rejected(text)
            case 405 | 411 | 413 | 415:
                raise Declined(text)
        raise Failing(text)

    def _names(self, answer: Document, count: int | None = None) -> list[Cid]:
        try:
            names = exchange.read_names(answer.content)
        except exchange.MalformedExchange as error:
            raise Rejected(f"{self.name}: {error}") from error
        if answer.kind != exchange.NAMES or count not in (None, len(names)):
            raise Rejected(f"{self.name}: {answer.content[:100]!r} where names should be")
        return names

    def _outcome(self, answer: Document) -> Outcome | None:
        if answer.status == 204:
            return None
        try:
            return exchange.read_outcome(answer.content)
        except exchange.MalformedExchange as error:
            raise Rejected(f"{self.name}: {error}") from error

    def _incomplete(self, root: Cid, names: Sequence[Cid]) -> str:
        shown = ", ".join(map(cidtext.text, names[:_SHOWN]))
        more = ", ..." if len(names) > _SHOWN else ""
        return f"{self.name} lacks blocks below {cid.text(root)}: {shown}{more}"
