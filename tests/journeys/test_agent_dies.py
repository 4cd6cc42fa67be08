"""Real Nix when its agent dies in the middle of an archive: another cache, or the agent again."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from narbor.cli import loopback
from tests.journeys.test_agent import agent
from tests.journeys.test_real_nix import _is_whole
from tests.peers import registry, servers, suite
from tests.world.world import World

NIX = "nix 2.34"
LARGE = "vim-runtime"  # 36 MB, and it needs nothing else
SLOW = "limit_rate 1m; "


@pytest.fixture
def machine(world: World, tmp_path: Path) -> suite.Machine:
    """Make a machine that trusts the key of the world."""
    made = suite.Machine(suite.need(NIX), tmp_path / "machine", {})
    registry.ran(NIX, made.nix_version())
    return made


@contextmanager
def _installing(machine: suite.Machine, path: str) -> Iterator[subprocess.Popen[str]]:
    """Let Nix install a path."""
    argv = machine.command("nix-store", "--realise", path)
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        yield process


def _in_the_middle(local: servers.Server) -> None:
    """Wait until bytes of an archive were given."""
    pause = threading.Event()
    for _ in range(1200):
        if json.loads(loopback.get(f"{local.url}/agent/status"))["sums"].get("given", 0) > 1 << 20:
            return
        pause.wait(0.05)
    raise AssertionError("nothing was given")


@pytest.mark.parametrize("back", [False, True])
def test_nix_gets_it_all_though_its_agent_dies(
    world: World, server: servers.Server, machine: suite.Machine, tmp_path: Path, back: bool
) -> None:
    path = world.generations[0][LARGE]
    with (
        servers.nginx(world.folder, tmp_path / "nginx", SLOW) as slow,
        agent(world, tmp_path / "agent", tmp_path / "none", f"{slow.url}/zstd") as local,
    ):
        machine.configure(
            trusted_public_keys=world.public_key,
            require_sigs="true",
            substituters=local.url if back else f"{local.url} {server.url}",
            max_jobs="0",
            # It tries again after 0.25 s, 0.5 s and so on, before it asks the next.
            download_attempts="10" if back else "3",
        )
        with _installing(machine, path) as nix:
            _in_the_middle(local)
            local.kill()
            if back:
                local.start()
            said = nix.communicate(timeout=240)[0]
            assert nix.returncode == 0, said
        _is_whole(machine, world, path)
