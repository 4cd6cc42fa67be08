"""A published cache that a real IPFS peer took from us, and Nix from another peer, without us.

Nix speaks to a gateway that knows nothing of caches; the blocks came there over HTTP/2 from
`narbor serve`, then over bitswap from peer to peer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.fakes import certificate
from tests.journeys.conftest import Mirrored, NewMachine
from tests.journeys.test_real_nix import _is_whole
from tests.peers import boxo
from tests.peers.boxo import Peer
from tests.world.world import World


@dataclass(frozen=True, slots=True)
class Handed:
    """What was handed on: the root, its name, and the last peer that has it."""

    root: str
    name: str
    last: Peer


@pytest.fixture(scope="module")
def handed(mirrored: Mirrored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handed]:
    """Publish, let a peer pin it from us, and another one from that; then we stop."""
    boxo.need()
    state = tmp_path_factory.mktemp("handed")
    said = mirrored.narbor.run("publish", "-q", "--name", "boxo")
    root = re.findall(r"(?m)^bafy\w+", said)[0]
    name = re.findall(r"\bk51\w+", said)[0]
    pem, log = certificate.make(state / "both.pem"), state / "access.log"
    secure = ("--tls-cert", str(pem), "--tls-key", str(pem), "--access-log", str(log))
    with (
        mirrored.narbor.server(*secure) as server,
        boxo.running(
            state / "first", router=server.url.replace("http:", "https:"), trust=pem
        ) as first,
        boxo.running(state / "last") as last,
    ):
        had = first.pin(root, seconds=300)
        record = first.get(f"/ipns/{name}?format=ipns-record").content
        server.stop()
        last.connect(first)
        assert last.pin(root, seconds=300) == had
        last.put_name(name, record)
        yield Handed(root, name, last)
    versions = set(re.findall(r' HTTP/(\S+)" ', log.read_text("utf-8")))
    assert versions == {"2"}


@pytest.mark.parametrize("space", ["ipfs", "ipns"])
def test_nix_copies_from_a_peer_that_never_met_us(
    space: str, world: World, handed: Handed, new_machine: NewMachine
) -> None:
    machine = new_machine()
    url = f"{handed.last.gateway}/{space}/{handed.root if space == 'ipfs' else handed.name}"
    newest = world.generations[-1]["world"]
    machine.run("nix", "copy", "--from", url, newest)
    _is_whole(machine, world, newest)


def test_a_peer_has_what_the_root_says(handed: Handed, mirrored: Mirrored, tmp_path: Path) -> None:
    """Every block of the CAR that we give is there, and none beside them."""
    had = handed.last.count(handed.root)
    assert had.missing == ()
    with (
        mirrored.narbor.server() as server,
        httpx.stream("GET", f"{server.url}/ipfs/{handed.root}?format=car") as answer,
        boxo.running(tmp_path / "other") as other,
    ):
        said = other.imports(answer.iter_raw())
    assert said.roots == (handed.root,)
    assert (said.blocks, said.size) == (had.blocks, had.size)
