"""What a folder with a binary cache must be at every moment, and how it is looked at."""

from hashlib import sha256
from pathlib import Path

from narbor.formats import narinfo, streams
from narbor.formats.narinfo import Narinfo
from narbor.tasks.export.tree import OWN

Seen = dict[str, tuple[int, int]]


def claims(folder: Path) -> dict[str, Narinfo]:
    """Read all narinfos of a cache, by base name."""
    found = [narinfo.parse(path.read_bytes()) for path in folder.glob("*.narinfo")]
    return {claim.path.base: claim for claim in found}


def closed(folder: Path) -> int:
    """Check that no narinfo speaks of what is not there; return how many there are."""
    here = claims(folder)
    for base, claim in here.items():
        assert (folder / claim.url).stat().st_size == claim.file_size, f"{base}: {claim.url}"
        assert here.keys() >= set(claim.references), f"{base} refers to what is not there"
    return len(here)


def sound(folder: Path) -> int:
    """Check that a cache is closed, and all archives what was said and signed of them."""
    for claim in claims(folder).values():
        packed = (folder / claim.url).read_bytes()
        assert claim.file_hash is not None
        assert sha256(packed).digest() == claim.file_hash.value
        archive = streams.decompress([packed], claim.compression, claim.seal.size)
        assert sha256(b"".join(archive)).digest() == claim.seal.digest.value
    return closed(folder)


def seen(folder: Path) -> Seen:
    """Return the inode and the time of every file, but for stamps and what is the writer's own."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() and path.name != "lastsync" and OWN not in path.parts
    }
