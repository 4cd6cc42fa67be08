"""A signed binary cache in a folder, made of thin air."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from random import Random

from narbor.formats import nar, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.names import storepath
from narbor.names.digest import Digest, Seal
from narbor.names.keys import SecretKey
from narbor.names.storepath import StorePath

KEY = SecretKey.generate("thin-air-1")


def path_of(name: str) -> StorePath:
    """Return the store path of a made-up item."""
    letters = sha256(name.encode()).hexdigest().replace("e", "z")[:32]
    return storepath.parse(f"/nix/store/{letters}-{name}")


def archive_of(seed: int, size: int, references: Sequence[StorePath]) -> bytes:
    """Return the NAR of a directory: a file of random bytes, and a script that names its needs."""
    script = b"".join(b". %s/lib\n" % str(path).encode() for path in references)
    content = Random(seed).randbytes(size)
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for name, data in ((b"content", content), (b"script", script)):
        events.append(nar.File(name, name == b"script", len(data)))
        if data:
            events.append(nar.Data(data))
    return b"".join(nar.write([*events, nar.END]))


def fill(folder: Path, count: int, size: int) -> list[StorePath]:
    """Write a cache of `count` items, each referring to up to three before it; the last one is top.

    Returns the paths. The key that signed is `KEY.public()`.
    """
    (folder / "nar").mkdir(parents=True)
    (folder / "nix-cache-info").write_text("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n")
    paths: list[StorePath] = []
    for number in range(count):
        path = path_of(f"item-{number}")
        references = paths[-3:] if number < count - 1 else paths
        archive = archive_of(number, size, references)
        seal = Seal(Digest("sha256", sha256(archive).digest()), len(archive))
        bases = tuple(reference.base for reference in references)
        url = f"nar/{seal.digest.nix32}.nar"
        claim = Narinfo(
            path=path,
            url=url,
            compression="none",
            file_hash=seal.digest,
            file_size=seal.size,
            seal=seal,
            references=bases,
            deriver=None,
            signatures=(KEY.sign(narinfo.fingerprint(path, seal, bases)),),
            ca=None,
            extra=(),
            text=b"",
        )
        (folder / url).write_bytes(archive)
        (folder / f"{path.hash_part}.narinfo").write_bytes(narinfo.write(claim))
        paths.append(path)
    return paths
