"""From a Config to objects: the only file that names concrete classes."""

import os
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.catalogue import Catalogue
from narbor.config import Config
from narbor.dag import profile
from narbor.library import Library, seal_of
from narbor.library.admission import Admissions

INDEX = "index.sqlite"
CATALOGUE = "catalogue.sqlite"
PACKS = "packs"


def open_library(config: Config, write: bool = False) -> Library:
    """Open the library under `config.home`; with `write` it is made if it is not there.

    Raises Refused when there is none to read, or a newer narbor wrote it; Unavailable.
    """
    home = config.home
    if write:
        home.mkdir(parents=True, exist_ok=True)
    catalogue = Catalogue.open(home / CATALOGUE, write, show_incomplete=config.serve.incomplete)
    files = Files(home / PACKS)
    blocks = PackStore(files, Index(home / INDEX, write), _pack_name, config.level)
    admissions = None
    if write:
        blocks.catch_up()
        pool = ThreadPoolExecutor(os.cpu_count() or 1, "blocks")
        cutting = profile.named(config.profile)
        admissions = Admissions(blocks, catalogue, pool, cutting, _now, process_name(), seal_of)
    return Library(catalogue, blocks, admissions, _now, files.free, config.store)


def _now() -> int:
    return int(time.time())


def _pack_name() -> str:
    return f"{secrets.token_hex(8)}.pack"


def process_name(pid: int | None = None) -> str:
    """Name a process so that no later one has the same name: host, id and start time."""
    pid = os.getpid() if pid is None else pid
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return f"{socket.gethostname()}:{pid}:gone"
    return f"{socket.gethostname()}:{pid}:{stat.rpartition(')')[2].split()[19]}"
