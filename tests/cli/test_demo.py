"""The demo: this machine's own files, mirrored, rebuilt, served, fetched back."""

import json
import signal
import subprocess
import sys

from tests.cli.program import Program


def test_once(narbor: Program) -> None:
    """Both generations are whole, the rebuild costs next to nothing, one item came back."""
    done = narbor("demo", "--once", "--json", "--home", str(narbor.home))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    first, second = facts["generations"]
    assert first["narSize"] >= 60_000_000
    assert first["files"] >= 3_000
    assert second["newItems"] > first["items"] // 2
    assert second["addedShare"] < 0.005
    assert facts["fetchedBack"].startswith("/nix/store/")
    status = json.loads(narbor("status", "--json").stdout)
    assert status["items"] == first["newItems"] + second["newItems"]
    assert status["hidden"] == {}
    assert status["channels"] == {"demo": "demo-2"}
    shown = json.loads(narbor("release", "show", "demo", "--json").stdout)
    assert shown["paths"] == first["items"]
    assert shown["missing"] == []
    assert "nixexprs.tar.xz" in {each["name"] for each in shown["files"]}
    assert narbor("search", "git").returncode == 0


def test_it_ends_in_order(narbor: Program) -> None:
    """SIGTERM in the middle leaves no files behind."""
    narbor.home.mkdir()
    running = subprocess.Popen(
        [sys.executable, "-m", "narbor", "demo", "--once"],
        env=narbor.environment(TMPDIR=str(narbor.home)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert "looking for programs" in running.stderr.readline()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert not list(narbor.home.iterdir())
