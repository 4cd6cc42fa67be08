"""`narbor verify`: whole, damaged, repaired."""

import json
import shutil

from tests.cli.program import Farm, Program


def damage(filled: Program) -> None:
    """Change one byte in the middle of the only pack."""
    (pack,) = (filled.home / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
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
