"""A release planned from a large evaluation, and written into the catalogue.

Input: a made-up Hydra (tests/fakes/hydra.py, in a process of its own) with an evaluation of 100,000
builds, made up like one of nixpkgs: four systems, a third failed, a fifth with a second output, and
pairs with the same outputs, so that there are 45,000 store paths. The time is that of the planning
process alone, from its start to its end: asking over a socket, reading 70 MB of JSON, sorting, and
writing the release, its paths and its packages into a catalogue on disk. Then the same for the
release that follows it, of which a twentieth is new.
The bar: 60 s and 500 MB.

    python -m bench.plan [BUILDS]
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from bench import child
from bench.measure import Row, at_most
from tests.fakes.hydra import FakeHydra
from tests.fakes.hydra_tables import git, path_of

from narbor.catalogue import Catalogue
from narbor.net.http import Http
from narbor.net.wire import Options
from narbor.tasks.release import plan
from narbor.tasks.release.plan import Followed
from narbor.tasks.release.wants import usual
from narbor.upstream.hydra import Hydra

BUILDS = 100_000
SYSTEMS = ("x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin")
CHANNEL = "nixpkgs-unstable"
FOLLOWED = Followed(CHANNEL, "nixpkgs", "trunk", "unstable", usual(CHANNEL))
SECONDS, MEGABYTES = 60, 500


def fill(hydra: FakeHydra, count: int, generation: int) -> None:
    """Add an evaluation of `count` builds; a twentieth differs from those of generation 0."""
    made = hydra.evaluate("nixpkgs", "trunk", nixpkgs=git(f"{generation:040x}"))
    name = f"nixpkgs-25.11pre{800_000 + generation}.0123456789ab"
    tarball = hydra.build(made, "tarball", nixname=f"{name}-tarball")
    tarball.offer("file", "source-dist", f"{name}.tar.xz", b"expressions")
    tarball.offer("file", "json-br", "packages.json.br", b"packages")
    hydra.build(made, "unstable", nixname=name)
    for number in range(count - 2):
        system = SYSTEMS[number % 4]
        # Many packages are the same for two systems, such as sources and fonts.
        same = number - number % 2
        seed = generation if number // 2 % 20 == 0 else 0
        outputs = ("out", "dev") if number % 5 == 0 else ("out",)
        build = hydra.package(
            made,
            f"set{number % 97}Packages.package-{number}.{system}",
            nixname=f"package-{same}-1.{seed}",
            system=system,
            outputs=outputs,
            buildstatus=0 if number % 64 < 41 else 1 + number % 2,
        )
        paths = {each: path_of(f"package-{same}-1.{seed}-{each}") for each in outputs}
        build.outputs = {**build.outputs, **paths}
        for product in build.products.values():
            product.path = build.outputs["out"]


def serve(count: int) -> None:
    """Serve two evaluations until standard input ends; a line on it adds the second."""
    with FakeHydra() as hydra:
        fill(hydra, count, 0)
        print(hydra.url, flush=True)
        for generation, _ in enumerate(sys.stdin, 1):
            fill(hydra, count, generation)
            print("more", flush=True)


def work(url: str, catalogue: Path) -> None:
    """Plan the newest release, and record it."""
    http = Http(Options(read=120.0))
    hydra = Hydra(url, http)
    store = Catalogue.open(catalogue)
    began = perf_counter()
    candidate = plan.find(FOLLOWED, hydra)
    if candidate is None or not plan.due(FOLLOWED, candidate, store):
        raise SystemExit("there is nothing to plan")
    made = plan.plan(FOLLOWED, candidate, hydra)
    planned = perf_counter() - began
    plan.record(made, store, 1)
    store.publish_release(CHANNEL, made.name.text, 1)
    store.advance(CHANNEL, made.name.text, 1)
    recorded = perf_counter() - began - planned
    store.close()
    http.close()
    print(
        f"{len(made.paths):,} paths, {len(made.packages):,} packages, "
        f"{made.left_out.failed:,} failed; planned in {planned:.1f} s, recorded in {recorded:.1f} s"
    )


@contextmanager
def farm(count: int) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A Hydra in a process of its own: its address, and the process."""
    argv = [sys.executable, "-m", "bench.plan", "--serve", str(count)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise SystemExit("the made-up Hydra cannot be spoken to")
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.stdin.close()


def rows(folder: Path, count: int = BUILDS) -> Iterator[Row]:
    """Plan two releases that follow each other; give time and memory of each, and searching."""
    catalogue = folder / "catalogue.sqlite"
    with farm(count) as (url, process):
        for what in ("a release", "the next release"):
            argv = [sys.executable, "-m", "bench.plan", "--plan", url, str(catalogue)]
            ran = child.run(argv, folder / "child")
            if ran.code:
                raise SystemExit(ran.err)
            print(f"   {what}: {ran.out.strip()}; {catalogue.stat().st_size / 1e6:.0f} MB in all")
            work = f"plan {what} of {count:,} builds"
            yield at_most(f"{work}, time", f"{ran.seconds:.1f} s", ran.seconds, SECONDS, "s")
            peak = ran.peak / 1e6
            yield at_most(f"{work}, memory", f"{peak:.0f} MB", peak, MEGABYTES, "MB")
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write("\n")
                process.stdin.flush()
                process.stdout.readline()
    store = Catalogue.open(catalogue, write=False)
    began = perf_counter()
    found = store.search(["package-77"], CHANNEL)
    seconds = perf_counter() - began
    store.close()
    text = f"{seconds * 1000:.0f} ms ({len(found)} shown)"
    yield at_most(f"search {count:,} packages", text, seconds, 1, "s")


def main(count: int = BUILDS) -> None:
    """Measure in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as folder:
        for row in rows(Path(folder), count):
            print(row)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--serve", number]:
            serve(int(number))
        case ["--plan", url, catalogue]:
            work(url, Path(catalogue))
        case ["--help" | "-h"]:
            print(__doc__)
        case [number]:
            main(int(number))
        case _:
            main()
