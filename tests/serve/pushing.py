"""A real `narbor serve` that takes what is pushed, and clients that may push."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from narbor import wiring
from narbor.config import Config
from narbor.net.http import Http
from narbor.net.wire import Options
from tests.fakes import certificate
from tests.serve.running import ROOT, answers, eventually, free_port

TOKEN: Final = "a-token-of-the-laptop"
SENDER: Final = "laptop"


@dataclass(frozen=True, slots=True)
class Pushed:
    """A server over `home`; `log` has what it says."""

    process: "subprocess.Popen[bytes]"
    home: Path
    url: str
    port: int
    log: Path
    pem: Path | None

    @contextlib.contextmanager
    def client(self, token: str | None = TOKEN, attempts: int = 3) -> Iterator[Http]:
        """Open a client, with the token of the laptop unless told otherwise."""
        tokens = {} if token is None else {f"127.0.0.1:{self.port}": token}
        http = Http(
            Options(
                proxies={},
                read=30.0,
                attempts=attempts,
                pause=0.01,
                tokens=tokens,
                ca_file=self.pem,
            )
        )
        try:
            yield http
        finally:
            http.close()

    def kill(self) -> None:
        """End it and its workers at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def configured(folder: Path, more: str = "", min_free: str = "0") -> Path:
    """Make a home that takes what the laptop pushes; return it."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (folder / "laptop.token").write_text(TOKEN + "\n")
    tokens = f'[serve]\npush-tokens = {{ {SENDER} = "../laptop.token" }}\n'
    (home / "narbor.toml").write_text(f'min-free = "{min_free}"\n{more}\n{tokens}')
    wiring.open_library(Config(home=home), write=True).close()
    return home


@contextlib.contextmanager
def pushed(
    folder: Path, tls: bool = False, workers: int = 1, more: str = "", min_free: str = "0"
) -> Iterator[Pushed]:
    """Run `narbor serve` over a home in `folder`, which is made where there is none."""
    home, port = configured(folder, more, min_free), free_port()
    argv = [sys.executable, "-m", "narbor", "--home", str(home), "serve"]
    argv += ["--listen", f"127.0.0.1:{port}", "--workers", str(workers)]
    pem = certificate.make(folder / "cert.pem") if tls else None
    if pem is not None:
        argv += ["--tls-cert", str(pem), "--tls-key", str(pem)]
    log = folder / "serve.log"
    with (
        log.open("ab") as said,
        subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        made = Pushed(process, home, f"http{'s' * tls}://127.0.0.1:{port}", port, log, pem)
        try:
            eventually(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None, log.read_text()
            yield made
        finally:
            made.kill()
