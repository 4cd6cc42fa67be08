"""`narbor verify`: whole, damaged, repaired."""

import json
import shutil

from narbor.formats import frames
from tests.cli.program import Farm, Program


def damage(filled: Program) -> None:
    """Change the last byte of the largest frame in the only pack: its checksum."""
    (pack,) = (filled.home / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    start = len(frames.MAGIC)
    largest = max(frames.scan(bytes(data[start:]), start), key=lambda found: found.length)
    data[largest.offset + largest.length - 1] ^= 1
    pack.write_bytes(data)


def test_a_whole_store_is_0(filled: Program) -> None:
    """All items and blocks are counted."""
    done = filled("verify", "--json")
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert (facts["items"], facts["damaged"], facts["unusedBadBlocks"]) == (3, 0, 0)
    assert "all as it was" in filled("verify").stdout


def test_damage_is_named_and_1(filled: Program) -> None:
    """The item and the block stand in the result, and what to do beside it."""
    damage(filled)
    done = filled("verify", "--json")
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"bad block", "damaged"} <= {event["event"] for event in events}
    assert "--repair" in done.stderr


def test_repair_brings_it_back(narbor: Program, farm: Farm) -> None:
    """From the upstream it came from; where that is gone, it stays 1 and says why."""
    trust = ("--trust", str(farm.key.public))
    assert narbor("mirror", str(farm.folder), farm.path("top"), *trust).returncode == 0
    damage(narbor)
    away = farm.folder.with_name("away")
    shutil.move(farm.folder, away)
    done = narbor("verify", "--repair")
    assert done.returncode == 1
    assert "unrepaired" in done.stdout
    shutil.move(away, farm.folder)
    assert narbor("verify", "--repair").returncode == 0
    assert narbor("verify").returncode == 0


def test_reindex_makes_a_lost_index_again(filled: Program, farm: Farm) -> None:
    """The packs are enough; a damaged frame is told of and costs no other."""
    assert "all as it was" in filled("verify").stdout
    for file in filled.home.glob("index.sqlite*"):
        file.unlink()
    done = filled("reindex", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["packs"] == 1
    assert "all as it was" in filled("verify").stdout
    damage(filled)
    done = filled("reindex")
    assert done.returncode == 1
    assert "damaged" in done.stdout
    assert done.stdout.endswith(" in 1 pack\n")
    assert "--repair" in done.stderr
    assert filled("verify").returncode == 1


def test_reindex_without_packs_is_2(filled: Program) -> None:
    """A home that holds none is named."""
    done = filled("reindex", "--home", str(filled.home / "nowhere"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr
