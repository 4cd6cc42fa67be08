"""What `narbor replicate` gives, real IPFS programs read whole, and what they give is imported."""

import json
from pathlib import Path

import pytest

from narbor.names import cid
from tests.cli import program
from tests.cli.program import Farm, Program
from tests.cli.test_import import counts
from tests.cli.test_replicate import published, roots
from tests.peers import boxo, ipfs


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A small farm."""
    return program.grow(tmp_path / "farm")


@pytest.fixture
def filled(tmp_path: Path, farm: Farm) -> Program:
    """The program with a home that holds the farm."""
    narbor = Program(tmp_path / "home")
    program.fill(narbor.home, farm)
    return narbor


def test_a_peer_reads_our_cars_and_we_read_its(filled: Program, farm: Farm, tmp_path: Path) -> None:
    boxo.need()
    root = published(filled)
    car = tmp_path / "cache.car"
    assert filled("replicate", str(car)).returncode == 0
    blocks = json.loads(car.with_name("cache.car.json").read_text())["cars"][0]["blocks"]
    with boxo.running(tmp_path / "peer") as peer:
        said = peer.imports([car.read_bytes()])
        assert (said.roots, said.blocks) == ((root,), blocks)
        found = peer.pin(root)
        assert (found.blocks, found.missing) == (blocks, ())
        theirs = peer.get(f"/ipfs/{root}?format=car").content
    back = tmp_path / "theirs.car"
    back.write_bytes(theirs)
    far = Program(tmp_path / "far" / "home")
    done = far("import", str(back), "--trust", str(farm.key.public))
    assert done.returncode == 0, done.stderr
    assert (counts(far), roots(far)) == ((3, 0), {root: root})


def test_a_peer_reads_a_folder_one_after_the_other(filled: Program, tmp_path: Path) -> None:
    boxo.need()
    published(filled)
    out = tmp_path / "out"
    assert filled("replicate", f"{out}/").returncode == 0
    program.fill(filled.home, program.grow(tmp_path / "newer", "two"))
    root = published(filled)
    assert filled("replicate", f"{out}/").returncode == 0
    with boxo.running(tmp_path / "peer") as peer:
        for car in sorted(out.glob("*.car")):
            peer.imports([car.read_bytes()])
        assert peer.pin(root).missing == ()


def test_kubo_is_given_what_it_lacks_and_found_out(filled: Program, tmp_path: Path) -> None:
    with ipfs.daemon(tmp_path / "ipfs") as daemon:
        root = published(filled)
        target = f"kubo:{daemon.url}"
        done = filled("replicate", target)
        assert done.returncode == 0, done.stderr
        assert "narbor/cache" in daemon.run("pin", "ls", "--names")
        assert filled("replicate", target, "--check").returncode == 0
        listing = daemon.run("refs", "-r", "-u", root).split()
        lost = next(cid.parse(text) for text in reversed(listing) if text.startswith("bafkrei"))
        daemon.lose(lost[2:])
        done = filled("replicate", target, "--check")
        assert (done.returncode, cid.text(lost) in done.stdout) == (1, True)
        assert filled("replicate", target).returncode == 0
        assert filled("replicate", target, "--check").returncode == 0
        assert cid.text(cid.parse(root)) in daemon.run("pin", "ls", "--type=recursive")
