"""The store without HTTP: in, out, at rest. Against what the libraries underneath do alone.

Input: the Debian world of tests/world (130 items, 260 MB of NARs, and its rebuild), as files of a
`nix copy` cache; and 20,000 made-up files of 1.5 KiB.
"""

import lzma
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random

import zstandard
from bench.measure import Row, at_least, at_most, rate, seconds, versus
from pyfastcdc import FastCDC
from tests.library.store import believed, opened, read_only
from tests.world.world import World, prepare

from narbor.dag import cut
from narbor.formats import nar, narinfo, streams
from narbor.formats.narinfo import Narinfo
from narbor.formats.vouched import vouch
from narbor.library import Library
from narbor.names.item import Item
from narbor.names.keys import Keyring

CHUNK = 1 << 20
Pair = tuple[Narinfo, bytes]


def chunks(data: bytes) -> list[bytes]:
    """Cut as a network would."""
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]


def items(world: World, generation: int) -> list[Pair]:
    """Return a generation's claims and NARs, references first by no particular order."""
    cache = world.cache("zstd")
    found = []
    for path in sorted(world.closure(world.generations[generation]["world"])):
        base = path.rsplit("/", 1)[1]
        claim = narinfo.parse((cache / f"{base[:32]}.narinfo").read_bytes())
        packed = [(cache / claim.url).read_bytes()]
        data = streams.decompress(iter(packed), claim.compression, claim.seal.size)
        found.append((claim, b"".join(data)))
    return found


def admit(library: Library, pairs: Iterable[tuple[Narinfo, list[bytes]]]) -> None:
    """Admit all of these, two at a time, the largest first, as `narbor mirror` does; commit."""

    def one(pair: tuple[Narinfo, list[bytes]]) -> None:
        claim, parts = pair
        library.admit(vouch(claim, Keyring(()), trusted=True), parts, "bench:")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, sorted(pairs, key=lambda pair: -pair[0].seal.size)))
    library.commit()


