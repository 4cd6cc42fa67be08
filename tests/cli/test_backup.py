"""`narbor backup`: copies made while a mirror runs, killed at any moment, and taken as a home."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

from narbor import config, wiring
from tests.cli.program import Farm, Program
from tests.library import cache

ITEMS = 300


def copy_again_and_again(narbor: Program, into: Path, while_: subprocess.Popen[bytes]) -> int:
    """Copy until a process has ended, now and then killed; return how often the copy had grown."""
    luck, grew, before, turn = Random(1), 0, -1, 0
    while while_.poll() is None or turn < 6:
        turn += 1
        words = [sys.executable, "-m", "narbor", "backup", str(into)]
        with subprocess.Popen(
            words, env=narbor.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as run:
            if turn % 3 == 0:
                try:
                    run.wait(luck.uniform(0.3, 0.8))
                except subprocess.TimeoutExpired:
                    run.kill()
            assert run.stderr is not None
            said = run.stderr.read().decode()
        assert run.returncode == 0 or turn % 3 == 0, said
        if (into / "catalogue.sqlite").exists():
            done = Program(into)("--json", "verify")
            assert done.returncode == 0, done.stdout + done.stderr
            items = json.loads(done.stdout.splitlines()[-1])["items"]
            assert items >= before
            grew += items > before
            before = items
    return grew


def test_copies_made_while_a_mirror_runs_rebuild_all_they_list(
    narbor: Program, tmp_path: Path
) -> None:
    paths = cache.fill(tmp_path / "cache", ITEMS, 100_000)
    narbor.home.mkdir()
    wiring.open_library(config.load(narbor.home, None, {}), write=True).close()
    words = ["mirror", f"file://{tmp_path}/cache", str(paths[-1]), "--trust", str(cache.KEY.public)]
    with subprocess.Popen(
        [sys.executable, "-m", "narbor", *words],
        env=narbor.environment(),
        stderr=subprocess.DEVNULL,
    ) as mirror:
        grew = copy_again_and_again(narbor, tmp_path / "copy", mirror)
    assert mirror.returncode == 0
    assert grew >= 2, "all copies were of the same store: they show nothing"
    assert narbor("backup", str(tmp_path / "copy")).returncode == 0
    copy = Program(tmp_path / "copy")
    done = copy("--json", "verify")
    assert json.loads(done.stdout.splitlines()[-1])["items"] == ITEMS
    again = copy(*words)
    assert again.returncode == 0 and "0 items admitted" in again.stderr


def test_a_copy_in_a_place_that_makes_no_sense_is_refused(
    filled: Program, farm: Farm, tmp_path: Path
) -> None:
    for folder in (filled.home, filled.home / "copy", farm.folder):
        done = filled("backup", str(folder))
        assert done.returncode == 2, folder
    assert not (filled.home / "copy").exists()
    nowhere = Program(tmp_path / "nowhere")
    assert nowhere("backup", str(tmp_path / "copy")).returncode == 2
    assert not nowhere.home.exists() and not (tmp_path / "copy").exists()


def test_events_are_told(filled: Program, tmp_path: Path) -> None:
    done = filled("--json", "backup", str(tmp_path / "copy"))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["event"] for each in events] == ["copied", "done"]
    assert events[-1]["items"] == 3
    assert events[-1]["copied"] == events[-1]["packs"] > 0
