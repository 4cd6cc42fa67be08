"""An update through `narbor agent`, in bytes that pass the wire, against stock Nix.

Inputs: the Debian world of tests/world, two generations of 130 items of which 119 are other items
in the second, though next to nothing but references differs; and the real update of
bench/updates.py. Both states are mirrored by `narbor mirror` and served by `narbor serve`. A
machine with Nix 2.34 has the first and takes the second:
straight from the server (NARs in zstd), and through an agent. All bytes between the server and
whoever asks it are counted in both directions, heads and narinfos too (bench/counted.py).

    PYTHONPATH=. python -m bench.agent        prints the rows
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import updates
from bench.counted import Counted
from bench.measure import Row
from tests.peers import servers, suite
from tests.world import world as worlds
from tests.world.world import World

NIX: Final = "nix 2.34"
REBUILT: Final = 1.0  # percent
UPDATED: Final = 10.0


def rows(folder: Path) -> Iterator[Row]:
    """Measure in `folder`."""
    yield from _rows(worlds.prepare(), folder / "rebuilt", "a rebuild", REBUILT)
    update = updates.prepare()
    ends = ({"world": update.before}, {"world": update.after})
    world = World(update.folder, update.public_key, ends)
    yield from _rows(world, folder / "updated", "a real update", UPDATED)


def _rows(world: World, folder: Path, what: str, bar: float) -> Iterator[Row]:
    folder.mkdir()
    narbor = servers.Narbor(folder / "home")
    for generation in world.generations:
        source = str(world.cache("zstd"))
        narbor.run("mirror", source, generation["world"], "--trust", world.public_key)
    old, new = (generation["world"] for generation in world.generations)
    with narbor.server() as server, Counted(server.port) as line:
        stock = _machine(world, folder / "stock")
        stock.run("nix", "copy", "--from", line.url, old)
        line.taken()
        stock.run("nix", "copy", "--from", line.url, new)
        plain = line.taken()
        for whence, seeded in (("the local store", True), ("its own store alone", False)):
            moved = _updated(world, folder / f"seeded-{seeded}", line, (old, new), seeded)
            share = 100 * moved / plain
            yield Row(
                f"bytes of {what} through the agent, out of {whence}",
                f"{moved / 1e3:,.0f} kB",
                f"nix copy, zstd: {plain / 1e6:,.1f} MB",
                share,
                f"<= {bar:g} %",
                bar / share,
            )


def _updated(
    world: World, folder: Path, line: Counted, paths: tuple[str, str], seeded: bool
) -> int:
    """Install and update a machine through an agent; return the bytes of the update."""
    machine = _machine(world, folder / "machine")
    seeds = machine.state / "nix" / "store" if seeded else folder / "nothing"
    with _agent(world, folder / "home", line.url, seeds) as agent:
        machine.run("nix", "copy", "--from", agent.url, paths[0])
        line.taken()
        machine.run("nix", "copy", "--from", agent.url, paths[1])
        moved = line.taken()
    machine.run("nix", "store", "verify", "--recursive", "--sigs-needed", "1", paths[1])
    shutil.rmtree(folder, ignore_errors=True)
    return moved


def _machine(world: World, state: Path) -> suite.Machine:
    machine = suite.Machine(suite.need(NIX), state, {})
    machine.configure(trusted_public_keys=world.public_key, require_sigs="true")
    return machine


@contextmanager
def _agent(world: World, home: Path, upstream: str, seeds: Path) -> Iterator[servers.Server]:
    home.mkdir(parents=True)
    port = servers.free_port()
    words = ("--upstream", upstream, "--trust", world.public_key, "--seed-store", str(seeds))
    argv = (*servers.Narbor(home).program(), "agent", "--listen", f"127.0.0.1:{port}", *words)
    with servers.Server(argv, port, home.with_suffix(".log")) as running:
        yield running


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as made:
        for row in rows(Path(made)):
            sys.stdout.write(f"{row}\n")
