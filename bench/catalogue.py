"""How fast the catalogue is, and how large: `python -m bench.catalogue [ITEMS]`.

Input: a made-up farm of ITEMS items (a million by default), up to ten references each, 50 deep,
arriving in batches of 2,000 in three orders: references first, shuffled, referrers first.
The bar: opening < 1 s, one look-up < 50 us.
"""

import random
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import perf_counter

from bench.measure import Row, at_least, at_most

from narbor.catalogue import Admitted, Catalogue, Claim
from narbor.formats.narinfo import fingerprint
from narbor.names import base32, cid
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item
from narbor.names.storepath import StorePath

DEPTH = 50
BATCH = 2_000
MIXED = 50_000
ITEMS = 1_000_000


def path(number: int) -> StorePath:
    """The store path of an item."""
    digest = sha256(b"%d" % number).digest()
    return StorePath("/nix/store", base32.nix(digest[:20]), f"package-name-{number}-1.2.3")


def item(number: int, count: int) -> Item:
    """Item `number` of `count`: up to ten references into the layer below its own."""
    layer = max(1, count // DEPTH)
    below = (number // layer - 1) * layer
    chosen = random.Random(number).sample(range(below, below + layer), min(10, layer))
    references = tuple(sorted(path(n).base for n in chosen if n >= 0))
    digest = sha256(b"nar %d" % number).digest()
    return Item(
        path(number),
        Seal(Digest("sha256", digest), number),
        references,
        f"{path(number + count).base}.drv",
        (f"cache.example.org-1:{base32.nix(digest * 2)[:86]}==",),
        None,
        (),
        "narbor-1",
        cid.node(digest),
        cid.node(digest + b"a"),
        "https://cache.example.org",
    )


def admitted(of: Item, admission: int) -> Admitted:
    """An admission as a mirror run makes it."""
    text = (
        f"StorePath: {of.path}\nURL: nar/{of.seal.digest.nix32}.nar.xz\nCompression: xz\n"
        f"FileHash: sha256:{of.seal.digest.nix32}\nFileSize: {of.seal.size // 4}\n"
        f"NarHash: {of.seal.digest}\nNarSize: {of.seal.size}\n"
        f"References: {' '.join(of.references)}\nDeriver: {of.deriver}\nSig: {of.signatures[0]}\n"
    )
    signed = fingerprint(of.path, of.seal, of.references)
    return Admitted(of, Claim(of.path.base, of.origin, text.encode(), signed, 1), (), (), admission)


def fill(catalogue: Catalogue, order: list[int], count: int) -> float:
    """Record the items in this order; return the seconds spent in the catalogue."""
    admission = catalogue.begin_admission(1, "bench")
    spent = 0.0
    for start in range(0, len(order), BATCH):
        batch = [admitted(item(n, count), admission) for n in order[start : start + BATCH]]
        began = perf_counter()
        catalogue.record(batch)
        spent += perf_counter() - began
    catalogue.end_admission(admission)
    return spent


def orders(count: int) -> Iterator[tuple[str, list[int]]]:
    """The three orders of arrival, by name."""
    yield "references first", list(range(count))
    yield "shuffled", random.Random(1).sample(range(count), count)
    yield "referrers first", list(reversed(range(count)))


def rows(folder: Path, count: int = ITEMS) -> Iterator[Row]:
    """Fill in three orders, the first of which is the peer of the others; open; look up."""
    spent: dict[str, float] = {}
    for name, order in orders(min(MIXED, count)):
        catalogue = Catalogue.open(folder / f"{name}.sqlite")
        spent[name] = fill(catalogue, order, len(order))
        assert catalogue.sizes().hidden == 0, "a whole world shows every item"
        catalogue.close()
    first, *others = spent
    for name in others:
        yield at_least(
            f"record {len(order):,} items that arrive {name}",
            f"{len(order) / spent[name]:,.0f} items/s", f"{len(order) / spent[first]:,.0f} items/s",
            spent[first] / spent[name], 0.5, f"the same, {first}",
        )  # fmt: skip
    file = folder / "catalogue.sqlite"
    catalogue = Catalogue.open(file)
    fill(catalogue, list(range(count)), count)
    catalogue.close()
    began = perf_counter()
    catalogue = Catalogue.open(file, write=False)
    catalogue.sizes()
    took = (perf_counter() - began) * 1000
    size = file.stat().st_size / count
    yield at_most(
        f"open a catalogue of {count:,} items ({size:.0f} bytes each), and its totals",
        f"{took:.1f} ms", took, 1000, "ms",
    )  # fmt: skip
    asked = [path(n).hash_part for n in random.Random(2).sample(range(count), min(20_000, count))]
    for name, parts in (("one that is here", asked), ("one that is not", [p[::-1] for p in asked])):
        began = perf_counter()
        found = sum(catalogue.shown(part) is not None for part in parts)
        took = (perf_counter() - began) / len(parts) * 1e6
        assert found == (len(parts) if parts is asked else 0)
        yield at_most(f"look up an item, {name}", f"{took:.1f} us", took, 50, "us")
    catalogue.close()


def main(count: int) -> None:
    """Measure in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as folder:
        for row in rows(Path(folder), count):
            print(row)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS)
