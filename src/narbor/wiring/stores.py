"""A home's library: opened, measured, and its index made anew.

HOME/catalogue.sqlite   what is known          HOME/packs/*.pack   blocks, append-only
HOME/index.sqlite       where blocks lie       HOME/keys/          NAME.secret, NAME.public
"""

import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from narbor.blocks import reindex as rereading
from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.blocks.reindex import Reread
from narbor.catalogue import Catalogue
from narbor.config import Config
from narbor.dag import profile
from narbor.errors import Refused, Unavailable
from narbor.library import Library
from narbor.library.admission import Admissions
from narbor.wiring.processes import now, process


class NoStore(Refused):
    """There is no store in the home that a command wants to read."""


class NoHome(Unavailable):
    """The home cannot be made or written to."""


def open_library(config: Config, write: bool = False) -> Library:
    """Open the library under `config.home`; with `write` it is made if it is not there.

    Raises NoStore, NoHome, and what the catalogue and the packs raise.
    """
    home = config.home
    if write:
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NoHome(f"{home} cannot be made: {error.strerror}") from error
    elif not (home / "catalogue.sqlite").exists():
        raise NoStore(
            f"there is no store in {home}; make one with `narbor mirror` or `narbor init`"
        )
    incomplete = config.serve.incomplete
    catalogue = Catalogue.open(home / "catalogue.sqlite", write, show_incomplete=incomplete)
    files = Files(home / "packs")
    blocks = PackStore(files, Index(home / "index.sqlite", write), _pack_name, config.level)
    admissions = None
    if write:
        blocks.catch_up()
        pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="blocks")
        admissions = Admissions(
            blocks, catalogue, pool, profile.named(config.profile), now, process()
        )
    return Library(catalogue, blocks, admissions, now, files.free, config.store)


def at_rest(config: Config) -> int:
    """Return how many bytes the packs in the home take."""
    return sum(path.stat().st_size for path in (config.home / "packs").glob("*.pack"))


def reindex(config: Config) -> Iterator[Reread]:
    """Make the index anew from the packs, and put it in place when all are read.

    Who has the old one open goes on with it; servers are started anew. Raises NoStore, PackInUse.
    """
    home = config.home
    if not (home / "packs").is_dir():
        raise NoStore(f"there are no packs in {home}")
    place, new = home / "index.sqlite", home / "index.sqlite.new"
    new.unlink(missing_ok=True)
    index, files = Index(new, True), Files(home / "packs")
    try:
        yield from rereading.reindex(files, index)
    finally:
        index.close()
        files.close()
    # What waits in the old log is not of the new file. Without it the old one is only behind.
    for suffix in ("-wal", "-shm"):
        place.with_name(place.name + suffix).unlink(missing_ok=True)
    new.replace(place)


def _pack_name() -> str:
    """Name a pack as nobody else does, so that names sort by their time."""
    return f"{int(time.time()):08x}-{uuid.uuid4().hex[:12]}.pack"
