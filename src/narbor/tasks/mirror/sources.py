"""Several upstreams as one place to ask: the first claim that is vouched for counts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from narbor.errors import NarborError, Refused, Rejected, Unavailable
from narbor.formats import narinfo, vouched
from narbor.formats.vouched import Vouched
from narbor.names.keys import Keyring
from narbor.names.storepath import StorePath
from narbor.net.http import Failing
from narbor.net.wire import Lost
from narbor.upstream import Cache

# So many failures in a row, of any thread, mean that an upstream is away.
_AWAY_AFTER: Final = 8
_AWAY_SECONDS: Final = 30.0


class AnotherItem(Rejected):
    """A cache answered with a claim about something that it was not asked for."""


class Away(Unavailable):
    """An upstream failed so often that it is left alone for a while."""


class WrongStore(Refused):
    """An upstream's items belong to another store directory."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A cache, and whom to believe about what it says; `trusted`: the cache itself."""

    cache: Cache
    keyring: Keyring
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why an upstream could not give an item."""

    upstream: str
    reason: str


class Source:
    """An upstream in use. What is away is not waited for again and again."""

    def __init__(self, upstream: Upstream, clock: Callable[[], float]) -> None:
        self.cache = upstream.cache
        self.name = upstream.cache.name
        self._keyring = upstream.keyring
        self._trusted = upstream.trusted
        self._clock = clock
        self._failures = 0
        self._away_until = 0.0
        self._last = ""

    def claim(self, path: StorePath) -> Vouched | None:
        """Ask for a claim that is vouched for; None where there is none.

        Raises Rejected (malformed, of something else, nobody vouches), Unavailable, Refused.
        """
        self.require()
        try:
            text = self.cache.narinfo(path.hash_part)
        except Unavailable as error:
            self.failed(error)
            raise
        self.answered()
        return None if text is None else self.vouch(text, path)

    def vouch(self, text: bytes, path: StorePath) -> Vouched:
        """Read a claim about `path`; raises Rejected."""
        claim = narinfo.parse(text)
        if claim.path != path:
            raise AnotherItem(f"{self.name} was asked for {path}, and answers with {claim.path}")
        return vouched.vouch(claim, self._keyring, self._trusted)

    def require(self) -> None:
        """Raise Away while the upstream is left alone."""
        if self._clock() < self._away_until:
            raise Away(f"{self.name} is away: {self._last}")

    def answered(self) -> None:
        """Note a success."""
        self._failures = 0

    def failed(self, error: Unavailable) -> None:
        """Note a failure; the count may be a little off between threads, and need not be exact.

        That one thing is gone says nothing of the upstream as a whole.
        """
        if not isinstance(error, Lost | Failing):
            return
        self._failures += 1
        self._last = str(error)
        if self._failures >= _AWAY_AFTER:
            self._away_until = self._clock() + _AWAY_SECONDS


class Sources:
    """All upstreams of a run, in the order in which they are asked."""

    def __init__(self, upstreams: Sequence[Upstream], clock: Callable[[], float]) -> None:
        self._all = tuple(Source(upstream, clock) for upstream in upstreams)

    def open(self, store: str) -> Iterator[str]:
        """Look at each upstream's `nix-cache-info`; give a text for each that is left out or away.

        Raises WrongStore where one is of another store directory, and the last complaint when
        none is left.
        """
        left = []
        last: NarborError | None = None
        for source in self._all:
            try:
                info = source.cache.info()
            except Rejected as error:
                last = error
                yield f"{error}; it is left out"
                continue
            except Unavailable as error:
                # It may come back while the others are asked.
                last = error
                yield str(error)
                info = None
            if info is not None:
                last = None
            if info is not None and info.store not in (None, store):
                raise WrongStore(f"{source.name} is a cache of {info.store}, this one of {store}")
            left.append((source, info))
        if last is not None and not any(info for _, info in left):
            raise last
        self._all = tuple(source for source, _ in left)

    def __getitem__(self, index: int) -> Source:
        return self._all[index]

    def claims(
        self, path: StorePath, complaints: list[Complaint], start: int = 0
    ) -> Iterator[tuple[int, Vouched]]:
        """Give vouched claims from one upstream after the other, with the upstream's number.

        Why others give none is written into `complaints`. Ask for the next only when needed.
        """
        for index, source in enumerate(self._all[start:], start):
            try:
                claim = source.claim(path)
            except NarborError as error:
                complaints.append(Complaint(source.name, str(error)))
                continue
            if claim is None:
                complaints.append(Complaint(source.name, "does not have it"))
            else:
                yield index, claim

    @contextmanager
    def abandoned(self) -> Iterator[None]:
        """For as long as this lasts, break off what is waited for."""
        with ExitStack() as stack:
            for source in self._all:
                stack.enter_context(source.cache.abandoned())
            yield
