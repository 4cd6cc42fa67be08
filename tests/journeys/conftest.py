"""What the journeys start from: a world, a mirror of it, and fresh machines with a real Nix."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import registry, servers, suite
from tests.world import world as worlds

NewMachine = Callable[..., suite.Machine]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A narbor that has mirrored both generations, and its bytes at rest after each."""

    narbor: servers.Narbor
    at_rest: tuple[int, ...]


@pytest.fixture(scope="session")
def world() -> worlds.World:
    """Give the world; without root and Debian's packages there is none."""
    return worlds.prepare()


@pytest.fixture(scope="session")
def upstream(
    world: worlds.World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.Server]:
    """Serve the caches of the world with the real nginx."""
    with servers.nginx(world.folder, tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def mirrored(
    world: worlds.World, upstream: servers.Server, tmp_path_factory: pytest.TempPathFactory
) -> Mirrored:
    """Mirror the first generation over HTTP and the second from a folder."""
    narbor = servers.Narbor(tmp_path_factory.mktemp("mirror") / "home")
    sources = (f"{upstream.url}/zstd", f"file://{world.cache('zstd')}")
    at_rest = []
    for source, generation in zip(sources, world.generations, strict=True):
        narbor.run("mirror", source, generation["world"], "--trust", world.public_key)
        at_rest.append(_at_rest(narbor.home))
    return Mirrored(narbor, tuple(at_rest))


@pytest.fixture(scope="session")
def server(mirrored: Mirrored) -> Iterator[servers.Server]:
    """Serve the mirror."""
    with mirrored.narbor.server() as running:
        yield running


@pytest.fixture(params=list(suite.SUITES))
def new_machine(request: pytest.FixtureRequest, world: worlds.World, tmp_path: Path) -> NewMachine:
    """Make machines with nothing but one real Nix, which trusts the key of the world."""
    name: str = request.param
    root = suite.need(name)

    def make(state: str = "machine", **settings: str) -> suite.Machine:
        shared = {world.folder / "source": "/world"}
        machine = suite.Machine(root, tmp_path / state, shared)
        trusted = {"trusted_public_keys": world.public_key, "require_sigs": "true"}
        machine.configure(**{**trusted, **settings})
        registry.ran(name, machine.nix_version())
        return machine

    return make


def _at_rest(home: Path) -> int:
    """Add up the sizes of all files, after SQLite has emptied its log files."""
    for file in home.rglob("*"):
        if file.is_file() and _is_database(file):
            with closing(sqlite3.connect(file)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return sum(file.stat().st_size for file in home.rglob("*") if file.is_file())


def _is_database(file: Path) -> bool:
    """Tell an SQLite database by its first bytes."""
    with file.open("rb") as content:
        return content.read(16) == b"SQLite format 3\0"
