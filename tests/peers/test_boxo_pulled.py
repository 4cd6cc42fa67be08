"""What a real peer's gateway has is pulled: one block in a request, out of a name it knows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from narbor import wiring
from narbor.config import Config
from narbor.formats import car
from narbor.library import Library
from narbor.names import cid
from tests.cli.program import Program
from tests.peers import boxo, published
from tests.peers.boxo import Peer
from tests.peers.published import Published


@pytest.fixture(scope="module", autouse=True)
def _needs_boxo() -> None:
    """Skip all of this where the peer cannot be built."""
    boxo.need()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Publish a small store."""
    return published.make(tmp_path_factory.mktemp("store"))


@pytest.fixture
def peer(store: Published, tmp_path: Path) -> Iterator[Peer]:
    """A peer that was given our blocks and our record, and knows us no more."""
    roots = [cid.parse(store.root)]
    with boxo.running(tmp_path / "peer") as made:
        made.imports(car.write(roots, store.blocks.items()))
        made.put_name(store.name, store.record)
        yield made


def library(program: Program) -> Library:
    """Open what a program has."""
    return wiring.open_library(Config(home=program.home))


def test_a_name_is_pulled_from_a_peer_that_we_gave_it_to(
    store: Published, peer: Peer, tmp_path: Path
) -> None:
    far = Program(tmp_path / "far" / "home")
    words = ("--json", "import", f"/ipns/{store.name}", "--from", peer.gateway)
    done = far(*words, "--trust", store.public_key)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["root"] for each in told if each["event"] == "resolved"] == [store.root]
    (last,) = [each for each in told if each["event"] == "pulled"]
    assert (last["blocks"], last["bytes"]) == (len(store.blocks), store.size)
    (kept,) = [each for each in told if each["event"] == "kept"]
    assert kept["whole"]
    found = library(far)
    try:
        assert found.blocks.missing(store.blocks) == set()
        assert [text for _, text in found.catalogue.records()] == [store.record]
    finally:
        found.close()


def test_what_the_peer_has_not_is_listed(store: Published, peer: Peer, tmp_path: Path) -> None:
    lost = max(store.blocks, key=lambda name: len(store.blocks[name]))
    peer.drop(cid.text(lost))
    far = Program(tmp_path / "far" / "home")
    done = far("--json", "import", store.root, "--from", peer.gateway)
    assert done.returncode == 1, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["cid"] for each in told if each["event"] == "absent"] == [cid.text(lost)]
