"""Fifty thousand small items in one run of `narbor mirror`, and the same line once more.

Input: a generated cache, 50 layers of 1,000 items of 0.3 to 3 KB in five compressions, three
references each into the layer below and one that all share, every tenth to itself, one of a hundred
missing (half of these without a narinfo, half without the archive). nginx serves it, one worker.

    python -m bench.large [WIDTH]
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import child
from bench.child import Ran
from bench.measure import Row, at_least, at_most
from tests.fakes import crowd
from tests.fakes.crowd import Crowd
from tests.peers.servers import Server, free_port

LAYERS = 50
WIDTH = 1000


@contextmanager
def nginx(folder: Path, state: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder; give the URL and the access log."""
    program = shutil.which("nginx")
    if program is None:
        raise SystemExit("nginx is not installed")
    state.mkdir(parents=True)
    port, log = free_port(), state / "access"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {state}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (state / "nginx.conf").write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {state}/pid;\nerror_log /dev/null;\n"
        f"events {{ worker_connections 1024; }}\n"
        f"http {{\n{temporary}log_format short '$status $uri';\naccess_log {log} short;\n"
        f"keepalive_requests 100000; tcp_nopush on; sendfile on;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; }}\n}}\n"
    )
    argv = (program, "-e", "stderr", "-p", str(state), "-c", str(state / "nginx.conf"))
    with Server(argv, port, state / "log") as server:
        yield server.url, log


def archives(log: Path) -> int:
    """Count the requests for archives."""
    with log.open() as lines:
        return sum(" /nar/" in line for line in lines)


def rows(folder: Path, width: int = WIDTH) -> Iterator[Row]:
    """Mirror twice."""
    world = crowd.grow(folder / "cache", LAYERS, width)
    paths = folder / "paths"
    paths.write_text("".join(f"/nix/store/{base}\n" for base in world.roots))
    everything = len(world.found) + len(world.unclaimed) + len(world.gone)
    with nginx(world.folder, folder / "nginx") as (url, log):

        def mirror() -> Ran:
            words = ("mirror", url, "--paths-from", str(paths), "--trust", str(crowd.KEY.public))
            return child.narbor(folder / "home", "--no-progress", *words)

        first = mirror()
        asked = archives(log)
        again = mirror()
    failed = child.narbor(folder / "home", "failed")
    _check(world, first, again, failed.out)
    print(f"cpu {first.cpu:.1f} s, {again.cpu:.1f} s; {asked:,} archives asked for")
    speed = everything / first.seconds
    yield at_most(
        f"memory to mirror {everything:,} small items",
        f"{first.peak / 1e6:.0f} MB", first.peak / 1e6, 500, "MB",
    )  # fmt: skip
    yield at_least(
        f"mirror {everything:,} small items, each its own NAR, from nginx",
        f"{speed:,.0f} items/s", "500 items/s", speed / 500, 1, "the bar",
    )  # fmt: skip
    yield at_most(
        "the same again: no archive asked for" if archives(log) == asked + len(world.gone)
        else f"the same again: {archives(log) - asked - len(world.gone):,} archives ASKED FOR",
        f"{again.seconds:.1f} s, {again.peak / 1e6:.0f} MB", again.seconds, 10, "s",
    )  # fmt: skip


def _check(world: Crowd, first: Ran, again: Ran, failed: str) -> None:
    """Raise where the outcome is not what it must be."""
    missing = world.unclaimed | world.gone
    listed = {line.split()[2] for line in failed.splitlines() if line.startswith("failed")}
    assert first.code == again.code == 1, (first.code, again.code, first.err, again.err)
    assert listed == missing, (len(listed), len(missing))
    assert f"{len(world.found):,} items admitted" in first.err, first.err
    assert again.err.startswith("0 items admitted"), again.err


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as scratch:
        for row in rows(Path(scratch), int(sys.argv[1]) if len(sys.argv) > 1 else WIDTH):
            print(row)
