"""`narbor serve`: what it says, what it hands over, and how it fails."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from narbor import config
from narbor.cli import serve
from narbor.cli.main import parser
from narbor.names.keys import SecretKey
from tests.serve.running import PATIENCE, Running, answers, eventually, free_port

KEY = SecretKey("extra-1", bytes(range(32)))


def words(*given: str) -> argparse.Namespace:
    """Read a command line."""
    return parser().parse_args(["serve", *given])


def test_flags_become_variables_with_full_paths(tmp_path: Path) -> None:
    told = serve.variables(
        words(
            *("--home", str(tmp_path), "--listen", "[::1]:1", "--workers", "3", "--priority", "0"),
            *("--compression", "none", "--tls-cert", "c", "--tls-key", "k", "--access-log"),
            *("--key", "a", "--key", "b"),
        )
    )
    here = Path.cwd()
    assert told["NARBOR_SIGN_WITH"] == f"{here / 'a'}:{here / 'b'}"
    assert told["NARBOR_ACCESS_LOG"] == "-"
    read = config.load(environment=told)
    assert read.home == tmp_path
    assert read.serve == config.Serve(
        listen="[::1]:1",
        workers=3,
        tls_cert=here / "c",
        tls_key=here / "k",
        compression="none",
        priority=0,
    )


def test_without_flags_nothing_is_said() -> None:
    assert serve.variables(words()) == {}


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:80"),
        ("cache.example:8642", "http://cache.example:8642"),
        ("[::1]:80", "http://[::1]:80"),
        ("unix:/run/narbor", None),
    ],
)
def test_what_clients_call_it(listen: str, url: str | None) -> None:
    said = config.Config(home=Path("/x"), serve=config.Serve(listen=listen))
    assert serve.url(said) == url


def test_all_addresses_are_called_by_the_name_of_the_host() -> None:
    said = config.Config(home=Path("/x"), serve=config.Serve(listen="0.0.0.0:80"))
    assert serve.url(said) == f"http://{os.uname().nodename}:80"


def run(home: Path, *given: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "narbor", "--home", str(home), *given],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_it_says_what_to_paste_and_serves_it(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    assert run(home, "init").returncode == 0
    (tmp_path / "key").write_text(str(KEY))
    log = tmp_path / "log"
    program = (sys.executable, "-m", "narbor", "--home", str(home), "serve")
    flags = ("--listen", f"127.0.0.1:{port}", "--key", str(tmp_path / "key"), "--priority", "7")
    with (
        log.open("wb") as errors,
        subprocess.Popen((*program, *flags), stderr=errors) as process,
    ):
        try:
            eventually(lambda: process.poll() is not None or answers(port))
            running = Running(process, port, log)
            assert running.get("/nix-cache-info")[1].endswith(b"Priority: 7\n")
            assert running.get("/readyz") == (200, b"ready\n")
            assert running.stop() == 0
        finally:
            process.send_signal(signal.SIGKILL)
    said = log.read_text()
    assert f"extra-substituters = http://127.0.0.1:{port}\n" in said
    assert f"extra-trusted-public-keys = {KEY.public}" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--listen", "nowhere"), "'nowhere' is no address"),
        (("--listen", "127.0.0.1:99999"), "'127.0.0.1:99999' is no address"),
        (("--tls-cert", "/x"), "both a certificate and its key"),
        (("--key", "/nonexistent"), "no file with a secret key"),
        (("--access-log", "/nonexistent/log"), "no log can be written"),
    ],
)
def test_a_wrong_call_ends_with_2(given: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert run(tmp_path, "init").returncode == 0
    ended = run(tmp_path, "serve", *given)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_without_a_store_nothing_is_served(tmp_path: Path) -> None:
    ended = run(tmp_path / "none", "serve")
    assert ended.returncode == 2
    assert "there is no store" in ended.stderr
    assert not (tmp_path / "none").exists()
