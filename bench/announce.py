"""What a router's answer costs, and how many CIDs each setting of `announce` owns up to.

    PYTHONPATH=. python -m bench.announce HOME

HOME is a store in which a cache was mirrored and published; the blocks are counted in its index,
the roots in its catalogue. The same is then scaled to a million leaves, in proportion. The answers
are timed in a store of a million leaves and as many nodes, items and roots as that gives: made
here, without content, since a router reads no block. One process, no network: what one door takes.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Final

from bench.measure import seconds
from tests.catalogue.world import admitted, item
from tests.library.store import opened, read_only

from narbor.blocks.index import Place, key_of
from narbor.doors.http import Request
from narbor.doors.ipfs.routing import RoutingDoor
from narbor.library import Library
from narbor.library.dags import Dags
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.provider import Announce

LEAVES: Final = 1_000_000
ASKED: Final = 2_000
SETTINGS: Final[tuple[Announce, ...]] = ("none", "roots", "entities", "all")
HERE: Final = ("/dns/cache.example/tcp/443/tls/http",)


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in a store. `roots` are distinct, `low` those of them that are leaves."""

    items: int
    leaves: int
    nodes: int
    roots: int
    low: int

    def announced(self, setting: Announce) -> int:
        """Return how many CIDs a router owns up to."""
        entities = self.nodes + self.low
        return {"none": 0, "roots": self.roots, "entities": entities}.get(
            setting, self.leaves + self.nodes
        )

    def scaled(self, leaves: int) -> "Counts":
        """Return a store of so many leaves in the same proportions."""
        by = leaves / self.leaves
        numbers = (self.items, self.nodes, self.roots, self.low)
        items, nodes, roots, low = (round(number * by) for number in numbers)
        return Counts(items, leaves, nodes, roots, low)


def counted(library: Library) -> Counts:
    """Count a store."""
    keys = [key for _, key, _ in library.blocks.index.blocks()]
    leaves = sum(len(key) == 32 for key in keys)
    roots = set(library.catalogue.all_roots())
    low = sum(cid.codec(root) == cid.RAW for root in roots)
    nodes = len(keys) - leaves
    return Counts(library.catalogue.count(), leaves, nodes, len(roots), low)


def filled(library: Library, counts: Counts) -> None:
    """Note the blocks of such a store, without content, and record its items."""
    index = library.blocks.index
    pack = index.add_pack("none.pack", 0)
    names = [_name(number, cid.RAW) for number in range(counts.leaves)]
    made = [item(number) for number in range(counts.items)]
    names += [root for each in made for root in (each.tree, each.archive)]
    names += [_name(-number, cid.DAG_PB) for number in range(1, counts.nodes - 2 * counts.items)]
    places = ((key_of(name), Place(pack, 100 * at, 100, 100)) for name, at in zip(names, count()))
    while batch := list(islice(places, 50_000)):
        index.add(batch, {})
    admission = library.catalogue.begin_admission(1, "bench")
    library.catalogue.record([admitted(each, admission) for each in made])
    library.catalogue.end_admission(admission)


def _name(number: int, codec: int) -> Cid:
    return Cid(bytes((1, codec, cid.SHA256, 32)) + sha256(b"%d" % number).digest())


def asking(door: RoutingDoor, names: Sequence[Cid]) -> Callable[[], None]:
    """Return what asks for all of them, once each."""
    requests = [Request("GET", f"/routing/v1/providers/{cid.text(name)}") for name in names]

    def ask() -> None:
        for request in requests:
            assert door.answer(request) is not None

    return ask


def costs(library: Library, counts: Counts) -> None:
    """Print what an answer takes, by setting and by what is asked for."""
    dags, random = Dags(library), Random(7)
    roots = [item(random.randrange(counts.items)).archive for _ in range(ASKED)]
    leaves = [_name(random.randrange(counts.leaves), cid.RAW) for _ in range(ASKED)]
    absent = [_name(LEAVES * 9 + number, cid.RAW) for number in range(ASKED)]
    door = RoutingDoor(dags, lambda: 0, HERE, roots=dags)
    for setting in SETTINGS:
        said = [
            f"{what} {seconds(asking(replace(door, announce=setting), names)) / ASKED * 1e6:.0f} us"
            for what, names in (("a root", roots), ("a leaf", leaves), ("not here", absent))
        ]
        print(f"{setting:9}", *said, sep="  ")


def main() -> None:
    """Count HOME, scale it, time the answers."""
    with read_only(Path(sys.argv[1])) as library:
        here = counted(library)
    there = here.scaled(LEAVES)
    for counts in (here, there):
        print(counts)
        for setting in SETTINGS:
            print(f"  {setting:9} {counts.announced(setting):>10,}")
    with tempfile.TemporaryDirectory(prefix="narbor-announce-") as folder:
        with opened(Path(folder)) as library:
            filled(library, there)
        with read_only(Path(folder)) as library:
            costs(library, there)


if __name__ == "__main__":
    main()
