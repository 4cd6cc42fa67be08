"""How Kubo, the IPFS daemon in Go, is asked, and how it says that it could not.

    POST /api/v0/COMMAND?arg=...&option=...     files in multipart/form-data, arguments one a line
    200, JSON values one a line; an error behind them stands in the trailer X-Stream-Error
    500, {"Message": ..., "Code": ..., "Type": "error"}; 400, 403 and 404 in plain text

Who may use the RPC owns the daemon: it belongs on a loopback address, or behind
`API.Authorizations`, whose secret is a token of ours by host, or stands in netrc.
Specification: https://docs.ipfs.tech/reference/kubo/rpc/ and the source of go-ipfs-cmds.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar
from urllib.parse import urlencode

import httpcore

from narbor.errors import NarborError, Refused, Rejected, Unavailable
from narbor.formats import streams
from narbor.net import jsonobject, multipart
from narbor.net.credentials import bare
from narbor.net.duplex import Duplex, Reply
from narbor.net.http import Denied, WrongAnswer
from narbor.net.wire import Lost, Options

LONGEST_LINE: Final = 1 << 20
"""Bytes of one JSON value."""

_LONGEST_ERROR: Final = 64 << 10
_LACKING: Final = re.compile(r"could not find (\w{8,160})")
_DISK: Final = ("no space left", "disk quota exceeded", "maximum storage limit exceeded")
_LIES: Final = re.compile(
    r'mismatch in content|over 2MiB|invalid header|\(PBNode\)|at block "\w+": unexpected EOF'
)
_NEEDS: Final = ("online mode", "while offline", "cannot provide")

Value = Mapping[str, object]
Query = Mapping[str, str] | Iterable[tuple[str, str]]
_T = TypeVar("_T")


class Failing(Unavailable):
    """The daemon says that it could not do it."""


class NotThere(Failing):
    """A block is not in the daemon's store, and it may not ask others. `name` is it, if known."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Full(Failing):
    """The daemon's disk is full, or its `Datastore.StorageMax` is reached."""


class Offline(Failing):
    """What was asked needs others, and the daemon has none."""


class BadBlock(Rejected):
    """The daemon refused what it was given."""


class Unsupported(Refused):
    """This is no Kubo, or one that is too old, or it does not understand us."""


class Rpc:
    """The RPC of one daemon, for any number of threads."""

    def __init__(self, url: str, options: Options, over: threading.Event) -> None:
        """Name the address, with or without `/api/v0`; raises BadAuthority, BadCredentials."""
        self.name = bare(url).rstrip("/")
        self._base = url.rstrip("/").removesuffix("/api/v0") + "/api/v0/"
        self._options = options
        self._over = over
        self._duplex = Duplex(options, over)

    def close(self) -> None:
        """Close all idle connections."""
        self._duplex.close()

    def again(self, once: Callable[[], _T]) -> _T:
        """Do what may be done twice, and do it again where the connection breaks off."""
        pause = self._options.pause
        for _ in range(self._options.attempts - 1):
            try:
                return once()
            except Lost:
                if self._over.wait(pause):
                    raise
                pause = min(pause * 2, self._options.longest_pause)
        return once()

    def one(self, command: str, options: Query, silence: float | None = None) -> Value:
        """Ask for one value; of several, the last. Raises what `stream` raises."""
        values = list(self.stream(command, options, silence=silence))
        if not values:
            raise WrongAnswer(f"{self.name}: no answer to {command}")
        return values[-1]

    def stream(
        self,
        command: str,
        options: Query,
        file: Iterable[bytes] | None = None,
        silence: float | None = None,
    ) -> Iterator[Value]:
        """Give the values of an answer as they come, to the trailer.

        `file` is sent along, as it comes; for commands without files it holds arguments, one a
        line. Raises Failing and the like, BadBlock, Denied, Unsupported, WrongAnswer, Lost.
        """
        with self.ask(command, options, file, silence) as reply:
            for line in _lines(reply.body, self.name):
                value = jsonobject.read(line, self.name)
                if value.get("Type") == "error" and "Message" in value:
                    raise self.fault(str(value["Message"]))
                yield value
            late = reply.trailers.get("x-stream-error", "")
            if late:
                raise self.fault(late)

    @contextmanager
    def ask(
        self,
        command: str,
        options: Query,
        file: Iterable[bytes] | None = None,
        silence: float | None = None,
    ) -> Iterator[Reply]:
        """Ask, and give the head of an answer that is a success; errors as with `stream`."""
        form = None if file is None else multipart.one_file(file)
        headers = {} if form is None else {"Content-Type": form.kind}
        body = None if form is None else form.body
        url = f"{self._base}{command}?{urlencode(_pairs(options))}"
        try:
            with self._duplex.exchange("POST", url, headers, body, silence) as reply:
                if reply.status != 200:
                    raise self._refusal(command, reply)
                yield reply
        except Lost as error:
            if isinstance(error.__cause__, httpcore.ConnectError):
                raise Lost(f"{error}: does the daemon run, and is this its RPC?") from error
            raise

    def fault(self, said: str) -> NarborError:
        """Find the error that stands for what the daemon says."""
        text = f"{self.name}: {said[:2000]}"
        lacking = _LACKING.search(said)
        if any(each in said for each in _DISK):
            return Full(f"{text}: the daemon's disk is full")
        if lacking is not None:
            return NotThere(text, lacking[1])
        if _LIES.search(said):
            return BadBlock(text)
        if any(each in said for each in _NEEDS):
            return Offline(text)
        return Failing(text)

    def _refusal(self, command: str, reply: Reply) -> NarborError:
        """Find the error that stands for an answer that is no success."""
        body = b"".join(streams.limited(reply.body, _LONGEST_ERROR))
        said = body.decode("utf-8", "replace").strip()
        text = f"{self.name}: {command}: HTTP {reply.status}: {said[:2000]}"
        if reply.status == 500 and said.startswith("{"):
            return self.fault(str(jsonobject.read(body, self.name).get("Message")))
        if reply.status in (401, 403):
            return Denied(
                f"{text}: the daemon wants a secret of its API.Authorizations (a token for this "
                "host, or netrc), or something on the way makes us look like a browser (Origin)"
            )
        if reply.status in (400, 404, 405, 501):
            return Unsupported(f"{text}: no RPC of Kubo, or one that does not know this")
        return Failing(text)


def _lines(body: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Cut a stream into lines; raises WrongAnswer for one that is too long."""
    held = b""
    for chunk in body:
        lines = (held + chunk).split(b"\n")
        held = lines.pop()
        if len(held) > LONGEST_LINE:
            break
        yield from filter(None, lines)
    if len(held) > LONGEST_LINE:
        raise WrongAnswer(f"{name}: a JSON value of more than {LONGEST_LINE} bytes")
    if held.strip():
        yield held


def _pairs(options: Query) -> list[tuple[str, str]]:
    return list(options.items() if isinstance(options, Mapping) else options)
