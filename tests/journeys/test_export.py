"""A folder that narbor exported, carried by nginx, rsync and file://, and taken by real Nix."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.journeys.conftest import Mirrored, NewMachine
from tests.peers import registry, servers, suite
from tests.tasks.exported import closed, sound
from tests.world.world import World


@pytest.fixture(scope="session")
def exported(mirrored: Mirrored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export both generations."""
    folder = tmp_path_factory.mktemp("export") / "cache"
    mirrored.narbor.run("export", str(folder))
    return folder


def rsync(*words: str | Path) -> str:
    """Run the real rsync and give what it says that it changed."""
    program = shutil.which("rsync")
    if program is None:
        reason = registry.not_installed().get("rsync", "it is not on the PATH")
        registry.missing("rsync", reason)
        pytest.skip(f"rsync: {reason}")
    said = subprocess.run((program, "--version"), capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d[\d.]+", said)
    registry.ran("rsync", version[0] if version else "?")
    argv = (program, "--itemize-changes", *map(str, words))
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def is_whole(machine: suite.Machine, world: World, path: str) -> None:
    """Check a closure in the machine's store: all of it, with contents and signatures."""
    listed = machine.run("nix-store", "--query", "--requisites", path).split()
    assert set(listed) == set(world.closure(path))
    machine.run("nix", "store", "verify", "--recursive", "--sigs-needed", "1", path)


def with_folder(machine: suite.Machine, folder: Path) -> suite.Machine:
    """Let a machine see a folder, at /carried."""
    return replace(machine, shared={**machine.shared, folder: "/carried"})


def test_the_folder_is_sound(world: World, exported: Path) -> None:
    both = {path for each in world.generations for path in world.closure(each["world"])}
    assert sound(exported) == len(both)


def test_nix_copies_from_the_folder(world: World, exported: Path, new_machine: NewMachine) -> None:
    machine = with_folder(new_machine(), exported)
    path = world.generations[1]["world"]
    machine.run("nix", "copy", "--from", "file:///carried", path)
    is_whole(machine, world, path)
    assert machine.run(f"{path}/bin/git", "--version").startswith("git version 2.")


def test_nix_builds_from_nginx_with_what_rsync_carried(
    world: World, exported: Path, new_machine: NewMachine, tmp_path: Path
) -> None:
    carried = tmp_path / "carried"
    rsync("--archive", "--exclude=.narbor", f"{exported}/", carried)
    path = world.generations[0]["world"]
    with servers.nginx(carried, tmp_path / "nginx") as server:
        machine = new_machine(substituters=server.url, max_jobs="0")
        source = ("/world/world.nix", "--argstr", "generation", "1")
        machine.run("nix-build", *source, "--no-out-link", "-A", "world")
    is_whole(machine, world, path)
    assert machine.run(f"{path}/bin/jq", "--null-input", "6*7").strip() == "42"


def files(said: str) -> set[str]:
    """Return the files that rsync says it carried; of folders it may have set the times."""
    return {line.split()[1] for line in said.splitlines() if line.startswith(">f")}


def test_rsync_carries_only_what_is_new(world: World, mirrored: Mirrored, tmp_path: Path) -> None:
    out, carried = tmp_path / "out", tmp_path / "carried"
    words = ("--archive", "--delete", "--exclude=.narbor", f"{out}/", carried)
    narbor = mirrored.narbor
    old, new = world.generations[0]["jq"], world.generations[1]["jq"]
    narbor.run("export", str(out), old)
    rsync(*words)
    narbor.run("export", str(out), old)
    assert files(rsync(*words)) <= {"lastsync"}
    narbor.run("export", str(out), old, new, "--delete")
    changed = files(rsync(*words))
    fresh = set(world.closure(new)) - set(world.closure(old))
    narinfos = {f"{Path(path).name[:32]}.narinfo" for path in fresh}
    assert {name for name in changed if name.endswith(".narinfo")} == narinfos
    assert len([name for name in changed if name.startswith("nar/")]) <= len(narinfos)
    narbor.run("export", str(out), new, "--delete")
    rsync(*words)
    assert sound(carried) == len(world.closure(new))


@pytest.mark.parametrize("compression", ["xz", "none"])
def test_nix_reads_every_form(
    world: World,
    mirrored: Mirrored,
    new_machine: NewMachine,
    tmp_path: Path,
    compression: str,
) -> None:
    out, path = tmp_path / "out", world.generations[1]["jq"]
    mirrored.narbor.run("export", str(out), path, "--compression", compression)
    assert closed(out) == len(world.closure(path))
    machine = with_folder(new_machine(), out)
    machine.run("nix", "copy", "--from", "file:///carried", path)
    is_whole(machine, world, path)


def test_what_nix_wrote_to_a_folder_is_imported_and_exported_again(
    world: World, exported: Path, new_machine: NewMachine, tmp_path: Path
) -> None:
    """Round: narbor's folder, a Nix store, Nix's folder, another narbor, its folder."""
    stick, back = tmp_path / "stick", tmp_path / "back"
    stick.mkdir()
    machine = with_folder(new_machine(), exported)
    path = world.generations[0]["htop"]
    machine.run("nix", "copy", "--from", "file:///carried", path)
    writer = with_folder(machine, stick)
    writer.run("nix", "copy", "--to", "file:///carried", path)
    other = servers.Narbor(tmp_path / "other")
    other.run("import", str(stick), "--trust", world.public_key)
    other.run("export", str(back))
    assert sound(back) == len(world.closure(path))
    fresh = with_folder(new_machine("fresh"), back)
    fresh.run("nix", "copy", "--from", "file:///carried", path)
    is_whole(fresh, world, path)
