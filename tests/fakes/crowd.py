"""A binary cache of very many small items in a folder: a deep graph with holes in it."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

import zstandard

from narbor.formats import nar, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.names import base32
from narbor.names.digest import Digest, Seal
from narbor.names.keys import SecretKey
from narbor.names.storepath import StorePath

KEY: Final = SecretKey("crowd-1", sha256(b"crowd").digest())
_WORDS: Final = [sha256(b"word %d" % number).hexdigest()[:9] for number in range(997)]


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


_PACK: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("xz", _xz),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("none", bytes),
    ("bzip2", bz2.compress),
    ("gzip", lambda data: gzip.compress(data, mtime=0)),
)


@dataclass(frozen=True, slots=True)
class Crowd:
    """What lies in the cache, by base names.

    `roots` are to be asked for, `found` is all they lead to that is there. `unclaimed` have no
    narinfo, `gone` have one whose archive is missing; both are reached from the roots.
    """

    folder: Path
    roots: tuple[str, ...]
    found: frozenset[str]
    unclaimed: frozenset[str]
    gone: frozenset[str]


def grow(folder: Path, layers: int, width: int) -> Crowd:
    """Make `layers * width` items, each layer referring to the one below, every tenth to itself.

    One of a hundred is missing upstream. The key that signs is `KEY.public`.
    """
    (folder / "nar").mkdir(parents=True)
    (folder / "nix-cache-info").write_text("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n")
    paths = [_path(number) for number in range(layers * width)]
    top = len(paths) - width
    needs = [tuple(_needs(number, width)) for number in range(len(paths))]
    holes = {number for number in range(top) if number % 100 == 37}
    unclaimed = {number for number in holes if number // 100 % 2}
    for number, path in enumerate(paths):
        if number not in unclaimed:
            _write(folder, number, path, [paths[need] for need in needs[number]], number in holes)
    reached = _reached(range(top, len(paths)), needs, unclaimed)

    def named(numbers: set[int]) -> frozenset[str]:
        return frozenset(paths[number].base for number in numbers)

    return Crowd(
        folder,
        tuple(path.base for path in paths[top:]),
        named(reached - holes),
        named(reached & unclaimed),
        named(reached & (holes - unclaimed)),
    )


def _path(number: int) -> StorePath:
    digest = sha256(b"crowd %d" % number).digest()
    return StorePath("/nix/store", base32.nix(digest[:20]), f"item-{number}")


def _needs(number: int, width: int) -> Iterator[int]:
    """Give what an item refers to: three below, one at the bottom that all share, maybe itself."""
    layer, place = divmod(number, width)
    below = (layer - 1) * width
    if layer:
        yield from {below + place, below + (place + 1) % width, below + (place * 11 + 3) % width, 0}
    if number % 10 == 0:
        yield number


def _reached(roots: range, needs: list[tuple[int, ...]], unclaimed: set[int]) -> set[int]:
    """Walk from the roots; what has no narinfo is reached and leads no further."""
    seen: set[int] = set(roots)
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        new = set() if number in unclaimed else set(needs[number]) - seen
        seen |= new
        waiting.extend(new)
    return seen


def _write(folder: Path, number: int, path: StorePath, needs: list[StorePath], gone: bool) -> None:
    luck = Random(number)
    text = " ".join(luck.choices(_WORDS, k=luck.randrange(10, 200)))
    script = "".join(f". {need}/lib\n" for need in needs)
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for name, data in ((b"run", f"#!/bin/sh\n{script}".encode()), (b"text", text.encode())):
        events += (nar.File(name, name == b"run", len(data)), nar.Data(data))
    archive = b"".join(nar.write([*events, nar.END]))
    compression, pack = _PACK[number % len(_PACK)]
    file = pack(archive)
    seal = Seal(Digest("sha256", sha256(archive).digest()), len(archive))
    file_hash = Digest("sha256", sha256(file).digest())
    bases = tuple(sorted(need.base for need in needs))
    claim = Narinfo(
        path=path,
        url=f"nar/{file_hash.nix32}.nar",
        compression=compression,
        file_hash=file_hash,
        file_size=len(file),
        seal=seal,
        references=bases,
        deriver=None,
        signatures=(KEY.sign(narinfo.fingerprint(path, seal, bases)),),
        ca=None,
        extra=(),
        text=b"",
    )
    (folder / f"{path.hash_part}.narinfo").write_bytes(narinfo.write(claim))
    if not gone:
        (folder / claim.url).write_bytes(file)
