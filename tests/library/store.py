"""A store in a folder, and items to put in it."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path

from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.catalogue import Catalogue
from narbor.dag.profile import NARBOR, Profile
from narbor.formats import nar, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.formats.vouched import Vouched, vouch
from narbor.library import Library
from narbor.library.admission import Admissions
from narbor.names import storepath
from narbor.names.digest import Digest, Seal
from narbor.names.keys import Keyring


@contextmanager
def opened(folder: Path, profile: Profile = NARBOR, level: int = 3) -> Iterator[Library]:
    """Open a store for writing, as wiring does, with packs named in order."""
    folder.mkdir(exist_ok=True)
    files = Files(folder / "packs")
    index = Index(folder / "index.sqlite", True)
    numbers = count(len(files.names()))
    blocks = PackStore(files, index, lambda: f"{next(numbers):04}.pack", level)
    blocks.catch_up()
    catalogue = Catalogue.open(folder / "catalogue.sqlite")
    with ThreadPoolExecutor(2) as pool:
        admissions = Admissions(blocks, catalogue, pool, profile, lambda: 7, "test")
        library = Library(catalogue, blocks, admissions, lambda: 7, files.free)
        try:
            yield library
        finally:
            library.close()
            files.close()


@contextmanager
def read_only(folder: Path) -> Iterator[Library]:
    """Open the same store as a server does."""
    files = Files(folder / "packs")
    blocks = PackStore(files, Index(folder / "index.sqlite", False), lambda: "never", 3)
    catalogue = Catalogue.open(folder / "catalogue.sqlite", write=False)
    library = Library(catalogue, blocks, None, lambda: 7, files.free)
    try:
        yield library
    finally:
        library.close()
        files.close()


def believed(name: str, archive: bytes, references: Iterable[str] = ()) -> Vouched:
    """Return a claim about a NAR, believed because its upstream is trusted."""
    return sealed(name, sha256(archive).digest(), len(archive), references)


def sealed(name: str, digest: bytes, size: int, references: Iterable[str] = ()) -> Vouched:
    """Return a believed claim about a NAR with this SHA-256 and length."""
    letters = sha256(name.encode()).hexdigest().replace("e", "z")[:32]
    claim = Narinfo(
        path=storepath.parse(f"/nix/store/{letters}-{name}"),
        url="nar/x.nar",
        compression="none",
        file_hash=None,
        file_size=None,
        seal=Seal(Digest("sha256", digest), size),
        references=tuple(references),
        deriver=None,
        signatures=(),
        ca=None,
        extra=(),
        text=b"",
    )
    return vouch(narinfo.parse(narinfo.write(claim)), Keyring(()), trusted=True)


def file_nar(content: bytes, executable: bool = False) -> bytes:
    """Return the NAR of one file."""
    events: list[nar.Event[bytes]] = [nar.File(b"", executable, len(content))]
    if content:
        events.append(nar.Data(content))
    return b"".join(nar.write(events))
