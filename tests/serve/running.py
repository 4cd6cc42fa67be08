"""tests.serve.program as a process of its own, and what a test asks of it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent.parent
PATIENCE: Final = 60.0
MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """Fetch a path over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def probe(self) -> dict[str, Any]:
        """Look behind the doors."""
        said: dict[str, Any] = json.loads(self.get("/probe")[1])
        return said

    def made_in_the_end(self) -> int:
        """Wait until no more of the bodies is made; return how much that is."""
        made = [-1, 0]
        while made[-1] != made[-2]:
            time.sleep(0.3)
            made.append(self.probe()["made"])
        return made[-1]

    def stop(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Tell whether somebody accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def alive(pid: int) -> bool:
    """Tell whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def program(folder: Path, listen: str | None = None, **options: object) -> Iterator[Running]:
    """Run tests.serve.program; with `listen` nobody waits for it."""
    port = free_port()
    words = [f"{name}={value}" for name, value in options.items()]
    log = folder / "server.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.serve.program", listen or f"127.0.0.1:{port}", *words],
            cwd=ROOT,
            # A server that is killed cannot take its folder away.
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        try:
            if listen is None:
                eventually(lambda: process.poll() is not None or answers(port))
                assert process.poll() is None, log.read_text()
            yield Running(process, port, log)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
