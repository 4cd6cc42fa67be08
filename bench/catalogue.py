"""How fast the catalogue is, and how large: `python bench/catalogue.py [ITEMS] [FOLDER]`.

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

from narbor.catalogue import Admitted, Catalogue, Claim
from narbor.formats.narinfo import fingerprint
from narbor.names import base32, cid
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item
from narbor.names.storepath import StorePath

DEPTH = 50
BATCH = 2_000
MIXED = 50_000


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


def main(count: int, folder: Path) -> None:
    """Fill, open, look up, remove; print what each took."""
    for name, order in orders(min(MIXED, count)):
        file = folder / f"{name}.sqlite"
        catalogue = Catalogue.open(file)
        spent = fill(catalogue, order, len(order))
        hidden = catalogue.sizes().hidden
        print(
            f"record {len(order)}, {name}: {spent / len(order) * 1e6:.0f} us/item, {hidden} hidden"
        )
        began = perf_counter()
        catalogue.remove([path(0).base])
        seconds, hidden = perf_counter() - began, catalogue.sizes().hidden
        print(f"  remove the lowest: {seconds:.2f} s, {hidden} hidden")
        catalogue.close()
    file = folder / "catalogue.sqlite"
    catalogue = Catalogue.open(file)
    spent = fill(catalogue, list(range(count)), count)
    catalogue.close()
    size = file.stat().st_size / count
    print(f"record {count}: {spent / count * 1e6:.0f} us/item, {size:.0f} B/item")
    began = perf_counter()
    catalogue = Catalogue.open(file, write=False)
    catalogue.sizes()
    print(f"open and totals: {(perf_counter() - began) * 1000:.1f} ms")
    asked = [path(n).hash_part for n in random.Random(2).sample(range(count), min(20_000, count))]
    for name in ("first", "again"):
        began = perf_counter()
        found = sum(catalogue.shown(part) is not None for part in asked)
        print(f"look up {found}, {name}: {(perf_counter() - began) / len(asked) * 1e6:.1f} us each")
    began = perf_counter()
    for part in asked:
        catalogue.find(part[::-1])
    print(f"look up what is not here: {(perf_counter() - began) / len(asked) * 1e6:.1f} us each")
    began = perf_counter()
    known = catalogue.known(path(n).base for n in range(100_000))
    print(f"known: {len(known)} of 100000 in {perf_counter() - began:.2f} s")
    catalogue.close()


if __name__ == "__main__":
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 2:
        main(items, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(items, Path(made))
