"""Real IPFS peers: a Go program of ours over boxo, the libraries that Kubo is made of.

`tests/peers/boxo` is built once for its sources, outside the source tree. A peer keeps its blocks
in memory or in a folder; other peers and routers are those that it is told of.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.peers import registry

SOURCE: Final = Path(__file__).parent / "boxo"
NAME: Final = "boxo"
_LONGEST_BUILD: Final = 900
_PATIENCE: Final = 120.0


class NotBuilt(Exception):
    """Go or the modules are not to be had here; the message says which and why."""


class PeerRefused(AssertionError):
    """A peer answered a request of ours with an error. `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Imported:
    """What a CAR brought: its roots, and its blocks as often as they stand in it."""

    roots: tuple[str, ...]
    blocks: int
    size: int


@dataclass(frozen=True, slots=True)
class Counted:
    """How much of a DAG a peer has: each block once, without identity CIDs; and what it lacks."""

    blocks: int
    size: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that runs. CIDs are text."""

    version: str
    id: str
    addresses: tuple[str, ...]
    gateway: str
    admin: str

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask its gateway; redirects are the caller's."""
        return httpx.get(self.gateway + path, headers=headers, timeout=_PATIENCE, trust_env=False)

    def imports(self, chunks: Iterable[bytes]) -> Imported:
        """Hand it a CAR."""
        # In one body of a known length or in pieces: the peer reads both as they come.
        said = self._ask("POST", "/import", content=chunks)
        return Imported(tuple(said["roots"]), said["blocks"], said["bytes"])

    def pin(self, cid: str, seconds: float = _PATIENCE) -> Counted:
        """Let it fetch and keep all below a root; PeerRefused when that takes longer."""
        return _counted(self._ask("POST", "/pin", cid=cid, timeout=f"{seconds}s"))

    def unpin(self, cid: str) -> None:
        """Let it keep a root no longer; the blocks stay."""
        self._ask("DELETE", "/pin", cid=cid)

    def pins(self) -> set[str]:
        """Return the roots it keeps."""
        return set(self._ask("GET", "/pins"))

    def count(self, cid: str) -> Counted:
        """Walk what it has below a root; nothing is fetched."""
        return _counted(self._ask("GET", "/count", cid=cid))

    def has(self, cid: str) -> bool:
        """Tell whether it has a block."""
        try:
            self._ask("GET", "/block", cid=cid)
        except PeerRefused as error:
            if error.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def drop(self, cid: str) -> None:
        """Take a block away from it."""
        self._ask("DELETE", "/block", cid=cid)

    def connect(self, other: "Peer") -> None:
        """Connect it to another peer, for bitswap."""
        self._ask("POST", "/connect", addr=other.addresses[0])

    def put_name(self, name: str, record: bytes) -> None:
        """Hand it the IPNS record of a name."""
        self._ask("PUT", "/name", content=record, name=name)

    def stats(self) -> dict[str, Any]:
        """Return what its exchange did: received, bytes, duplicates, sent; and its peers."""
        said: dict[str, Any] = self._ask("GET", "/stats")
        return said

    def _ask(
        self, method: str, path: str, content: bytes | Iterable[bytes] = b"", **query: str
    ) -> Any:
        url = self.admin + path
        # The peer has its own limit, and says more than a client that gave up.
        answer = httpx.request(
            method, url, params=query, content=content, timeout=2 * _PATIENCE, trust_env=False
        )
        said = answer.json()
        if answer.is_error:
            raise PeerRefused(answer.status_code, said["error"])
        return said


@contextmanager
def running(
    folder: Path, *cars: Path, router: str = "", fetch: bool = False, trust: Path | None = None
) -> Iterator[Peer]:
    """Run a peer that keeps its blocks below `folder`, and has those of `cars` from the start.

    `router` is the server of /routing/v1 that it asks. With `fetch` its gateway fetches; else what
    is not here is 404 at once. `trust`: certificates (PEM) that it believes beside no others.
    """
    program = need()
    flags = ["-store", str(folder / "blocks")]
    flags += ["-router", router] if router else []
    flags += ["-fetch"] if fetch else []
    environment = {**os.environ, **({} if trust is None else {"SSL_CERT_FILE": str(trust)})}
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            (str(program), *flags, *map(str, cars)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, f"the peer did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}"
            peer = _told(json.loads(line))
            registry.ran(NAME, peer.version)
            yield peer
        finally:
            # It ends with its standard input, and with all that it had begun.
            process.stdin.close()
            try:
                process.wait(_PATIENCE)
            finally:
                process.kill()


def need() -> Path:
    """Give the program, built now if it was not before; skip the test where it cannot be."""
    try:
        return build()
    except NotBuilt as error:
        registry.missing(NAME, str(error))
        pytest.skip(f"{NAME}: {error}")


def build() -> Path:
    """Build the program of these sources, once for all runs; raises NotBuilt."""
    if shutil.which("go") is None:
        raise NotBuilt("go is not on the PATH")
    content = sha256()
    for file in sorted(SOURCE.iterdir()):
        content.update(file.name.encode() + b"\0" + file.read_bytes())
    program = registry.folder() / f"boxo-{content.hexdigest()[:12]}"
    program.parent.mkdir(parents=True, exist_ok=True)
    with program.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(program)
    return program


def _build(program: Path) -> None:
    """Build in a folder of its own, so that what has the name is whole. No C compiler is needed."""
    with tempfile.TemporaryDirectory(dir=program.parent) as made:
        fresh = Path(made) / "boxopeer"
        command = ["go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w"]
        try:
            done = subprocess.run(
                [*command, "-o", str(fresh), "."],
                cwd=SOURCE,
                env={**os.environ, "CGO_ENABLED": "0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                text=True,
                timeout=_LONGEST_BUILD,
            )
        except subprocess.TimeoutExpired as error:
            raise NotBuilt(f"go build took more than {error.timeout} s") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it does not say why"]
            raise NotBuilt(f"go build failed: {lines[-1]}")
        fresh.rename(program)


def _told(said: dict[str, Any]) -> Peer:
    return Peer(said["version"], said["peer"], tuple(said["addrs"]), said["gateway"], said["admin"])


def _counted(said: dict[str, Any]) -> Counted:
    return Counted(said["blocks"], said["bytes"], tuple(said["missing"]))
