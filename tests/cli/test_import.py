"""`narbor import`: all of a cache in a folder comes in, and what leads to it is pinned."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from narbor.cli import import_
from narbor.formats import car, narinfo
from narbor.names import cid
from tests.cli.program import Farm, Program
from tests.tasks.exported import claims, sound
from tests.tasks.replicate.dags import Blocks, join


def counts(program: Program) -> tuple[int, int]:
    """Return how many items there are, and how many pins."""
    facts = json.loads(program("--json", "status").stdout)
    return facts["items"], facts["pins"]


def test_all_comes_in_and_only_the_top_is_pinned(narbor: Program, farm: Farm) -> None:
    done = narbor("import", str(farm.folder), "--trust", str(farm.key.public))
    assert done.returncode == 0, done.stderr
    assert counts(narbor) == (3, 1)
    assert narbor("forget", farm.path("top")).returncode == 0
    assert "3 items" in narbor("collect", "--dry-run").stdout


def test_what_nobody_vouches_for_stays_out(narbor: Program, farm: Farm) -> None:
    done = narbor("import", str(farm.folder))
    assert done.returncode == 1
    assert farm.path("top") in done.stderr
    assert counts(narbor)[0] == 0
    assert narbor("import", farm.folder.as_uri(), "--trusted").returncode == 0
    assert counts(narbor)[0] == 3


def test_an_export_carries_a_store_to_another(filled: Program, farm: Farm, tmp_path: Path) -> None:
    """A stick with two caches on it: both are found, and xz comes in as well as zstd."""
    stick = tmp_path / "stick"
    assert filled("export", str(stick / "one")).returncode == 0
    again = filled("export", str(stick / "two"), farm.path("base-1.0"), "--compression", "xz")
    assert again.returncode == 0
    other = Program(tmp_path / "other" / "home")
    key = ("--trust", str(farm.key.public))
    assert other("import", str(stick), *key).returncode == 0
    assert counts(other) == (3, 2)
    third = Program(tmp_path / "third" / "home")
    assert third("import", str(stick / "two"), *key).returncode == 0
    assert counts(third) == (1, 1)
    assert other("export", str(tmp_path / "back")).returncode == 0
    assert sound(tmp_path / "back") == 3
    one, back = claims(stick / "one"), claims(tmp_path / "back")
    assert {base: claim.signatures for base, claim in back.items()} == {
        base: claim.signatures for base, claim in one.items()
    }


def test_what_is_bad_is_named_and_the_rest_comes_in(narbor: Program, farm: Farm) -> None:
    (farm.folder / f"{'0' * 32}.narinfo").write_text("StorePath: nowhere\n")
    claim = narinfo.parse(
        (farm.folder / f"{farm.products['top'].path.hash_part}.narinfo").read_bytes()
    )
    packed = farm.folder / claim.url
    packed.write_bytes(packed.read_bytes()[:-1])
    done = narbor("import", str(farm.folder), "--trust", str(farm.key.public))
    assert done.returncode == 1
    assert "0000.narinfo" in done.stderr and farm.path("top") in done.stderr
    assert counts(narbor)[0] == 2


def test_a_folder_without_a_cache_is_refused(narbor: Program, tmp_path: Path) -> None:
    for source in (str(tmp_path), str(tmp_path / "none"), "https://cache.example.org"):
        done = narbor("import", source)
        assert done.returncode == 2
        assert source in done.stderr


def test_circles_are_asked_for_by_all_their_names(farm: Farm) -> None:
    found = claims(farm.folder)
    base, tool, top = (found[farm.products[n].path.base] for n in ("base-1.0", "tool-2.0", "top"))
    assert import_.tops([base, tool, top]) == [top.path]
    circle = replace(base, references=(top.path.base,))
    assert import_.tops([circle, tool, top]) == [circle.path, tool.path, top.path]


def test_a_car_on_standard_input(filled: Program, farm: Farm, tmp_path: Path) -> None:
    root = filled("publish").stdout.split()[0]
    car = tmp_path / "cache.car"
    assert filled("replicate", str(car)).returncode == 0
    other = Program(tmp_path / "other" / "home")
    with car.open("rb") as file:
        words = ("import", "-", "--trust", str(farm.key.public), "--name", "theirs")
        done = subprocess.run(
            [sys.executable, "-m", "narbor", *words],
            env=other.environment(),
            capture_output=True,
            text=True,
            stdin=file,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["theirs", root]
    assert counts(other) == (3, 0)
    assert "0 items" in other("collect", "--dry-run").stdout
    assert other("forget", "theirs").returncode == 0
    assert "3 items" in other("collect", "--dry-run").stdout


def test_any_dag_is_kept_by_name_and_let_go_of(narbor: Program, tmp_path: Path) -> None:
    blocks: Blocks = {}
    leaf = join(blocks, [], cid.RAW, 1)
    root = join(blocks, [leaf], cid.DAG_CBOR, 2)
    whole, half = tmp_path / "whole.car", tmp_path / "half.car"
    whole.write_bytes(b"".join(car.write([root], blocks.items())))
    half.write_bytes(b"".join(car.write([root], [(root, blocks[root])])))
    text = cid.text(root)
    done = narbor("import", str(half))
    assert done.returncode == 1
    assert cid.text(leaf) in done.stdout
    assert "--incomplete" in done.stderr
    assert json.loads(narbor("--json", "status").stdout)["roots"] == {}
    assert narbor("import", str(half), "--incomplete").returncode == 1
    assert json.loads(narbor("--json", "status").stdout)["roots"] == {text: text}
    assert narbor("collect").returncode == 0
    assert narbor("import", str(whole), "--name", "gift").returncode == 0
    assert f"gift  {text}" in narbor("status").stdout
    assert narbor("replicate", str(tmp_path / "again.car"), "--what", "gift").returncode == 0
    done = narbor("forget", text)
    assert (done.returncode, sorted(done.stdout.split()[1::2])) == (0, sorted([text, "gift"]))
    facts = json.loads(narbor("--json", "collect").stdout.splitlines()[-1])
    assert facts["blocks"] == 2


def test_what_is_no_car_says_so(narbor: Program, tmp_path: Path) -> None:
    (tmp_path / "x.car").write_text("no car")
    done = narbor("import", str(tmp_path / "x.car"))
    assert done.returncode == 1
    assert "x.car" in done.stderr
    (tmp_path / "x.car.json").write_text("no list")
    done = narbor("import", str(tmp_path / "x.car"))
    assert done.returncode == 3
    assert "x.car.json" in done.stderr
