"""The real program in a process of its own, in a home of its own, and a small farm to mirror."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from narbor import config, wiring
from narbor.formats import narinfo, streams, vouched
from narbor.names.keys import Keyring, SecretKey
from narbor.tasks import farm
from narbor.tasks.farm import Product
from narbor.tasks.farm.recipes import Pointer, Recipe, Written

RECIPES = (
    Recipe("base-1.0", (("share/state", Written("{note}\n")),), ()),
    Recipe(
        "tool-2.0",
        (
            ("bin/tool", Written("#!{base-1.0}/bin/sh\necho tool\n", executable=True)),
            ("share/empty", Written("")),
            ("share/text", Written("line\n" * 1000)),
        ),
        ("base-1.0",),
    ),
    Recipe("top", (("bin/tool", Pointer("tool-2.0", "bin/tool")),), ("tool-2.0",)),
)


@dataclass(frozen=True, slots=True)
class Program:
    """`narbor` with a home of its own. The environment is clean but for `more`."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment it runs in."""
        kept = {name: value for name, value in os.environ.items() if "NARBOR" not in name}
        return kept | {"HOME": str(self.home.parent), "NARBOR_HOME": str(self.home)} | more

    def __call__(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [sys.executable, "-m", "narbor", *words],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )


@dataclass(frozen=True, slots=True)
class Farm:
    """A binary cache in a folder, with what lies in it by recipe name."""

    folder: Path
    key: SecretKey
    products: dict[str, Product]

    def path(self, name: str) -> str:
        """Return the store path of a recipe."""
        return str(self.products[name].path)


def grow(folder: Path, note: str = "one") -> Farm:
    """Build the small farm."""
    key = SecretKey.generate("farm-1")
    made = farm.build(RECIPES, "/nix/store", note, key, folder)
    return Farm(folder, key, {product.path.name: product for product in made})


def fill(home: Path, farm: Farm) -> None:
    """Put all of a farm into the store of a home, without the network."""
    library = wiring.open_library(config.load(home, None, {}), write=True)
    ring = Keyring((farm.key.public,))
    for product in farm.products.values():
        text = (farm.folder / f"{product.path.hash_part}.narinfo").read_bytes()
        claim = narinfo.parse(text)
        packed = (farm.folder / claim.url).read_bytes()
        chunks = streams.decompress([packed], claim.compression, claim.seal.size)
        library.admit(vouched.vouch(claim, ring), chunks, "file:///farm")
    library.close()
