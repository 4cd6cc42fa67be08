"""A published cache, copied by real Nix through an IPFS gateway that knows nothing of caches.

The gateway is ours, asked for `/ipfs/ROOT` alone; what Nix speaks to is a directory of files.
"""

from tests.journeys.conftest import Mirrored, NewMachine
from tests.journeys.test_real_nix import _is_whole
from tests.peers import servers
from tests.world.world import World


def test_nix_copies_from_a_directory(
    world: World, mirrored: Mirrored, server: servers.Server, new_machine: NewMachine
) -> None:
    root = mirrored.narbor.run("publish", "-q").strip()
    assert mirrored.narbor.run("publish", "-q", "--whole").strip() == root
    machine = new_machine()
    for generation in world.generations:
        url = f"{server.url}/ipfs/{root}"
        machine.run("nix", "copy", "--from", url, generation["world"])
        _is_whole(machine, world, generation["world"])
