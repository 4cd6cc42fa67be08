"""HTTP as the house uses it: small documents, long bodies that survive broken connections.

What passes (server errors, broken connections, "too many requests") is tried again with growing,
random pauses, and no longer than the options say. What is left is one of our own errors:

- Lost, Gone, Failing (Unavailable): no answer now, or no such thing; another upstream may have it;
- WrongAnswer (Rejected): the answer cannot be what was asked for;
- Denied, BadAddress (Refused): credentials are missing, a URL is none.
"""

import email.utils
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from narbor.errors import Refused, Rejected, Unavailable
from narbor.formats import streams
from narbor.net import credentials, pace
from narbor.net.wire import Answer, Lost, Options, Wire

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 10
_MISSING: Final = frozenset({403, 404, 410})
_DENIED: Final = frozenset({401, 407})
_BUSY: Final = frozenset({429, 503})
_ENCODINGS: Final = {"gzip": "gzip", "x-gzip": "gzip", "br": "br", "zstd": "zstd", "xz": "xz"}
_PROGRESS: Final = 1 << 20
_UNBOUNDED: Final = 1 << 62


class Failing(Unavailable):
    """The server says that it cannot answer."""


class Gone(Unavailable):
    """There is nothing at this URL (404, 410, or 403, as object stores say it)."""


class Changed(Unavailable):
    """What lies at a URL is no longer what it was when its transfer began."""


class WrongAnswer(Rejected):
    """An answer cannot be what was asked for."""


class Denied(Refused):
    """The server wants credentials, or others."""


