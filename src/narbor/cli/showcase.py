"""The channel of the demo: each generation of the farm is a release with expressions of its own."""

import json
import time
from collections.abc import Iterator, Sequence
from hashlib import sha1

from narbor.catalogue import Package
from narbor.formats import expressions, packing
from narbor.formats.hydra import Evaluation
from narbor.library import Library
from narbor.library.admission import Keep
from narbor.names import release
from narbor.names.file import File
from narbor.tasks.farm import Product
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.release import make
from narbor.tasks.release.make import Terms
from narbor.tasks.release.plan import Candidate, Followed, LeftOut, Plan
from narbor.tasks.release.stage import Circumstances, Unfit
from narbor.tasks.release.wants import EXPRESSIONS

CHANNEL = "demo"
SYSTEM = "x86_64-linux"


class Showcase:
    """Where the releases of the demo come from (tasks/release/origin.py): one generation."""

    def __init__(self, number: int, products: Sequence[Product], address: str) -> None:
        self._number = number
        self._products = products
        self._address = address

    @property
    def name(self) -> str:
        """The farm's address."""
        return self._address

    def find(self) -> Candidate:
        """Return the generation."""
        name = release.parse(f"{CHANNEL}-{self._number}")
        return Candidate(name, Evaluation(self._number, int(time.time()), None, {}, None))

    def missed(self, since: int) -> Iterator[Candidate]:
        """Give nothing: there is one generation at a time."""
        return iter(())

    def plan(self, candidate: Candidate) -> Plan:
        """Return a release of all items."""
        paths = sorted((product.path for product in self._products), key=lambda path: path.base)
        packages = (
            Package(path.name, SYSTEM, path.name, (("out", path.base),), "of this machine")
            for path in paths
        )
        return Plan(
            channel=CHANNEL,
            name=candidate.name,
            evaluation=self._number,
            source=self._address,
            revision=sha1(b"".join(str(path).encode() for path in paths)).hexdigest(),
            files=(),
            absent=(),
            paths=tuple(paths),
            packages=tuple(packages),
            left_out=LeftOut(),
        )

    def notes(self) -> tuple[str, ...]:
        """Tell nothing."""
        return ()

    def offered(self, plan: Plan) -> tuple[str, ...]:
        """Return the one file that is made."""
        return (EXPRESSIONS,)

    def files(
        self, library: Library, plan: Plan, at: Circumstances, keep: Keep
    ) -> Iterator[File | Unfit]:
        """Write the expressions: the store path of each item by its name."""
        # A name or path has no `$` in it, so JSON's strings are Nix's.
        lines = "".join(
            f"  {json.dumps(path.name)} = {json.dumps(str(path))};\n" for path in plan.paths
        )
        text = f"{{ ... }}:\n{{\n{lines}}}\n".encode()
        tar = expressions.write(plan.name.text, {"default.nix": text}, at.made)
        yield File(EXPRESSIONS, *keep(packing.xz(tar)), at.made)


def publish(
    library: Library, upstream: Upstream, number: int, products: Sequence[Product], address: str
) -> None:
    """Make the release of a generation; raises what making one raises."""
    terms = Terms(Followed(CHANNEL, "", "", None, ()), address, lambda paths: 0, programs=True)
    origin = Showcase(number, products, address)
    for _ in make.make(terms, origin, library, [upstream], lambda: int(time.time())):
        pass
