"""`narbor export`: the program itself, its codes, killed at any moment, and on a full disk."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.cli.program import Farm, Program
from tests.library import cache
from tests.tasks.exported import claims, closed, seen, sound

ITEMS = 120
KILLS = 8


def words(*more: str | Path) -> list[str]:
    """Return the command line of an export."""
    return [sys.executable, "-m", "narbor", "--json", "export", *map(str, more)]


def last(text: str) -> dict[str, object]:
    """Return the last line of JSON."""
    found: dict[str, object] = json.loads(text.splitlines()[-1])
    return found


def test_everything_and_again(filled: Program, farm: Farm, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = filled("export", str(out))
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 items, 3 written" in done.stderr
    assert sound(out) == 3
    assert claims(out)[farm.products["top"].path.base].signatures[0].startswith("farm-1:")
    before = seen(out)
    facts = last(filled("--json", "export", str(out), "--delete").stdout)
    assert (facts["items"], facts["written"], facts["deleted"]) == (3, 0, 0)
    assert seen(out) == before


def test_paths_and_what_is_not_here(filled: Program, farm: Farm, tmp_path: Path) -> None:
    absent = "/nix/store/" + "0" * 32 + "-absent"
    out = tmp_path / "out"
    done = filled("export", str(out), farm.path("tool-2.0"), absent)
    assert done.returncode == 1
    assert "absent" in done.stderr
    assert {claim.path.name for claim in claims(out).values()} == {"base-1.0", "tool-2.0"}
    assert filled("export", str(tmp_path / "none"), absent).returncode == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "bad",
    [
        ["--compression", "bzip2"],
        ["--level", "3"],
        ["--compression", "xz", "--level", "10"],
        ["--release", "nixos-unstable"],
    ],
)
def test_calls_that_cannot_be_meant(filled: Program, tmp_path: Path, bad: list[str]) -> None:
    done = filled("export", str(tmp_path / "out"), *bad)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_home_is_no_place_to_export_to(filled: Program) -> None:
    assert filled("export", str(filled.home)).returncode == 2
    assert not (filled.home / "nix-cache-info").exists()


def test_a_dry_run_lists_what_would_be_written(filled: Program, farm: Farm, tmp_path: Path) -> None:
    done = filled("export", str(tmp_path / "out"), "--dry-run")
    assert set(done.stdout.split()) == set(map(farm.path, farm.products))
    assert "3 would be written" in done.stderr
    assert not (tmp_path / "out").exists()


def killed_after(argv: Sequence[str], environment: dict[str, str], lines: int) -> int:
    """Kill a run once it has told of so many items; return how it ended."""
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        if len(list(islice(run.stdout, lines))) == lines:
            run.kill()
        run.stdout.read()
    return run.returncode


@pytest.mark.parametrize("compression", ["zstd", "xz"])
def test_killed_at_any_moment_it_is_a_cache(
    narbor: Program, tmp_path: Path, compression: str
) -> None:
    """First while it is written, then while all of it is written anew and half of it goes."""
    paths = cache.fill(tmp_path / "cache", ITEMS, 20_000)
    key = ("--trust", str(cache.KEY.public))
    assert narbor("mirror", f"file://{tmp_path}/cache", str(paths[-1]), *key).returncode == 0
    out, luck = tmp_path / "out", Random(compression)
    grew = 0
    for more in ([], ["--delete", "--compression", compression, str(paths[ITEMS // 2])]):
        call = words(out, *more)
        here = closed(out) if out.exists() else 0
        for _ in range(KILLS):
            code = killed_after(call, narbor.environment(), luck.randint(1, ITEMS // 4))
            before, here = here, closed(out)
            grew += here != before
            if code != -signal.SIGKILL:
                break
        done = subprocess.run(call, env=narbor.environment(), capture_output=True, check=True)
        assert last(done.stdout.decode())["failed"] == 0
    assert grew >= 3, "most kills came too early or too late: they show nothing"
    assert sound(out) == ITEMS // 2 + 1
    assert len(list((out / "nar").iterdir())) == ITEMS // 2 + 1


def test_a_full_disk_is_said_and_can_be_gone_on_from(narbor: Program, tmp_path: Path) -> None:
    """No file can grow over 128 KiB: the same answer of the system as that of a full disk."""
    small, large = cache.fill(tmp_path / "cache", 2, 1000), tmp_path / "large"
    paths = cache.fill(large, 3, 300_000)
    key = ("--trust", str(cache.KEY.public))
    for folder, path in ((tmp_path / "cache", small[0]), (large, paths[-1])):
        assert narbor("mirror", f"file://{folder}", str(path), *key).returncode == 0
    out = tmp_path / "out"
    limited = f"ulimit -f 256; exec {shlex.join(words(out))}"
    done = subprocess.run(
        ["sh", "-c", limited], env=narbor.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(f"narbor: cannot write {out}/")
    assert "File too large" in done.stderr
    closed(out)
    assert narbor("export", str(out)).returncode == 0
    assert sound(out) == 3
    assert [path.name for path in (out / ".narbor").iterdir()] == ["lock"]
