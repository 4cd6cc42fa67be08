"""Server programs that a test starts, kills and starts again: nginx and narbor itself."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest

from tests.peers import registry

_PATIENCE = 60  # seconds until a server that takes no connection counts as broken


def free_port() -> int:
    """Find a TCP port on the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server:
    """A program that listens at a port of 127.0.0.1; as a context it runs from begin to end."""

    def __init__(self, argv: Sequence[str], port: int, log: Path) -> None:
        """Name the command line, the port that it will listen at, and a file for its output."""
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._argv = list(argv)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        """Start the program."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the program."""
        self.stop()

    def start(self) -> None:
        """Start the program and wait until it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + _PATIENCE
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                said = self._log.read_text("utf-8", "replace")[-4000:]
                raise AssertionError(f"{self._argv[0]} does not listen at {self.port}:\n{said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the program and all that it started, at once and without a chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the program to end, and wait until it did."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        """Send a signal to the whole process group and wait for its leader."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, how)
        process.wait(_PATIENCE)
        # What the leader had started may live a moment longer, and keep the port.
        give_up = time.monotonic() + _PATIENCE
        while self._listens():
            assert time.monotonic() < give_up, f"{self._argv[0]} still listens at {self.port}"
            time.sleep(0.02)

    def _listens(self) -> bool:
        """Tell whether a connection is taken."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def nginx(folder: Path, state: Path, more: str = "") -> Iterator[Server]:
    """Serve the files of `folder` with the real nginx, which writes only below `state`.

    `more` stands in its configuration beside the folder.
    """
    port = free_port()
    site = f"server {{ listen 127.0.0.1:{port}; root {folder}; {more}}}\n"
    with nginx_with(site, port, state) as server:
        yield server


@contextmanager
def nginx_with(sites: str, port: int, state: Path) -> Iterator[Server]:
    """Run the real nginx with `sites` as its conf.d, which listen at `port` and perhaps others."""
    program = shutil.which("nginx")
    if program is None:
        reason = registry.not_installed().get("nginx", "it is not on the PATH")
        registry.missing("nginx", reason)
        pytest.skip(f"nginx: {reason}")
    said = subprocess.run((program, "-v"), capture_output=True, text=True, check=True).stderr
    registry.ran("nginx", said.strip().rpartition("/")[2])
    state.mkdir(parents=True, exist_ok=True)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {state}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (state / "nginx.conf").write_text(
        f"{user}daemon off;\npid {state}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\n{temporary}access_log off;\n{sites}}}\n"
    )
    argv = (program, "-e", "stderr", "-p", str(state), "-c", str(state / "nginx.conf"))
    with Server(argv, port, state / "log") as server:
        yield server


@dataclass(frozen=True, slots=True)
class Narbor:
    """The installed `narbor` program with a home folder of its own."""

    home: Path

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `narbor WORDS` to its end, whatever the end is."""
        return subprocess.run(
            (*self.program(), *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start `narbor WORDS`; where it still runs at the end of the context, it is killed."""
        with subprocess.Popen(
            (*self.program(), *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self, *words: str) -> str:
        """Run `narbor WORDS` and give its output; all of it must have been done."""
        done = self.attempt(*words)
        said = f"{done.stdout}{done.stderr}".strip()
        assert done.returncode == 0, f"narbor {' '.join(words)}: {done.returncode}\n{said[-4000:]}"
        return done.stdout

    def server(self, *flags: str) -> Server:
        """Make the server of this home, with more flags if need be; the caller starts it."""
        port = free_port()
        argv = (*self.program(), "serve", "--listen", f"127.0.0.1:{port}", *flags)
        self.home.mkdir(parents=True, exist_ok=True)
        return Server(argv, port, self.home.with_suffix(".log"))

    def agent(self, *flags: str) -> Server:
        """Make the agent of this home; the caller starts it."""
        port = free_port()
        argv = (*self.program(), "agent", "--listen", f"127.0.0.1:{port}", *flags)
        self.home.mkdir(parents=True, exist_ok=True)
        return Server(argv, port, self.home.with_suffix(".log"))

    def program(self) -> tuple[str, ...]:
        """Give the words that every call begins with."""
        program = Path(sysconfig.get_path("scripts"), "narbor")
        return (str(program), "--home", str(self.home))


def curl(*words: str) -> bytes:
    """Run the real curl and give what it fetched; an HTTP error fails."""
    program = shutil.which("curl")
    if program is None:
        reason = registry.not_installed().get("curl", "it is not on the PATH")
        registry.missing("curl", reason)
        pytest.skip(f"curl: {reason}")
    said = subprocess.run((program, "--version"), capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d[\d.]+", said)
    registry.ran("curl", version[0] if version else "?")
    return subprocess.run(
        (program, "--silent", "--show-error", "--fail", *words), capture_output=True, check=True
    ).stdout
