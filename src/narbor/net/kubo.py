"""Kubo, the IPFS daemon in Go: what is needed to hand DAGs over to it and to have them kept.

All that could ask the network says `offline`, but for `name_put` and `provide`, which are for
telling it something. Only pinning cannot be held back: a daemon that is online fetches what it
lacks, `offline` or not. So ask `weigh` first, which goes the same way and never leaves the daemon.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from narbor.names import cid, cidtext
from narbor.names.cid import Cid, MalformedCid
from narbor.net.http import WrongAnswer
from narbor.net.kuborpc import Failing, NotThere, Rpc, Unsupported, Value
from narbor.net.wire import Options

OLDEST: Final = (0, 38)
"""The first version that tells the names of pins truly; tried is 0.44."""

LONGEST_NAME: Final = 255
"""Bytes of a pin's name."""

MOST_WEIGHED: Final = 100
"""Roots in one question, which stand in its URL."""

LARGEST_BLOCK: Final = 2 << 20
PATIENCE: Final = 6 * 3600.0
"""Seconds that a walk over a DAG may take, in which the daemon says nothing."""

_STALL: Final = 900.0
# What comes of blocks that are all empty, after a walk that found them.
_NO_RATIO: Final = "unsupported value: NaN"
_OFFLINE: Final = {"offline": "true"}
_QUIET: Final = {"fast-provide-root": "false"}
_RECURSIVE: Final = {"type": "recursive", "names": "true", "stream": "true"}


class Pin(NamedTuple):
    """A recursive pin: its root, the root as the daemon writes it, and the pin's name or ""."""

    root: Cid
    written: str
    name: str


