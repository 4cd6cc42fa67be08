"""Channels in an exported folder: nginx serves them, and real Nix subscribes to them.

No narbor runs: what was exported is all there is.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_release import table
from tests.fakes.channel import NAME, Channel, release
from tests.peers import registry, servers, suite
from tests.tasks.exported import sound

C = "nixos-25.05-small"
NEWER = release(806300)


@pytest.fixture
def farm() -> Iterator[Channel]:
    """A Hydra and a cache."""
    with Channel() as made:
        yield made


@pytest.fixture(params=list(suite.SUITES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> suite.Machine:
    """A machine with nothing but one real Nix."""
    name: str = request.param
    made = suite.Machine(suite.need(name), tmp_path / "machine", {})
    made.configure(tarball_ttl="0")
    registry.ran(name, made.nix_version())
    return made


def test_nix_channel_follows_a_folder(
    farm: Channel, machine: suite.Machine, tmp_path: Path
) -> None:
    out, narbor = tmp_path / "out", servers.Narbor(tmp_path / "narbor")
    narbor.home.mkdir()
    (narbor.home / "narbor.toml").write_text(table(farm, C))
    with servers.nginx(out, tmp_path / "nginx") as server:
        machine.run("nix-channel", "--add", f"{server.url}/channels/{C}", "nixos")
        for name in (NAME, NEWER):
            farm.evaluate(name)
            narbor.run("release", "make")
            narbor.run("export", str(out), "--views", "--delete")
            machine.run("nix-channel", "--update")
            said = machine.run("nix-instantiate", "--eval", "-E", "(import <nixos> { }).version")
            assert json.loads(said) == name
        assert (out / "channels" / C).readlink().name == NEWER
        assert {path.name for path in (out / "releases" / C).iterdir()} == {NAME, NEWER}
        cache = f"{server.url}/releases/{C}/{NAME}/binary_cache"
        key = str(farm.key.public)
        machine.configure(tarball_ttl="0", substituters=cache, trusted_public_keys=key)
        said = machine.run("nix-instantiate", "--eval", "-E", "(import <nixos> { }).hello")
        path: str = json.loads(said)
        machine.run("nix-store", "--realise", path)
        assert machine.run(f"{path}/bin/hello").strip() == "hello"
    view = out / "releases" / C / NAME / "binary_cache"
    assert sound(view) > 0
    assert all(each.samefile(out / "nar" / each.name) for each in (view / "nar").iterdir())