class _Passing(Unavailable):
    """Worth another try, after at least `pause` seconds where the server said so."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Document:
    """A small answer, whole. `url` is where it came from in the end, `kind` its media type."""

    url: str
    status: int
    kind: str
    content: bytes


class Http:
    """A client for any number of threads. The clocks and chance are parameters of the tests."""

    def __init__(
        self,
        options: Options | None = None,
        clock: pace.Clock = time.monotonic,
        sleep: pace.Sleep | None = None,
        now: pace.Clock = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._options = options or Options()
        self._over = threading.Event()
        self._sleep = self._over.wait if sleep is None else sleep
        self._now = now
        self._chance = chance
        self._wire = Wire(self._options, clock, self._over)
        self._rate = pace.Rate(self._options.rate, clock, self._sleep)
        self._credentials = credentials.Credentials(self._options.netrc, self._options.tokens)

    @contextmanager
    def abandoned(self) -> Iterator[None]:
        """Let all that is under way raise Lost within a second, for as long as this lasts."""
        self._over.set()
        try:
            yield
        finally:
            self._over.clear()

    @property
    def traffic(self) -> pace.Traffic:
        """How many bytes went over all connections so far."""
        return self._wire.traffic

    def give_up(self) -> None:
        """Let all that is under way raise Lost within a second, and all that is asked later."""
        self._over.set()

    def close(self) -> None:
        """Close all connections; for when nothing is under way."""
        self._wire.close()

    def document(self, url: str, limit: int, accept: str = "*/*") -> Document | None:
        """Get a document of at most `limit` bytes; None when there is none.

        Raises Lost, Failing, WrongAnswer, Denied, BadAddress.
        """
        headers = {"Accept": accept, "Accept-Encoding": "zstd, br, gzip"}
        return self._persist(url, lambda: self._document("GET", url, headers, None, limit))

    def send(
        self,
        method: str,
        url: str,
        limit: int,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = False,
        plain: bool = False,
    ) -> Document | None:
        """Make any other request; None for 404 and its like. Tried again only if `again` says so.

        With `plain`, each status of 400 and above that does not pass is an answer like others, for
        callers that read what it says. Raises what `document` raises.
        """
        sent = {"Accept": "*/*", **(headers or {})}

        def once() -> Document | None:
            return self._document(method, url, sent, content, limit, plain)

        return self._persist(url, once, self._options.attempts if again else 1)

    def body(self, url: str, decoded: bool = True) -> Iterator[bytes]:
        """Give a body of any length, going on where it broke off.

        Not `decoded`, it is given as it comes: some servers say `Content-Encoding: gzip` of a
        `.tar.gz`, and mean the file.

        Raises Gone, Lost, Failing, Changed, WrongAnswer, Denied, BadAddress. Bytes that have been
        given are never taken back, and never given twice.
        """
        return _Transfer(self, url, decoded).chunks()

    def _document(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        limit: int,
        plain: bool = False,
    ) -> Document | None:
        with self.answer(method, url, headers, content, plain=plain) as answer:
            if answer.status in _MISSING and not plain:
                return None
            parts = []
            try:
                for chunk in streams.limited(_decoded(answer, limit), limit):
                    self._rate.take(len(chunk))
                    parts.append(chunk)
            except Rejected as error:
                raise WrongAnswer(f"{answer.url}: {error}") from error
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Document(answer.url, answer.status, kind, b"".join(parts))

    def _persist(
        self, url: str, once: Callable[[], Document | None], attempts: int | None = None
    ) -> Document | None:
        failures = 0
        while True:
            try:
                return once()
            except (Lost, _Passing) as error:
                failures += 1
                self.rest(url, failures, error, attempts)

    def rest(
        self, url: str, failures: int, error: Unavailable, attempts: int | None = None
    ) -> None:
        """Pause after the failure that makes it so many; raises Failing or Lost after the last."""
        options = self._options
        if failures >= (attempts or options.attempts) or self._over.is_set():
            text = f"{error} ({failures} attempts)" if failures > 1 else str(error)
            raise (Lost if isinstance(error, Lost) else Failing)(text) from error
        pause = options.pause * 2 ** (failures - 1) * (0.5 + self._chance())
        asked = error.pause if isinstance(error, _Passing) else 0.0
        self._sleep(min(max(pause, asked), options.longest_pause))

    def metered(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Give `chunks` no faster than the rate allows."""
        for chunk in chunks:
            self._rate.take(len(chunk))
            yield chunk

    @contextmanager
    def answer(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        small: bool = True,
        plain: bool = False,
    ) -> Iterator[Answer]:
        """Follow redirects to an answer that is a success, or one of `_MISSING`, or `plain`.

        Credentials are chosen anew for each host. Raises _Passing and what `document` raises.
        """
        here = url
        for _ in range(_MOST_REDIRECTS + 1):
            secret = self._credentials.header(here)
            sent = {**headers, "Authorization": secret} if secret else headers
            with self._wire.exchange(method, here, sent, content, small) as answer:
                if answer.status not in _REDIRECTS:
                    self._judge(answer, plain)
                    yield answer
                    return
                here = _target(here, answer)
                if answer.status == 303:
                    method, content = "GET", None
        raise WrongAnswer(f"{credentials.bare(url)} leads to more than {_MOST_REDIRECTS} redirects")

    def _judge(self, answer: Answer, plain: bool) -> None:
        """Raise what a status stands for, unless it is a success or one of `_MISSING`.

        Where it is `plain`, only what passes is raised.
        """
        status = answer.status
        if 200 <= status < 300 or status in _MISSING:
            return
        text = f"{answer.url}: HTTP {status}"
        if status in _DENIED and not plain:
            raise Denied(f"{text}: credentials are needed (netrc or a token), or are wrong")
        if status in _BUSY:
            raise _Passing(text, _seconds(answer.headers.get("retry-after", ""), self._now()))
        if status >= 500 or status in (408, 425):
            raise _Passing(text)
        if not plain:
            raise Failing(text)


