"""The server, over real sockets, against nginx with the same bytes as files.

Input: the Debian world of tests/world (130 items, 260 MB of NARs), mirrored into a home by `narbor
mirror`. nginx has the `nix copy` cache that was mirrored, and every NAR as narbor gives it, as
files; its configuration is NGINX below. One worker each. Clients: wrk for narinfos; for NARs a lean
reader (sockets, `recv_into`) and curl; real Nix. Ours and nginx take turns, and the ratio is the
median of those of the turns, since a machine is seldom quiet. Beside rates stands the CPU time that
the server took, which depends less on what else runs.

    PYTHONPATH=. python -m bench.serve        prints the rows
"""

import os
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from random import Random
from typing import Final

import zstandard
from bench import clients
from bench.measure import Row, at_least, at_most, rate, seconds
from tests.library.store import opened, sealed
from tests.peers import servers, suite
from tests.world import world as worlds
from tests.world.world import World

from narbor.formats import nar, narinfo

TURNS: Final = 5
WRK_SECONDS: Final = 3
COPIES: Final = 3
BIG: Final = 1 << 30
SLOW: Final = 16
SLOW_SECONDS: Final = 20.0
NGINX: Final = """\
daemon off; worker_processes 1; pid {state}/pid; error_log stderr; {user}
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {state}/a; proxy_temp_path {state}/b; fastcgi_temp_path {state}/c;
  uwsgi_temp_path {state}/d; scgi_temp_path {state}/e;
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  open_file_cache max=10000 inactive=1h; open_file_cache_valid 1h;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs; `session` is that of its processes, all of them."""

    port: int
    session: int

    @property
    def url(self) -> str:
        """What clients call it."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def narbor(home: Path) -> Iterator[Server]:
    """Serve a home with one worker."""
    port = servers.free_port()
    program = str(Path(sysconfig.get_path("scripts"), "narbor"))
    argv = (program, "--home", str(home), "serve", "--listen", f"127.0.0.1:{port}")
    with clients.served(argv, port, home.with_suffix(".log")) as process:
        yield Server(port, process.pid)


@contextmanager
def nginx(folder: Path, state: Path) -> Iterator[Server]:
    """Serve a folder with nginx, tuned."""
    port = servers.free_port()
    state.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    said = NGINX.format(state=state, user=user, port=port, folder=folder)
    (state / "nginx.conf").write_text(said)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    argv = (program, "-e", "stderr", "-p", str(state), "-c", str(state / "nginx.conf"))
    with clients.served(argv, port, state / "log") as process:
        yield Server(port, process.pid)


@dataclass(frozen=True, slots=True)
class Turns:
    """What two servers reached in turn: medians, and CPU seconds in all."""

    ours: float
    theirs: float
    ratio: float
    ours_cpu: float
    theirs_cpu: float


def turns(
    ours: Server, theirs: Server, ask: Callable[[Server], float], count: int = TURNS
) -> Turns:
    """Let both work in turn. `ask` returns a figure of which more is better."""
    found: list[tuple[float, float]] = []
    used = [0.0, 0.0]
    for _ in range(count):
        pair = []
        for number, server in enumerate((ours, theirs)):
            before = clients.cpu(server.session)
            pair.append(ask(server))
            used[number] += clients.cpu(server.session) - before
        found.append((pair[0], pair[1]))
    return Turns(
        statistics.median(mine for mine, _ in found),
        statistics.median(other for _, other in found),
        statistics.median(mine / other for mine, other in found),
        *used,
    )


def rows(world: World, folder: Path) -> Iterator[Row]:
    """Measure everything."""
    path = world.generations[0]["world"]
    mirror = servers.Narbor(folder / "home")
    mirror.run("mirror", f"file://{world.cache('zstd')}", path, "--trust", world.public_key)
    parts = sorted(Path(each).name[:32] for each in world.closure(path))
    files = folder / "files"
    files.mkdir()
    (files / "cache").symlink_to(world.cache("zstd"))
    with narbor(mirror.home) as ours, nginx(files, folder / "nginx") as theirs:
        plain, packed = _copied(ours, parts, files)
        yield from _narinfos(ours, theirs, parts, folder)
        yield from _archives(ours, theirs, plain, packed, files)
        yield _closure(ours, theirs, world, folder)
    yield from _slow(folder)


def _copied(ours: Server, parts: Sequence[str], files: Path) -> tuple[list[str], list[str]]:
    """Lay every NAR down as a file, in both renderings; return their paths."""
    (files / "nar").mkdir()
    plain, packed = [], []
    for part in parts:
        said = narinfo.parse(servers.curl(f"{ours.url}/{part}.narinfo"))
        plain.append(f"nar/{said.seal.digest.nix32}.nar")
        packed.append(said.url)
    for name in {*plain, *packed}:
        (files / name).write_bytes(servers.curl(f"{ours.url}/{name}"))
    return [f"/{name}" for name in plain], [f"/{name}" for name in packed]


def _narinfos(ours: Server, theirs: Server, parts: Sequence[str], folder: Path) -> Iterator[Row]:
    for connections in (1, 32):
        yield _narinfo(ours, theirs, parts, connections, folder)


def _narinfo(
    ours: Server, theirs: Server, parts: Sequence[str], connections: int, folder: Path
) -> Row:
    counts = {ours: 0, theirs: 0}

    def ask(server: Server) -> float:
        prefix = "" if server is ours else "/cache"
        paths = (f"{prefix}/{part}.narinfo" for part in parts)
        load = clients.wrk(server.url, paths, connections, WRK_SECONDS, folder)
        counts[server] += load.count
        return load.rate

    seen = turns(ours, theirs, ask)
    mine = f"{seen.ours:,.0f}/s ({seen.ours_cpu / counts[ours] * 1e6:.0f} us CPU)"
    other = f"{seen.theirs:,.0f}/s ({seen.theirs_cpu / counts[theirs] * 1e6:.0f} us CPU)"
    work = f"narinfo by hash, wrk, {connections} connection{'s' * (connections > 1)}"
    return at_least(work, mine, other, seen.ratio, 0.5, "nginx")


def _archives(
    ours: Server, theirs: Server, plain: Sequence[str], packed: Sequence[str], files: Path
) -> Iterator[Row]:
    alone = _unpacking(plain, files)
    for what, paths, bar in (("none", plain, 0.33), ("zstd", packed, 1.0)):
        sizes = {path: (files / path[1:]).stat().st_size for path in paths}
        size = sum(sizes[path] for path in paths)
        seen = turns(ours, theirs, _whole(paths, size))
        mine = f"{rate(seen.ours, 1)} ({seen.ours_cpu / TURNS:.2f} s CPU)"
        other = f"{rate(seen.theirs, 1)} ({seen.theirs_cpu / TURNS:.2f} s CPU)"
        work = f"{len(paths)} NARs, {what}, {size / 1e6:.0f} MB, one connection, lean reader"
        yield at_least(work, mine, other, seen.ratio, bar, "nginx")
        if what == "none":
            limit, ratio = rate(alone, 1), seen.ours / alone
            yield at_least("the same, against zstd", mine, limit, ratio, 0.9, "zstd -d, one thread")
        largest = max(paths, key=sizes.__getitem__)
        for name, ask in (("lean reader", _whole([largest], sizes[largest])),
                          ("curl", _curl(largest, sizes[largest]))):  # fmt: skip
            seen = turns(ours, theirs, ask)
            work = f"the largest NAR, {what}, {sizes[largest] / 1e6:.0f} MB, {name}"
            mine, other = rate(seen.ours, 1), rate(seen.theirs, 1)
            yield at_least(work, mine, other, seen.ratio, bar, "nginx")


def _whole(paths: Sequence[str], size: int) -> Callable[[Server], float]:
    """Return what reads all of these, `size` bytes, and tells the bytes a second."""
    return lambda server: size / _timed(lambda: clients.lean(server.port, paths))


def _curl(path: str, size: int) -> Callable[[Server], float]:
    return lambda server: size / _timed(lambda: clients.curl(f"{server.url}{path}"))


def _unpacking(plain: Sequence[str], files: Path) -> float:
    """Return the bytes a second that zstd gives in one thread, out of frames of 256 KiB."""
    packer = zstandard.ZstdCompressor(level=3, write_checksum=True)
    frames: list[bytes] = []
    size = 0
    for path in plain:
        data = (files / path[1:]).read_bytes()
        size += len(data)
        step = 256 << 10
        frames += [packer.compress(data[at : at + step]) for at in range(0, len(data), step)]
    decoder = zstandard.ZstdDecompressor()
    return size / seconds(lambda: [len(decoder.decompress(frame)) for frame in frames])


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _closure(ours: Server, theirs: Server, world: World, folder: Path) -> Row:
    """Let real Nix copy the closure into fresh stores."""
    root, path = suite.need(worlds.BUILDER), world.generations[0]["world"]
    fresh = iter(range(1000))

    def ask(server: Server) -> float:
        machine = suite.Machine(root, folder / f"machine-{next(fresh)}", {})
        machine.configure(trusted_public_keys=world.public_key, require_sigs="true")
        machine.nix_version()
        url = server.url if server is ours else f"{server.url}/cache"
        took = _timed(lambda: machine.run("nix", "copy", "--from", url, path))
        shutil.rmtree(machine.state)
        return 1 / took

    seen = turns(ours, theirs, ask, COPIES)
    mine = f"{1 / seen.ours:.2f} s ({seen.ours_cpu / COPIES:.2f} s CPU)"
    other = f"{1 / seen.theirs:.2f} s ({seen.theirs_cpu / COPIES:.2f} s CPU)"
    work = f"nix copy of the closure, {len(world.closure(path))} items, {worlds.BUILDER}"
    return at_least(work, mine, other, seen.ratio, 0.8, "nginx")


def _slow(folder: Path) -> Iterator[Row]:
    """Keep many readers of one large NAR waiting, and look at the memory."""
    home = folder / "slow"
    state, size = sha256(), 0
    for piece in _large():
        state.update(piece)
        size += len(piece)
    with opened(home) as library:
        item = library.admit(sealed("large", state.digest(), size), _large(), "bench:")
        library.commit()
        packed = library.rendering(item, "zstd").digest.nix32
    names = {"none": f"{item.seal.digest.nix32}.nar", "zstd": f"{packed}.nar.zst"}
    for what, name in names.items():
        with narbor(home) as server:
            clients.slowly(server.port, [f"/nar/{name}"] * SLOW, SLOW_SECONDS)
            worker, *others = clients.peak(server.session)
        work = f"{SLOW} slow readers of a NAR of {size / 1e9:.1f} GB, {what}"
        told = f"{worker:.0f} MB, and {sum(others):.0f} MB for those that wait"
        yield at_most(work, told, worker, 250, "MB")


def _large() -> Iterator[bytes]:
    """Give the NAR of one large file of made-up bytes."""
    luck = Random(1)
    events: list[nar.Event[bytes]] = [nar.File(b"", False, BIG)]
    pieces = (nar.Data(luck.randbytes(1 << 20)) for _ in range(BIG >> 20))
    return nar.write(chain(events, pieces))


def main() -> None:
    """Print the rows."""
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as folder:
        for row in rows(worlds.prepare(), Path(folder)):
            sys.stdout.write(f"{row.work}: {row.ours} | {row.peer} | {row.ratio:.2f} {row.bar}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