def limit(data: list[bytes]) -> None:
    """Do what two SHA-256, scan, cut and zstd do alone, one after the other, in one thread."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    cutter = FastCDC(256 << 10, min_size=64 << 10, max_size=1 << 20)
    for archive in data:
        sha256(archive)
        sha256(archive)
        sum(1 for _ in cut.references(archive))
        sum(1 for _ in cutter.cut_buf(archive))
        for at in range(0, len(archive), 256 << 10):
            compressor.compress(archive[at : at + (256 << 10)])


def two_hashes(data: list[bytes]) -> None:
    """Hash everything twice."""
    for archive in data:
        sha256(archive)
        sha256(archive)


def at_rest(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def small_files(count: int, size: int) -> bytes:
    """Return the NAR of a directory of made-up text files."""
    luck = Random(1)
    words = [luck.randbytes(4).hex().encode() for _ in range(2000)]
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for number in range(count):
        text = b" ".join(luck.choices(words, k=size // 9 + 1))[:size]
        events += (nar.File(b"%06d" % number, False, len(text)), nar.Data(text))
    return b"".join(nar.write([*events, nar.END]))


def rows(world: World, folder: Path) -> Iterator[Row]:
    """Measure everything."""
    first, second = items(world, 0), items(world, 1)
    yield from _in(first, folder)
    yield from _out(first, folder / "new-0")
    yield from _rebuilt(second, folder / "new-0")
    yield from _beside_xz(first, folder)
    yield from _small(folder)


def _in(first: list[Pair], folder: Path) -> Iterator[Row]:
    data = [archive for _, archive in first]
    cut_up = [(claim, chunks(archive)) for claim, archive in first]
    size = sum(map(len, data))
    homes = iter(range(100))

    def fresh() -> None:
        with opened(folder / f"new-{next(homes)}") as library:
            admit(library, cut_up)

    took, alone, ratio = versus(fresh, lambda: limit(data))
    yield at_least(
        "admit uncompressed NARs, new content (Debian world)",
        rate(size, took), rate(size, alone), ratio, 0.85, "the limit, one thread",
    )  # fmt: skip
    with opened(folder / "new-0") as library:
        took, alone, ratio = versus(lambda: admit(library, cut_up), lambda: two_hashes(data), 5)
    yield at_least(
        "admit known content",
        rate(size, took), rate(size, alone), ratio, 0.6, "two SHA-256, one thread",
    )  # fmt: skip
    data = [_large_files(number) for number in range(4)]
    parts = [chunks(archive) for archive in data]
    size = sum(map(len, data))
    with opened(folder / "large") as library:

        def again() -> None:
            for number, archive in enumerate(data):
                library.admit(believed(f"large-{number}", archive), parts[number], "bench:")
            library.commit()

        again()
        took, alone, ratio = versus(again, lambda: two_hashes(data), 5)
    yield at_least(
        f"admit known content: 4 NARs of {size / 4e6:.0f} MB in files of 4 MiB",
        rate(size, took), rate(size, alone), ratio, 0.6, "two SHA-256, one thread",
    )  # fmt: skip


def _large_files(seed: int) -> bytes:
    """Return the NAR of a directory of 16 files of random bytes."""
    luck = Random(seed)
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for number in range(16):
        content = luck.randbytes(4 << 20)
        events += (nar.File(b"%02d" % number, False, len(content)), nar.Data(content))
    return b"".join(nar.write([*events, nar.END]))


def _out(first: list[Pair], home: Path) -> Iterator[Row]:
    data = [archive for _, archive in first]
    size = sum(map(len, data))
    packed = [zstandard.ZstdCompressor(level=3).compress(archive) for archive in data]
    decoder = zstandard.ZstdDecompressor()
    with read_only(home) as library:
        kept = [item for claim, _ in first if (item := library.item(claim.path.base)) is not None]
        took, alone, ratio = versus(
            lambda: [sum(map(len, library.archive(item))) for item in kept],
            lambda: [decoder.decompress(frame) for frame in packed],
            5,
        )
    yield at_least(
        "NARs out of the store, uncompressed",
        rate(size, took), rate(size, alone), ratio, 0.9, "zstd -d, one thread",
    )  # fmt: skip


def _rebuilt(second: list[Pair], home: Path) -> Iterator[Row]:
    before = at_rest(home)
    with opened(home) as library:
        here = library.known(claim.path.base for claim, _ in second)
        new = [pair for pair in second if pair[0].path.base not in here]
        admit(library, [(claim, chunks(archive)) for claim, archive in new])
    added, nars = at_rest(home) - before, sum(len(archive) for _, archive in new)
    yield at_most(
        "a world rebuilt, only references changed: added at rest",
        f"{added / 1e6:.2f} MB of {nars / 1e6:.0f} MB", 100 * added / nars, 0.5,
        "% of its NarSize",
    )  # fmt: skip


def _beside_xz(first: list[Pair], folder: Path) -> Iterator[Row]:
    """One generation at rest, beside its NARs as `nix copy` packs them with xz (preset 6)."""
    with ThreadPoolExecutor(2) as pool:
        xz = sum(pool.map(lambda pair: len(lzma.compress(pair[1])), first))
    for level, bar in ((3, 1.7), (19, 1.45)):
        home = folder / f"level-{level}"
        with opened(home, level=level) as library:
            admit(library, [(claim, chunks(archive)) for claim, archive in first])
        yield at_most(
            f"one generation at rest at level {level}, beside its .nar.xz of {xz / 1e6:.0f} MB",
            f"{at_rest(home) / 1e6:.0f} MB", at_rest(home) / xz, bar, "times",
        )  # fmt: skip


def _small(folder: Path) -> Iterator[Row]:
    count = 20_000
    archive = small_files(count, 1500)
    parts = chunks(archive)
    homes = iter(range(100))

    def fresh() -> None:
        with opened(folder / f"small-{next(homes)}") as library:
            library.admit(believed("small", archive), parts, "bench:")
            library.commit()

    took = seconds(fresh)
    yield at_least(
        "20,000 files of 1.5 KiB in, with packs and index",
        f"{count / took:,.0f} files/s", "20,000 files/s", count / took / 20_000, 1, "the bar",
    )  # fmt: skip
    for name in ("first", "again"):
        with read_only(folder / "small-0") as library:
            item = library.item(believed("small", archive).narinfo.path.base)
            assert item is not None
            whole = partial(_length, library, item)
            out = seconds(whole, 1) if name == "first" else seconds(whole, 5)
        yield at_least(
            f"20,000 files of 1.5 KiB out of the store, {name}",
            f"{count / out:,.0f} files/s", "90,000 files/s", count / out / 90_000, 1, "the bar",
        )  # fmt: skip


def _length(library: Library, item: Item) -> int:
    return sum(map(len, library.archive(item)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as made_in:
        for row in rows(prepare(), Path(made_in)):
            print(row, flush=True)