class _Transfer:
    """One long body: what has come, and by what to know that the rest belongs to it."""

    def __init__(self, http: Http, url: str, decoded: bool) -> None:
        self._http = http
        self._url = url
        self._decoded = decoded
        self._came = 0
        self._failed_at = 0
        self._failures = 0
        self._validator: str | None = None
        self._encoded = False

    def chunks(self) -> Iterator[bytes]:
        """Give the body, over as many requests as it takes."""
        while True:
            try:
                yield from self._once()
                return
            except (Lost, _Passing) as error:
                if self._came - self._failed_at >= _PROGRESS:
                    self._failures = 0
                self._failed_at = self._came
                self._failures += 1
                self._http.rest(self._url, self._failures, error)

    def _once(self) -> Iterator[bytes]:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if self._came and not self._encoded:
            headers["Range"] = f"bytes={self._came}-"
            if self._validator is not None:
                headers["If-Range"] = self._validator
        with self._http.answer("GET", self._url, headers, small=False) as answer:
            if answer.status in _MISSING:
                raise Gone(f"{answer.url}: HTTP {answer.status}")
            skip = self._begin(answer)
            body = _named(answer) if self._decoded else answer.body
            for chunk in self._http.metered(body):
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                rest = chunk[skip:] if skip else chunk
                skip = 0
                self._came += len(rest)
                yield rest
            if skip:
                raise Changed(f"{answer.url} is shorter than when its transfer began")

    def _begin(self, answer: Answer) -> int:
        """Look at the head of an answer; return how many bytes of its body are known already."""
        validator = _validator(answer.headers)
        if answer.status == 206:
            start = answer.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
            if start != str(self._came):
                raise WrongAnswer(
                    f"{answer.url}: asked for bytes from {self._came}, got them from {start!r}"
                )
            skip = 0
        else:
            skip = self._came
        if self._came and self._validator is not None and validator != self._validator:
            raise Changed(
                f"{answer.url} changed while it was fetched: {self._validator}, now {validator}"
            )
        self._validator = validator
        # Positions in an encoded body are not those of what it stands for.
        self._encoded = self._decoded and bool(answer.headers.get("content-encoding"))
        return skip


def _named(answer: Answer) -> Iterator[bytes]:
    """The decoded body; what is wrong with its encoding is said with its URL."""
    try:
        yield from _decoded(answer, _UNBOUNDED)
    except (streams.Corrupt, streams.UnknownCompression) as error:
        raise WrongAnswer(f"{answer.url}: {error}") from error


def _decoded(answer: Answer, limit: int) -> Iterator[bytes]:
    """The body without its Content-Encoding, which servers may send though none was asked for."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity") or answer.status == 206:
        return answer.body
    if encoding not in _ENCODINGS:
        raise WrongAnswer(f"{answer.url}: the Content-Encoding {encoding!r} is not known")
    return streams.decompress(answer.body, _ENCODINGS[encoding], limit)


def _target(url: str, answer: Answer) -> str:
    """Where a redirect leads; raises WrongAnswer for a place we do not go to."""
    location = answer.headers.get("location", "")
    try:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
    except ValueError as error:
        raise WrongAnswer(f"{answer.url} redirects to {location!r}: {error}") from error
    if not location or there.scheme not in ("http", "https") or not there.netloc:
        raise WrongAnswer(f"{answer.url} redirects to {location!r}")
    if here.scheme == "https" and there.scheme == "http":
        raise WrongAnswer(f"{answer.url} redirects to {credentials.bare(target)}, which is not TLS")
    if here.username is not None and here.netloc.rpartition("@")[2] == there.netloc:
        # The same server: what stood in the URL goes along.
        return there._replace(netloc=here.netloc).geturl()
    return target


def _validator(headers: Mapping[str, str]) -> str | None:
    """What can stand in If-Range: a strong ETag, or else the date (RFC 9110, 13.1.5)."""
    tag = headers.get("etag", "")
    if tag.startswith('"'):
        return tag
    return headers.get("last-modified")


def _seconds(text: str, now: float) -> float:
    """Read Retry-After: seconds, or a date; 0 where it says nothing."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    date = email.utils.parsedate_tz(text)
    return max(0.0, email.utils.mktime_tz(date) - now) if date else 0.0
