"""The real `ipfs` (Kubo), wherever one is on the PATH: a daemon in a repository of its own.

It speaks to nobody: no bootstrap peers, no routing, no look-ups of names, addresses of the loopback
only. So it is online, as a daemon should be, and there is no network.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import registry

SETTINGS: dict[str, object] = {
    "Addresses.API": "/ip4/127.0.0.1/tcp/0",
    "Addresses.Gateway": "/ip4/127.0.0.1/tcp/0",
    "Addresses.NoAnnounce": [],
    "Addresses.Swarm": ["/ip4/127.0.0.1/tcp/0"],
    "AutoConf.Enabled": False,
    "AutoTLS.Enabled": False,
    "Bootstrap": [],
    "DNS.Resolvers": {},
    "Discovery.MDNS.Enabled": False,
    "Ipns.DelegatedPublishers": [],
    "Plugins.Plugins": {"telemetry": {"Disabled": True}},
    "Provide.Enabled": False,
    "Routing.DelegatedRouters": [],
    "Routing.Type": "none",
    "Swarm.AddrFilters": [],
    "Version.SwarmCheckEnabled": False,
}


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that runs; `url` is its RPC's address."""

    program: str
    home: Path
    url: str

    def run(self, *words: str, input: bytes = b"") -> str:
        """Run `ipfs WORDS` against it."""
        argv = (self.program, *words)
        done = subprocess.run(
            argv, check=False, env=_env(self.home), input=input, capture_output=True
        )
        assert done.returncode == 0, f"ipfs {words}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode()

    def address(self) -> str:
        """Give an address by which others connect to it."""
        return str(json.loads(self.run("id"))["Addresses"][0])

    def lose(self, digest: bytes) -> None:
        """Take the file of a block away: `digest` is the block's multihash."""
        name = _base32(digest)
        found = [path for path in (self.home / "blocks").rglob("*.data") if path.stem == name]
        assert len(found) == 1, f"{name}: {found}"
        found[0].unlink()


def need() -> str:
    """Find the program; skip the test where there is none."""
    program = shutil.which("ipfs")
    if program is None:
        registry.missing("ipfs", "it is not on the PATH")
        pytest.skip("ipfs: it is not on the PATH")
    said = subprocess.run((program, "version", "-n"), capture_output=True, text=True, check=True)
    registry.ran("ipfs", said.stdout.strip())
    return program


@contextmanager
def daemon(home: Path, *words: str, **settings: object) -> Iterator[Daemon]:
    """Run `ipfs daemon WORDS` in a new repository at `home`."""
    program = need()
    run = (program, "init", "--profile=server", "--empty-repo")
    subprocess.run(run, env=_env(home), check=True, capture_output=True)
    config = json.loads((home / "config").read_text())
    for name, value in (SETTINGS | settings).items():
        *path, last = name.split(".")
        place = config
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    (home / "config").write_text(json.dumps(config))
    with subprocess.Popen(
        (program, "daemon", "--migrate=false", *words),
        env=_env(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if "Daemon is ready" in line:
                    break
            else:
                raise AssertionError("".join(said))
            address = (home / "api").read_text().strip().split("/")
            yield Daemon(program, home, f"http://{address[2]}:{address[4]}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def _env(home: Path) -> dict[str, str]:
    return {**os.environ, "IPFS_PATH": str(home), "IPFS_TELEMETRY": "off"}


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")
