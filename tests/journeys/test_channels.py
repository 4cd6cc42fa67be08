"""Real Nix and the channels of a narbor that follows a Hydra.

A Hydra evaluates, narbor makes releases of that, and three versions of Nix subscribe, fetch the
tarball, lock it, and take packages out of the release's own cache.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.channel import NAME, REVISION, Channel, release
from tests.peers import registry, servers, suite

C = "nixos-25.05-small"
NEWER = release(806300)


@dataclass(frozen=True, slots=True)
class Followed:
    """A farm, and a narbor that follows it and serves its channel."""

    farm: Channel
    narbor: servers.Narbor
    server: servers.Server

    def make(self, name: str) -> None:
        """Evaluate, and make the release."""
        self.farm.evaluate(name)
        self.narbor.run("release", "make")

    @property
    def url(self) -> str:
        """The channel's address."""
        return f"{self.server.url}/channels/{C}"


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    """A channel with one release."""
    narbor = servers.Narbor(tmp_path / "narbor")
    with Channel() as farm:
        values = {
            "name": C,
            "hydra": farm.hydra.url,
            "project": "nixos",
            "jobset": "release-25.05",
            "job": "tested",
            "caches": [farm.cache.url],
            "keys": [str(farm.key.public)],
            "missing": 0,
        }
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        narbor.home.mkdir()
        (narbor.home / "narbor.toml").write_text("[[channel]]\n" + "".join(lines))
        farm.evaluate(NAME)
        narbor.run("release", "make")
        with narbor.server() as server:
            yield Followed(farm, narbor, server)


@pytest.fixture(params=list(suite.SUITES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> suite.Machine:
    """A machine with nothing but one real Nix."""
    name: str = request.param
    made = suite.Machine(suite.need(name), tmp_path / "machine", {})
    # Else Nix would not look again for an hour, `nix-channel --update` or not.
    made.configure(experimental_features="nix-command flakes", tarball_ttl="0")
    registry.ran(name, made.nix_version())
    return made


def trust(machine: suite.Machine, followed: Followed, cache: str) -> None:
    """Let the machine take packages from a cache, signed by the farm."""
    machine.configure(
        experimental_features="nix-command flakes",
        substituters=cache,
        trusted_public_keys=str(followed.farm.key.public),
    )


def test_nix_channel_follows_it(followed: Followed, machine: suite.Machine) -> None:
    machine.run("nix-channel", "--add", followed.url, "nixos")
    for name in (NAME, NEWER):
        if name == NEWER:
            followed.make(name)
        machine.run("nix-channel", "--update")
        said = machine.run("nix-instantiate", "--eval", "-E", "(import <nixos> { }).version")
        assert said.strip() == json.dumps(name)
    followed.narbor.run("release", "rollback", C)
    machine.run("nix-channel", "--update")
    said = machine.run("nix-instantiate", "--eval", "-E", "(import <nixos> { }).version")
    assert said.strip() == json.dumps(NAME)


def test_what_a_channel_names_comes_out_of_its_cache(
    followed: Followed, machine: suite.Machine
) -> None:
    cache = f"{followed.server.url}/releases/{C}/{NAME}/binary_cache"
    trust(machine, followed, cache)
    machine.run("nix-channel", "--add", f"{followed.url}/", "nixos")
    machine.run("nix-channel", "--update")
    said = machine.run("nix-instantiate", "--eval", "-E", "(import <nixos> { }).hello")
    path: str = json.loads(said)
    machine.run("nix-store", "--realise", path)
    assert machine.run(f"{path}/bin/hello").strip() == "hello"
    # All that the release lists.
    listed = servers.curl("--location", f"{followed.url}/store-paths").decode().split()
    machine.run("nix", "copy", "--from", cache, *listed)


@pytest.mark.parametrize("address", ["channels/{c}", "releases/{c}/{r}"])
def test_a_tarball_is_fetched(followed: Followed, machine: suite.Machine, address: str) -> None:
    url = f"{followed.server.url}/{address.format(c=C, r=NAME)}/nixexprs.tar.xz"
    expression = f'(import (builtins.fetchTarball "{url}") {{ }}).version'
    assert json.loads(machine.run("nix-instantiate", "--eval", "-E", expression)) == NAME


def test_a_flake_is_locked_to_a_release(followed: Followed, machine: suite.Machine) -> None:
    """Lockable tarballs came with Nix 2.18; before it, a flake is pinned by its hash alone."""
    url = f"{followed.url}/nixexprs.tar.xz"
    told = json.loads(machine.run("nix", "flake", "metadata", "--json", url))
    assert json.loads(machine.run("nix", "eval", "--json", f"{url}#version")) == NAME
    if machine.nix_version().startswith("2.8"):
        assert told["locked"]["narHash"].startswith("sha256-")
        return
    locked = told["locked"]
    there = f"{followed.server.url}/releases/{C}/{NAME}/nixexprs.tar.xz"
    assert locked["url"].partition("?")[0] == there
    assert locked["rev"] == told["revision"] == REVISION
    made = next(iter(followed.farm.hydra.evals.values())).timestamp
    assert locked["lastModified"] == made
    # The channel goes on; what was locked stays what it was.
    followed.make(NEWER)
    assert json.loads(machine.run("nix", "eval", "--json", f"{there}#version")) == NAME
    fresh = machine.run("nix", "eval", "--refresh", "--json", f"{url}#version")
    assert json.loads(fresh) == NEWER


def test_curl_sees_what_channels_nixos_org_shows(followed: Followed) -> None:
    head = servers.curl("--head", f"{followed.url}/nixexprs.tar.xz").decode().lower()
    assert head.startswith("http/1.1 302")
    link = f"<{followed.server.url}/releases/{C}/{NAME}/nixexprs.tar.xz?rev={REVISION}&"
    assert f"link: {link}" in head
    assert 'rel="immutable"' in head
    assert servers.curl("--location", f"{followed.url}/git-revision") == REVISION.encode()
    packages = servers.curl("--location", "--compressed", f"{followed.url}/packages.json.br")
    assert NAME in json.loads(packages)["packages"]["hello"]["meta"]["description"]
    whole = servers.curl("--location", f"{followed.url}/nixexprs.tar.xz")
    part = servers.curl("--location", "--range", "100-299", f"{followed.url}/nixexprs.tar.xz")
    assert part == whole[100:300]


def test_another_narbor_follows_it(followed: Followed, tmp_path: Path) -> None:
    """A mirror of the mirror has the same files, but for what it says of itself."""
    second = servers.Narbor(tmp_path / "second")
    second.home.mkdir()
    values = {
        "name": "mine",
        "channel-url": followed.url,
        "caches": [followed.server.url],
        "keys": [str(followed.farm.key.public)],
        "missing": 0,
    }
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    (second.home / "narbor.toml").write_text("[[channel]]\n" + "".join(lines))
    for name in (NAME, NEWER):
        if name == NEWER:
            followed.make(name)
        second.run("release", "make")
        one, other = (
            json.loads(narbor.run("release", "show", channel, "--json"))
            for narbor, channel in ((followed.narbor, C), (second, "mine"))
        )
        own = ("index.html", "binary-cache-url")
        files = [
            {each["name"]: each["sha256"] for each in shown["files"] if each["name"] not in own}
            for shown in (one, other)
        ]
        assert files[0] == files[1]
        assert [shown["release"] for shown in (one, other)] == [name, name]
        assert [shown["paths"] for shown in (one, other)] == [2, 2]
        assert one["source"] == other["source"]
