"""Make the world once, keep it, and say what is in it.

The packages come from the suite of Nix 2.8 and are built by Nix 2.34, in two generations: the
second differs from the first in the version of one package at the bottom, so that nearly all
items get other names while their contents change only in references. The items are copied by Nix
into signed caches: all of them compressed with zstd, a few with xz, a few not at all.
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers import registry, suite
from tests.world import debian, expression

ROOTS = ("git", "htop", "curl", "jq", "python3", "vim", "tmux", "rsync", "gnupg", "openssh-client")
BOTTOM = "gcc-12-base"
GENERATIONS = ("1", "2")
SOURCE_OF, BUILDER = "nix 2.8", "nix 2.34"
INSIDE = "/world"  # where the world's folder is seen inside a suite
_FEW_XZ, _FEW_NONE = "jq", "htop"
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class World:
    """A finished world in `folder`: caches `zstd`, `xz` and `none`, and the `source` to build.

    `generations` maps names of packages (and `world`, which refers to all) to store paths.
    """

    folder: Path
    public_key: str
    generations: tuple[dict[str, str], ...]

    def cache(self, compression: str) -> Path:
        """Give the folder of the binary cache whose NARs are compressed so."""
        return self.folder / compression

    def closure(self, path: str) -> dict[str, int]:
        """Map every store path that `path` needs to its NarSize, as the cache `zstd` says."""
        found: dict[str, int] = {}
        waiting = [path.rsplit("/", 1)[1]]
        while waiting:
            base = waiting.pop()
            if base not in found:
                fields = self._narinfo(base)
                found[base] = int(fields["NarSize"])
                waiting.extend(fields["References"].split())
        return {f"/nix/store/{base}": size for base, size in found.items()}

    def _narinfo(self, base: str) -> dict[str, str]:
        """Read the fields of one narinfo in the cache `zstd`."""
        text = (self.cache("zstd") / f"{base[:32]}.narinfo").read_text("utf-8")
        return dict(line.split(": ", 1) for line in text.splitlines())


def prepare() -> World:
    """Give the world, made now if it was not made before; skips the test where it cannot be."""
    origin, builder = suite.need(SOURCE_OF), suite.need(BUILDER)
    folder = registry.folder() / f"world-{_key()}"
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            making = folder.with_suffix(".part")
            shutil.rmtree(making, ignore_errors=True)
            _fetch(suite.Machine(origin, making / "fetch", {making: INSIDE}), making / "source")
            _build(suite.Machine(builder, making / "build", {making: INSIDE}), making)
            shutil.rmtree(making / "fetch")
            shutil.rmtree(making / "build")
            making.rename(folder)
    generations = tuple(json.loads((folder / "generations.json").read_text("utf-8")))
    return World(folder, (folder / "key.pub").read_text("utf-8"), generations)


def _key() -> str:
    """Make the key that changes when the recipe does."""
    recipe = hashlib.sha256()
    for file in sorted(_HERE.iterdir()):
        if file.suffix in {".py", ".sh"} and not file.name.startswith("test_"):
            recipe.update(file.read_bytes())
    return recipe.hexdigest()[:12]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other runs out meanwhile."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(machine: suite.Machine, source: Path) -> None:
    """Download the packages into `source`, and write the expression and its builders there."""
    (source / "debs").mkdir(parents=True)
    packages = list(debian.read(machine.run("apt-cache", "dumpavail")))
    needs = debian.closure(packages, ROOTS)
    versions = {package.name: package.version for package in packages}
    fetch = f'cd {INSIDE}/source/debs && exec apt-get -q -o APT::Sandbox::User=root download "$@"'
    machine.run("sh", "-c", fetch, "fetch", *needs)
    for file in (source / "debs").iterdir():
        # apt writes the version's colon as %3a, and Nix takes no such name.
        file.rename(file.with_name(f"{file.name.split('_')[0]}.deb"))
    (source / "world.nix").write_text(expression.write(needs, versions, BOTTOM), "utf-8")
    for builder in ("package.sh", "profile.sh"):
        shutil.copy(_HERE / builder, source / builder)


def _build(machine: suite.Machine, folder: Path) -> None:
    """Build both generations and copy them into signed caches."""
    machine.configure()
    key = (f"{INSIDE}/key.sec", f"{INSIDE}/key.pub")
    machine.run("nix-store", "--generate-binary-cache-key", "narbor-world-1", *key)
    generations = []
    for generation in GENERATIONS:
        tree = f'import {INSIDE}/source/world.nix {{ generation = "{generation}"; }}'
        machine.run("nix-build", "--no-out-link", "-j2", "-E", tree, "-A", "world")
        names = f'builtins.mapAttrs (name: item: "${{item}}") ({tree})'
        paths = json.loads(
            machine.run("nix-instantiate", "--eval", "--strict", "--json", "-E", names)
        )
        _copy(machine, "zstd", paths["world"])
        _copy(machine, "xz", paths[_FEW_XZ])
        _copy(machine, "none", paths[_FEW_NONE])
        generations.append(paths)
    (folder / "generations.json").write_text(json.dumps(generations, indent=1), "utf-8")


def _copy(machine: suite.Machine, compression: str, path: str) -> None:
    """Copy the closure of `path` into the cache of that compression, signed."""
    options = f"compression={compression}&secret-key={INSIDE}/key.sec"
    machine.run("nix", "copy", "--to", f"file://{INSIDE}/{compression}?{options}", path)
