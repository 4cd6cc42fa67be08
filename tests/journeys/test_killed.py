"""The mirror is killed, again and again, at random moments: what is listed is always whole."""

import signal
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

from narbor import config, wiring
from tests.library.cache import KEY, fill

KILLS = 50
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


def test_killed_at_random_moments(tmp_path: Path) -> None:
    paths = fill(tmp_path / "cache", 1200, 6_000)
    luck = Random(20)
    homes = killed = grew = 0
    while killed < KILLS:
        homes += 1
        home = tmp_path / f"home-{homes}"
        argv: list[str | Path] = [
            NARBOR, "--home", home, "--json", "mirror", f"file://{tmp_path}/cache",
            str(paths[-1]), "--trust", str(KEY.public), "--min-free", "0",
        ]  # fmt: skip
        before = 0
        while True:
            code = killed_after(argv, luck.randint(800, 4500), luck.uniform(0, 0.02))
            if code != -signal.SIGKILL:
                break
            killed += 1
            here = listed_and_whole(home) if (home / "catalogue.sqlite").exists() else 0
            assert here >= before, "what was listed stays listed"
            grew += before < here < len(paths)
            before = here
        assert code == 0
        assert listed_and_whole(home) == len(paths)
    assert grew >= 5, "most kills came before anything was listed: they show nothing"
