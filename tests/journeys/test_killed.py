"""The mirror is killed, again and again, at random moments: what is listed is always whole."""

import signal
import subprocess
import sysconfig
from hashlib import sha256
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


def test_killed_at_random_moments(tmp_path: Path) -> None:
    paths = fill(tmp_path / "cache", 150, 150_000)
    luck = Random(20)
    homes = killed = grew = 0
    while killed < KILLS:
        homes += 1
        home = tmp_path / f"home-{homes}"
        argv: list[str | Path] = [
            NARBOR, "--home", home, "--no-progress", "mirror", f"file://{tmp_path}/cache",
            str(paths[-1]), "--trust", str(KEY.public), "--min-free", "0", "--rate", "40",
        ]  # fmt: skip
        before = 0
        while True:
            with subprocess.Popen(argv, stderr=subprocess.PIPE) as run:
                try:
                    _, said = run.communicate(timeout=luck.uniform(0.3, 1.1))
                except subprocess.TimeoutExpired:
                    run.kill()
                    _, said = run.communicate()
            if run.returncode != -signal.SIGKILL:
                break
            killed += 1
            here = listed_and_whole(home) if (home / "catalogue.sqlite").exists() else 0
            assert here >= before, "what was listed stays listed"
            grew += before < here < len(paths)
            before = here
        assert run.returncode == 0, said.decode()
        assert listed_and_whole(home) == len(paths)
    assert grew >= 5, "most kills came before anything was listed: they show nothing"
