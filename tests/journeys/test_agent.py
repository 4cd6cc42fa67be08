"""Real Nix behind an agent: install, update from its own store, upstreams that die, offline."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.conftest import Mirrored, NewMachine
from tests.journeys.test_real_nix import _is_whole, _runs
from tests.peers import servers
from tests.world.world import World


@contextmanager
def agent(world: World, home: Path, seeds: Path, *upstreams: str) -> Iterator[servers.Server]:
    """Run `narbor agent` with a home of its own, and `seeds` as the client's store."""
    narbor, port = servers.Narbor(home), servers.free_port()
    words = [word for url in upstreams for word in ("--upstream", url)]
    argv = (*narbor.program(), "agent", "--listen", f"127.0.0.1:{port}", *words)
    home.mkdir(parents=True, exist_ok=True)
    more = ("--trust", world.public_key, "--seed-store", str(seeds))
    with servers.Server((*argv, *more), port, home.with_suffix(".log")) as running:
        yield running


def _status(home: Path, server: servers.Server) -> dict[str, dict[str, int]]:
    said = servers.Narbor(home).run("--json", "agent", "status", "--listen", server.url[7:])
    found: dict[str, dict[str, int]] = json.loads(said)
    return found


def test_an_update_fetches_next_to_nothing(
    world: World, server: servers.Server, new_machine: NewMachine, tmp_path: Path
) -> None:
    old, new = (generation["world"] for generation in world.generations)
    home = tmp_path / "agent"
    machine = new_machine()
    with agent(world, home, machine.state / "nix" / "store", server.url) as local:
        machine.configure(
            trusted_public_keys=world.public_key, require_sigs="true", substituters=local.url
        )
        machine.run("nix-store", "--realise", old)
        _is_whole(machine, world, old)
        before = _status(home, local)
        assert before["sums"]["blocks_items"] == len(world.closure(old))
        machine.run("nix-store", "--realise", new)
        _is_whole(machine, world, new)
        _runs(machine, new)
        after = _status(home, local)
        fetched = int(str(after["fetched"])) - int(str(before["fetched"]))
        plain = after["sums"]["plain"] - before["sums"]["plain"]
        assert fetched <= plain / 100
        assert after["sums"]["seed_items"] > 100


def test_what_was_fetched_once_is_there_offline(
    world: World, mirrored: Mirrored, new_machine: NewMachine, tmp_path: Path
) -> None:
    path = world.generations[0]["git"]
    home, nothing = tmp_path / "agent", tmp_path / "nothing"
    first, second = new_machine("first"), new_machine("second")
    with mirrored.narbor.server() as upstream, agent(world, home, nothing, upstream.url) as local:
        first.run("nix", "copy", "--from", local.url, path)
        upstream.kill()
        second.run("nix", "copy", "--from", local.url, path)
        _is_whole(second, world, path)
    with agent(world, home, nothing, "http://127.0.0.1:1") as local:
        third = new_machine("third")
        third.run("nix", "copy", "--from", local.url, path)
        _is_whole(third, world, path)


@pytest.mark.parametrize("dead", ["http://127.0.0.1:1"])
def test_with_a_dead_upstream_nix_goes_on_with_its_next(
    world: World, server: servers.Server, new_machine: NewMachine, tmp_path: Path, dead: str
) -> None:
    path = world.generations[0]["jq"]
    with agent(world, tmp_path / "agent", tmp_path / "nothing", dead) as local:
        machine = new_machine(substituters=f"{local.url} {server.url}", max_jobs="0")
        machine.run("nix-store", "--realise", path)
        _is_whole(machine, world, path)


def test_a_plain_cache_does_as_well(
    world: World, upstream: servers.Server, new_machine: NewMachine, tmp_path: Path
) -> None:
    path = world.generations[0]["world"]
    home = tmp_path / "agent"
    with agent(world, home, tmp_path / "nothing", f"{upstream.url}/zstd") as local:
        machine = new_machine()
        machine.run("nix", "copy", "--from", local.url, path)
        _is_whole(machine, world, path)
        assert _status(home, local)["sums"]["nar_items"] == len(world.closure(path))
