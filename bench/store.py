"""The store without HTTP: in, out, at rest. Against what the libraries underneath do alone.

Input: the Debian world of tests/world (130 items, 260 MB of NARs, and its rebuild), as files of a
`nix copy` cache; and 20,000 made-up files of 1.5 KiB.
"""

import lzma
import tempfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import zstandard
from bench.measure import Row, at_least, at_most, rate, seconds
from pyfastcdc import FastCDC
from tests.library.store import believed, opened
from tests.world.world import World

from narbor.dag import cut
from narbor.formats import nar, narinfo, streams
from narbor.formats.narinfo import Narinfo
from narbor.formats.vouched import vouch
from narbor.library import Library
from narbor.names.keys import Keyring

CHUNK = 1 << 20
Pair = tuple[Narinfo, bytes]


def chunks(data: bytes) -> Iterator[bytes]:
    """Cut as a network would."""
    return (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))


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


def admit(library: Library, pairs: Iterable[Pair]) -> None:
    """Admit all of these and commit once."""
    for claim, data in pairs:
        library.admit(vouch(claim, Keyring(()), trusted=True), chunks(data), "bench:")
    library.commit()


def limit(data: list[bytes]) -> float:
    """Return the seconds that two SHA-256, scan, cut and zstd take, one after the other."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    cutter = FastCDC(256 << 10, min_size=64 << 10, max_size=1 << 20)

    def work() -> None:
        for archive in data:
            sha256(archive)
            sha256(archive)
            sum(1 for _ in cut.references(archive))
            sum(1 for _ in cutter.cut_buf(archive))
            for at in range(0, len(archive), 256 << 10):
                compressor.compress(archive[at : at + (256 << 10)])

    return seconds(work)


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
    yield from _world(first, second, folder)
    yield from _small(folder)
    yield from _xz(first, folder)


def _world(first: list[Pair], second: list[Pair], folder: Path) -> Iterator[Row]:
    data = [archive for _, archive in first]
    size = sum(map(len, data))
    alone = limit(data)
    homes = iter(range(100))

    def fresh() -> None:
        with opened(folder / f"new-{next(homes)}") as library:
            admit(library, first)

    took = seconds(fresh)
    yield at_least(
        "admit an uncompressed NAR, new content (Debian world)",
        rate(size, took), rate(size, alone), alone / took, 0.85, "the limit, one thread",
    )  # fmt: skip
    hashes = seconds(lambda: [(sha256(a).digest(), sha256(a).digest()) for a in data])
    home = folder / "new-0"
    with opened(home) as library:
        again = seconds(lambda: admit(library, first))
        yield at_least(
            "admit known content",
            rate(size, again), rate(size, hashes), hashes / again, 0.6, "two SHA-256",
        )  # fmt: skip
        kept = [library.item(claim.path.base) for claim, _ in first]
        packed = [zstandard.ZstdCompressor(level=3).compress(a) for a in data]
        decoder = zstandard.ZstdDecompressor()
        unzstd = seconds(lambda: [decoder.decompress(frame) for frame in packed])
        out = seconds(
            lambda: [sum(map(len, library.archive(item))) for item in kept if item is not None]
        )
        yield at_least(
            "NARs out of the store, uncompressed",
            rate(size, out), rate(size, unzstd), unzstd / out, 0.9, "zstd -d, one thread",
        )  # fmt: skip
    before = at_rest(home)
    with opened(home) as library:
        here = library.known(claim.path.base for claim, _ in second)
        new = [pair for pair in second if pair[0].path.base not in here]
        admit(library, new)
    added, nars = at_rest(home) - before, sum(len(archive) for _, archive in new)
    share = 100 * added / nars
    yield at_most(
        "a world rebuilt, only references changed: added at rest",
        f"{added / 1e6:.2f} MB of {nars / 1e6:.0f} MB", share, 0.5, "% of its NarSize",
    )  # fmt: skip


def _small(folder: Path) -> Iterator[Row]:
    count = 20_000
    archive = small_files(count, 1500)
    homes = iter(range(100))

    def fresh() -> None:
        with opened(folder / f"small-{next(homes)}") as library:
            library.admit(believed("small", archive), chunks(archive), "bench:")
            library.commit()

    took = seconds(fresh)
    yield at_least(
        "20,000 files of 1.5 KiB in, with packs and index",
        f"{count / took:,.0f} files/s", "20,000 files/s", count / took / 20_000, 1, "the bar",
    )  # fmt: skip
    with opened(folder / "small-0") as library:
        item = library.item(believed("small", archive).narinfo.path.base)
        assert item is not None
        out = seconds(lambda: sum(map(len, library.archive(item))))
    yield at_least(
        "20,000 files of 1.5 KiB out of the store",
        f"{count / out:,.0f} files/s", "90,000 files/s", count / out / 90_000, 1, "the bar",
    )  # fmt: skip


def _xz(first: list[Pair], folder: Path) -> Iterator[Row]:
    claim, archive = max(first, key=lambda pair: len(pair[1]))
    packed = lzma.compress(archive, preset=1)
    alone = seconds(lambda: lzma.decompress(packed))
    homes = iter(range(100))

    def fresh() -> None:
        with opened(folder / f"xz-{next(homes)}") as library:
            data = streams.decompress(chunks(packed), "xz", len(archive))
            library.admit(vouch(claim, Keyring(()), trusted=True), data, "bench:")
            library.commit()

    took = seconds(fresh)
    yield at_least(
        f"admit from .nar.xz, one item of {len(archive) / 1e6:.0f} MB",
        rate(len(archive), took), rate(len(archive), alone), alone / took, 0.9, "xz alone",
    )  # fmt: skip


def main(world: World) -> list[Row]:
    """Measure in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as folder:
        return list(rows(world, Path(folder)))
