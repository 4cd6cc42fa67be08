"""Memory to admit a 4 GB NAR of incompressible content that is all different.

Input: generated caches in a folder, each with one item: one file; 200,000 files; one file, from
`.xz` (liblzma's preset 0). `narbor mirror file:///...` admits it; VmHWM of that process counts.

    python -m bench.memory [GB]
"""

import lzma
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

from bench import child
from bench.measure import Row, at_most

from narbor.formats import nar, narinfo, streams
from narbor.formats.narinfo import Narinfo
from narbor.names import base32
from narbor.names.digest import Digest, Seal
from narbor.names.keys import SecretKey
from narbor.names.storepath import StorePath

KEY = SecretKey("memory-1", sha256(b"memory").digest())
PIECE = 1 << 20
FILES = 200_000
Events = Iterator[nar.Event[bytes]]


def one_file(size: int) -> Events:
    """Give the events of one file of random bytes."""
    luck = Random(1)
    yield nar.File(b"", False, size)
    for at in range(0, size, PIECE):
        yield nar.Data(luck.randbytes(min(PIECE, size - at)))


def many_files(size: int) -> Events:
    """Give the events of 200,000 files in 200 folders."""
    luck = Random(2)
    each = size // FILES
    yield nar.Directory(b"")
    for folder in range(200):
        yield nar.Directory(b"%03d" % folder)
        for file in range(FILES // 200):
            yield nar.File(b"%04d" % file, file % 3 == 0, each)
            yield nar.Data(luck.randbytes(each))
        yield nar.END
    yield nar.END


def write(folder: Path, name: str, events: Events, compression: str) -> StorePath:
    """Write a cache with one item, holding no more than a piece of it at a time."""
    folder.mkdir()
    (folder / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    packer = lzma.LZMACompressor(preset=0) if compression == "xz" else None
    state, size = sha256(), 0
    with (folder / "file").open("wb") as file:
        for chunk in streams.gathered(nar.write(events), PIECE):
            state.update(chunk)
            size += len(chunk)
            file.write(packer.compress(chunk) if packer else chunk)
        if packer:
            file.write(packer.flush())
    seal = Seal(Digest("sha256", state.digest()), size)
    path = StorePath("/nix/store", base32.nix(sha256(name.encode()).digest()[:20]), name)
    signature = KEY.sign(narinfo.fingerprint(path, seal, ()))
    claim = Narinfo(
        path, "file", compression, None, (folder / "file").stat().st_size, seal,
        (), None, (signature,), None, (), b"",
    )  # fmt: skip
    (folder / f"{path.hash_part}.narinfo").write_bytes(narinfo.write(claim))
    return path


def row(scratch: Path, work: str, events: Events, compression: str) -> Row:
    """Make a cache, mirror it, and take both away again."""
    folder = scratch / "big"
    folder.mkdir()
    try:
        path = write(folder / "cache", "big", events, compression)
        words = ("mirror", f"file://{folder}/cache", str(path), "--trust", str(KEY.public))
        ran = child.narbor(folder / "home", "--no-progress", *words)
        assert ran.code == 0 and ran.err.startswith("1 items admitted"), ran.err
    finally:
        shutil.rmtree(folder)
    peak = ran.peak / 1e6
    return at_most(work, f"{peak:.0f} MB, {ran.seconds:.0f} s", peak, 300, "MB")


def rows(folder: Path, size: int = 4 << 30) -> Iterator[Row]:
    """Measure one kind after the other."""
    kinds: tuple[tuple[str, Callable[[int], Events], str], ...] = (
        ("one file", one_file, "none"),
        (f"{FILES:,} files", many_files, "none"),
        ("one file, from .xz", one_file, "xz"),
    )
    for what, events, compression in kinds:
        yield row(
            folder,
            f"memory to admit a NAR of {size / 1e9:.1f} GB of random bytes, {what}",
            events(size),
            compression,
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="narbor-bench-") as made:
        for each in rows(
            Path(made), int(float(sys.argv[1]) * 1e9) if len(sys.argv) > 1 else 4 << 30
        ):
            print(each, flush=True)
