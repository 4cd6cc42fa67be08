"""A real update as a world: Debian's packages of a point release, and with all that came since.

`before` is built from the main archive of bookworm, `after` from what its security and update
archives have put in its place: new versions of libraries, so that most of what is above them is
built anew as well. Both lie in signed caches, one with zstd and one with xz, as Nix writes them.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.peers import registry, suite
from tests.world import debian, expression, world

_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ARCHIVES: Final = {
    "before": ("debian bookworm",),
    "after": ("debian bookworm", "debian bookworm-updates", "debian-security bookworm-security"),
}
_RECIPES: Final = Path(world.__file__).parent
COMPRESSIONS: Final = ("zstd", "xz")


@dataclass(frozen=True, slots=True)
class Update:
    """Caches `zstd` and `xz` in `folder`, and the store paths of the two worlds."""

    folder: Path
    public_key: str
    before: str
    after: str


def prepare() -> Update:
    """Return the update, built now if it is not kept from before."""
    folder = registry.folder() / "update-1"
    if not folder.is_dir():
        making = folder.with_suffix(".part")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for when in _ARCHIVES:
            _fetch(making, when)
        _build(making)
        shutil.rmtree(making / "build")
        making.rename(folder)
    paths: Mapping[str, str] = json.loads((folder / "worlds.json").read_text("utf-8"))
    return Update(folder, (folder / "key.pub").read_text("utf-8"), paths["before"], paths["after"])


def _fetch(making: Path, when: str) -> None:
    """Download the packages of one time, and write the expression that builds them."""
    machine = suite.Machine(suite.need(world.SOURCE_OF), making / "fetch", {making: world.INSIDE})
    source = making / when
    (source / "debs").mkdir(parents=True)
    lists = making / "fetch" / "tmp" / when
    for inside in ("lists", "cache/archives"):
        (lists / inside / "partial").mkdir(parents=True)
    lines = [
        f"deb [signed-by={_KEYRING}] http://deb.debian.org/{archive} main\n"
        for archive in _ARCHIVES[when]
    ]
    (lists / "sources.list").write_text("".join(lines), "utf-8")
    apt = f"""
        Dir::Etc::SourceList "/tmp/{when}/sources.list"; Dir::Etc::SourceParts "-";
        Dir::State::Lists "/tmp/{when}/lists"; Dir::Cache "/tmp/{when}/cache";
        APT::Sandbox::User "root";
    """
    (lists / "apt.conf").write_text(apt, "utf-8")
    configured = ("env", f"APT_CONFIG=/tmp/{when}/apt.conf")
    machine.run(*configured, "apt-get", "-q", "update")
    packages = list(debian.read(machine.run(*configured, "apt-cache", "dumpavail")))
    needs = debian.closure(packages, world.ROOTS)
    versions = {package.name: package.version for package in packages}
    here = f'cd {world.INSIDE}/{when}/debs && exec apt-get -q download "$@"'
    machine.run(*configured, "sh", "-c", here, "fetch", *needs)
    for file in (source / "debs").iterdir():
        file.rename(file.with_name(f"{file.name.split('_')[0]}.deb"))
    (source / "world.nix").write_text(expression.write(needs, versions, world.BOTTOM), "utf-8")
    for builder in ("package.sh", "profile.sh"):
        shutil.copy(_RECIPES / builder, source / builder)


def _build(making: Path) -> None:
    """Build both and copy them into the caches."""
    machine = suite.Machine(suite.need(world.BUILDER), making / "build", {making: world.INSIDE})
    machine.configure()
    key = (f"{world.INSIDE}/key.sec", f"{world.INSIDE}/key.pub")
    machine.run("nix-store", "--generate-binary-cache-key", "narbor-update-1", *key)
    worlds = {}
    for when in _ARCHIVES:
        tree = f"import {world.INSIDE}/{when}/world.nix {{ }}"
        path = machine.run("nix-build", "--no-out-link", "-j2", "-E", tree, "-A", "world").strip()
        for compression in COMPRESSIONS:
            options = f"compression={compression}&secret-key={world.INSIDE}/key.sec"
            machine.run(
                "nix", "copy", "--to", f"file://{world.INSIDE}/{compression}?{options}", path
            )
        worlds[when] = path
    (making / "worlds.json").write_text(json.dumps(worlds, indent=1), "utf-8")
