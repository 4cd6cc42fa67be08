"""A world of `.nar.xz` mirrored, against xz alone: two `xz -dc` at once over the same files.

Input: the first generation of the Debian world (tests/world), each NAR packed anew by `xz -3`, in a
folder that is mirrored by `narbor mirror file:///...`.

    python -m bench.unpack
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

from bench import child
from bench.measure import Row, at_least, rate
from tests.world import world
from tests.world.world import World

from narbor.formats import narinfo, streams

RUNS = 3


def repack(made: World, paths: Iterable[str], folder: Path) -> None:
    """Write some of the world's items as a cache of xz."""
    source = made.cache("zstd")
    (folder / "nar").mkdir(parents=True)
    shutil.copy(source / "nix-cache-info", folder)

    def one(path: str) -> None:
        name = f"{path.rsplit('/', 1)[1][:32]}.narinfo"
        claim = narinfo.parse((source / name).read_bytes())
        url = f"nar/{claim.path.hash_part}.nar.xz"
        packed = [(source / claim.url).read_bytes()]
        data = b"".join(streams.decompress(packed, claim.compression, claim.seal.size))
        with (folder / url).open("wb") as file:
            subprocess.run(["xz", "-3", "-T1"], input=data, stdout=file, check=True)
        said = replace(claim, url=url, compression="xz", file_hash=None, file_size=None)
        (folder / name).write_bytes(narinfo.write(said))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, paths))


def unpacked(files: Sequence[Path]) -> float:
    """Return the seconds that `xz -dc` takes for some files, in one process."""
    begun = perf_counter()
    subprocess.run(["xz", "-dc", *map(str, files)], stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - begun


def two_at_once(files: Sequence[Path]) -> float:
    """Return the seconds that two processes take which share the files, evenly by size."""
    halves: tuple[list[Path], list[Path]] = ([], [])
    weights = [0, 0]
    for file in sorted(files, key=lambda file: -file.stat().st_size):
        lighter = weights.index(min(weights))
        halves[lighter].append(file)
        weights[lighter] += file.stat().st_size
    begun = perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(unpacked, halves))
    return perf_counter() - begun


def mirrored(cache: Path, top: str, scratch: Path, *more: str) -> float:
    """Return the seconds of a run of the program, less those of one for the smallest item."""
    shutil.rmtree(scratch, ignore_errors=True)
    words = ("--no-progress", "mirror", f"file://{cache}?trusted=1")
    smallest = min(cache.glob("nar/*"), key=lambda file: file.stat().st_size)
    hash_part = smallest.name.partition(".")[0]
    start = child.narbor(scratch / "idle", *words, hash_part, "--no-closure")
    ran = child.narbor(scratch / "home", *words, top, *more)
    assert start.code == ran.code == 0, start.err + ran.err
    print(f"start {start.seconds:.2f} s, all {ran.seconds:.2f} s, cpu {ran.cpu:.2f} s")
    return ran.seconds - start.seconds


def rows(made: World, folder: Path) -> Iterator[Row]:
    """Measure many, and the largest alone; ours and xz take turns."""
    cache = folder / "cache"
    top = made.generations[0]["world"]
    sizes = made.closure(top)
    size = sum(sizes.values())
    repack(made, sizes, cache)
    files = sorted((cache / "nar").iterdir())
    turns = [(mirrored(cache, top, folder / "run"), two_at_once(files)) for _ in range(RUNS)]
    took, alone = median(a for a, _ in turns), median(b for _, b in turns)
    yield at_least(
        f"admit from .nar.xz, {len(files)} items, through `narbor mirror`",
        rate(size, took), rate(size, alone), median(b / a for a, b in turns), 0.65,
        "two `xz -dc` at once",
    )  # fmt: skip
    big = max(files, key=lambda file: file.stat().st_size)
    name, size = next(each for each in sizes.items() if big.name.startswith(each[0][11:43]))
    turns = [
        (mirrored(cache, name, folder / "run", "--no-closure"), unpacked([big]))
        for _ in range(RUNS)
    ]
    took, alone = median(a for a, _ in turns), median(b for _, b in turns)
    yield at_least(
        f"admit from .nar.xz, one item of {size / 1e6:.0f} MB, through `narbor mirror`",
        rate(size, took), rate(size, alone), median(b / a for a, b in turns), 0.9, "`xz -dc`",
    )  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as made_in:
        for row in rows(world.prepare(), Path(made_in)):
            print(row, flush=True)
