"""The mirror is killed, again and again, at random moments: what is listed is always whole."""

import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

from narbor import config, wiring
from narbor.names.storepath import StorePath
from tests.library.cache import KEY, fill

KILLS = 50
ITEMS = 600
NARBOR = Path(sysconfig.get_path("scripts"), "narbor")


def listed_and_whole(home: Path) -> int:
    """Return how many items are listed; each must rebuild to its NarHash."""
    library = wiring.open_library(config.load(home), write=True)
    try:
        count = 0
        for item in library.items():
            assert sha256(b"".join(library.archive(item))).digest() == item.seal.digest.value
            count += 1
    finally:
        library.close()
    return count


def killed_after(argv: Sequence[str | Path], lines: int, seconds: float) -> int:
    """Kill a run once it has told of so many events, and a little later; return how it ended."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        if len(list(islice(run.stdout, lines))) == lines:
            time.sleep(seconds)
            run.kill()
        run.stdout.read()
    return run.returncode


def moment(luck: Random) -> tuple[int, float]:
    """Choose when to kill: mostly while items come in, now and then while the run begins.

    A run tells of each item once, whether it was there or is new; some moments come too late.
    """
    if luck.random() < 0.2:
        return 0, luck.uniform(0, 1)
    return luck.randint(1, ITEMS * 4 // 3), 0.0


def killed_in_a_row(folder: Path, paths: Sequence[StorePath], kills: int, seed: int) -> int:
    """Kill runs at random moments, `kills` times in all; return how often one had listed more."""
    luck = Random(seed)
    homes = killed = grew = 0
    while killed < kills:
        homes += 1
        home = folder / f"home-{seed}-{homes}"
        argv: list[str | Path] = [
            NARBOR, "--home", home, "--json", "mirror", f"file://{folder}/cache",
            str(paths[-1]), "--trust", str(KEY.public), "--min-free", "0",
        ]  # fmt: skip
        before = 0
        while True:
            code = killed_after(argv, *moment(luck))
            if code != -signal.SIGKILL:
                break
            killed += 1
            here = listed_and_whole(home) if (home / "catalogue.sqlite").exists() else 0
            assert here >= before, "what was listed stays listed"
            grew += before < here < len(paths)
            before = here
        assert code == 0
        assert listed_and_whole(home) == len(paths)
        shutil.rmtree(home)
    return grew


def test_killed_at_random_moments(tmp_path: Path) -> None:
    paths = fill(tmp_path / "cache", ITEMS, 2_000)
    with ThreadPoolExecutor(2) as pool:
        rows = [pool.submit(killed_in_a_row, tmp_path, paths, KILLS // 2, seed) for seed in (1, 2)]
        grew = sum(row.result() for row in rows)
    assert grew >= 5, "most kills came before anything was listed: they show nothing"
