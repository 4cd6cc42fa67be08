"""A mirrors, B keeps what A published, C installs through its agent. A dies; C goes on from B.

A is a narbor. B is a stock IPFS peer that was told of A's router and of nothing else: it pins what
A's name leads to, and serves it by its gateway. C has a real Nix, whose only substituter is the
agent beside it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import Mirrored, NewMachine
from tests.journeys.test_real_nix import _is_whole, _runs
from tests.peers import boxo, servers
from tests.peers.boxo import Peer
from tests.world.world import World


@pytest.fixture(scope="module")
def name(mirrored: Mirrored) -> str:
    """Publish what A has, under a name; return the name."""
    return mirrored.narbor.run("publish", "-q", "--name", "farm").split()[1]


@pytest.fixture(scope="module")
def b(mirrored: Mirrored, name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Run B, which took all that A's name leads to while A was there."""
    root = mirrored.narbor.run("publish", "-q").split()[0]
    with (
        mirrored.narbor.server() as a,
        boxo.running(tmp_path_factory.mktemp("b"), router=a.url) as peer,
    ):
        peer.pin(root)
        peer.put_name(name, servers.curl(f"{a.url}/ipns/{name}?format=ipns-record"))
        a.stop()
        yield peer


def test_c_installs_from_b_when_a_is_gone(
    world: World,
    mirrored: Mirrored,
    name: str,
    b: Peer,
    new_machine: NewMachine,
    tmp_path: Path,
) -> None:
    first, second = (generation["world"] for generation in world.generations)
    replica = f"{b.gateway}/ipns/{name}"
    narbor, a = servers.Narbor(tmp_path / "c"), mirrored.narbor.server()
    flags = ("--upstream", a.url, "--upstream", replica, "--from", a.url, "--from", b.gateway)
    with a, narbor.agent(*flags, "--trust", world.public_key) as agent:
        machine = new_machine(substituters=agent.url)
        machine.run("nix-store", "--realise", first)
        _runs(machine, first)
        before = fetched(narbor, agent, b.gateway)
        a.kill()
        machine.run("nix-store", "--realise", second)
        _runs(machine, second)
        _is_whole(machine, world, second)
        # What only the second generation has came from B, and by far not all of it.
        after = fetched(narbor, agent, b.gateway)
        assert 0 < after - before < sum(world.closure(second).values()) / 100


def fetched(narbor: servers.Narbor, agent: servers.Server, source: str) -> int:
    """Ask the agent how many bytes of blocks came from one source."""
    said = json.loads(
        narbor.run("--json", "agent", "status", "--listen", f"127.0.0.1:{agent.port}")
    )
    (found,) = [each for each in said["sources"] if each["name"] == source]
    return int(found["bytes"])