class Kubo:
    """One daemon, asked by any number of threads.

    Everything raises Lost where the connection breaks off, Failing (NotThere, Full, Offline) where
    the daemon cannot do it, Denied, Unsupported, and WrongAnswer.
    """

    def __init__(
        self,
        url: str,
        options: Options | None = None,
        patience: float = PATIENCE,
        over: threading.Event | None = None,
    ) -> None:
        """Name the address of the RPC, `http://127.0.0.1:5001`, with or without `/api/v0`.

        Once `over` is set, all that waits is Lost. Raises BadAuthority, BadCredentials.
        """
        self._rpc = Rpc(url, options or Options(), over or threading.Event())
        self._patience = patience
        self.name = self._rpc.name

    def close(self) -> None:
        """Close all idle connections."""
        self._rpc.close()

    def version(self) -> tuple[int, int]:
        """Return the version, (0, 44) say; raises Unsupported below `OLDEST`."""
        said = _text(self._rpc.again(lambda: self._rpc.one("version", {})), "Version")
        found = re.match(r"(\d{1,4})\.(\d{1,4})", said)
        if found is None:
            raise WrongAnswer(f"{self.name}: {said[:80]!r} is no version of Kubo")
        version = int(found[1]), int(found[2])
        if version < OLDEST:
            raise Unsupported(
                f"{self.name}: Kubo {said} is too old: {OLDEST[0]}.{OLDEST[1]} or later is needed"
            )
        return version

    def load(self, car: Iterable[bytes]) -> int:
        """Import a CAR, as it comes; return how many blocks were in it. Nothing is pinned.

        It is durable when this returns. Raises BadBlock too.
        """
        options = {"pin-roots": "false", "stats": "true", **_QUIET}
        count = None
        for value in self._rpc.stream("dag/import", options, car, self._patience):
            stats, root = value.get("Stats"), value.get("Root")
            if isinstance(stats, dict):
                count = _number(stats, "BlockCount")
            if isinstance(root, dict) and root.get("PinErrorMsg"):
                raise self._rpc.fault(str(root["PinErrorMsg"]))
        if count is None:
            raise Failing(f"{self.name}: the daemon did not say how many blocks it took")
        return count

    def absent(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which of these blocks are not there.

        One request for all: to the depth of 0 a block has no links, and one that is not there is
        an error in the middle of the answer.
        """
        by_text = {cid.text(name): name for name in names}
        options = {"recursive": "true", "max-depth": "0", **_OFFLINE}
        lines = "\n".join(by_text).encode()
        found: set[Cid] = set()
        if not names:
            return found
        for value in self._rpc.again(lambda: list(self._rpc.stream("refs", options, [lines]))):
            fault = self._rpc.fault(_text(value, "Err"))
            if not isinstance(fault, NotThere) or fault.name not in by_text:
                raise fault
            found.add(by_text[fault.name])
        return found

    def block(self, name: Cid) -> bytes:
        """Return a block; raises NotThere, and WrongAnswer where it is another."""
        options = {"arg": cid.text(name), **_OFFLINE}

        def once() -> bytes:
            with self._rpc.ask("block/get", options) as reply:
                return b"".join(_limited(reply.body, LARGEST_BLOCK, self.name))

        block = self._rpc.again(once)
        if not cid.matches(name, block):
            raise WrongAnswer(f"{self.name}: what it gives as {cid.text(name)} is not it")
        return block

    def weigh(self, roots: Sequence[Cid]) -> int:
        """Return the bytes of all blocks below these roots; raises NotThere where one is not there.

        At most `MOST_WEIGHED` roots at once. The daemon reads all their blocks.
        """
        # Of arguments in a file, this command would take the first.
        asked = [("arg", cid.text(root)) for root in roots]
        options = [("progress", "false"), *_OFFLINE.items(), *asked]
        try:
            values = list(self._rpc.stream("dag/stat", options, silence=self._patience))
        except Failing as error:
            if _NO_RATIO not in str(error):
                raise
            return 0
        return _number(values[-1] if values else {}, "TotalSize")

    def inventory(self) -> Iterator[Cid]:
        """Give all blocks that the daemon has, each as if it were raw."""
        for value in self._rpc.stream("refs/local", {}, silence=self._patience):
            if value.get("Err"):
                raise self._rpc.fault(_text(value, "Err"))
            yield self._cid(_text(value, "Ref"))

    def pins(self, named: str) -> Iterator[Pin]:
        """Give the recursive pins in whose name `named` stands; `""` for all."""
        options = {**_RECURSIVE, "name": named} if named else _RECURSIVE
        for value in self._rpc.stream("pin/ls", options, silence=self._patience):
            written = _text(value, "Cid")
            name = value.get("Name", "")
            if not isinstance(name, str):
                raise WrongAnswer(f"{self.name}: a pin whose name is {name!r}")
            try:
                yield Pin(cidtext.known(cidtext.parse(written)), written, name)
            except MalformedCid:
                # A kind of CID that narbor does not read is none that it pinned.
                continue

    def pin_of(self, root: Cid) -> Pin | None:
        """Return the recursive pin of this root; None where there is none."""
        written = cid.text(root)
        try:
            value = self._rpc.one("pin/ls", {**_RECURSIVE, "arg": written})
        except Failing as error:
            if "is not pinned" in str(error):
                return None
            raise
        return Pin(root, written, str(value.get("Name", "")))

    def pin(self, root: Cid, name: str) -> None:
        """Pin all below `root`; a pin that it has gets the new name.

        A daemon that is online asks the network for what it lacks, and this fails when it has not
        come further for a quarter of an hour.
        """
        options = {"arg": cid.text(root), "name": name, "progress": "true", **_QUIET}
        done, since = -1, time.monotonic()
        for value in self._rpc.stream("pin/add", options, silence=self._patience):
            if value.get("Pins"):
                return
            progress = _number(value, "Progress") if "Progress" in value else 0
            if progress != done:
                done, since = progress, time.monotonic()
            elif time.monotonic() - since > _STALL:
                raise Failing(f"{self.name}: pinning {cid.text(root)} stands at {done} blocks")
        raise Failing(f"{self.name}: the daemon did not say that {cid.text(root)} is pinned")

    def repin(self, old: str, new: Cid) -> None:
        """Move a pin and its name from the root `old`, as written, to `new`, which has none.

        Only what differs is walked.
        """
        options = [("arg", old), ("arg", cid.text(new)), *_QUIET.items()]
        self._rpc.one("pin/update", options, self._patience)

    def unpin(self, root: str) -> None:
        """Remove the recursive pin of a root, as written; one that is gone is no error."""
        try:
            self._rpc.one("pin/rm", {"arg": root})
        except Failing as error:
            if "not pinned" not in str(error):
                raise

    def name_put(self, name: str, record: bytes, abroad: bool = True) -> None:
        """Hand over a signed IPNS record for `name` (`k51...`), to be published, or just kept.

        Raises Offline where it should be published and the daemon is offline.
        """
        options = {"arg": name, "allow-offline": "false" if abroad else "true"}
        if not abroad:
            options |= _OFFLINE
        for _ in self._rpc.stream("name/put", options, [record], self._patience):
            pass

    def provide(self, roots: Sequence[Cid]) -> None:
        """Let the daemon tell the network now that it has these blocks.

        Raises Offline, NotThere.
        """
        command = "provide/once" if self.version() >= (0, 42) else "routing/provide"
        lines = "\n".join(map(cid.text, roots)).encode()
        for _ in self._rpc.stream(command, {}, [lines], self._patience):
            pass

    def _cid(self, written: str) -> Cid:
        try:
            return cidtext.known(cidtext.parse(written))
        except MalformedCid as error:
            raise WrongAnswer(f"{self.name}: {error}") from error


def _limited(body: Iterable[bytes], limit: int, name: str) -> Iterator[bytes]:
    size = 0
    for chunk in body:
        size += len(chunk)
        if size > limit:
            raise WrongAnswer(f"{name}: a block of more than {limit} bytes")
        yield chunk


def _text(value: Value, key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        raise WrongAnswer(f"an answer without {key}: {str(value)[:200]}")
    return found


def _number(value: Value, key: str) -> int:
    found = value.get(key)
    if not isinstance(found, int):
        raise WrongAnswer(f"an answer without {key}: {str(value)[:200]}")
    return found
