"""Who can be given what is here: a word of the command line to a holder.

kubo:URL, URL/api/v0    a Kubo, over its RPC        FILE.car    one CAR
http(s)://HOST          another narbor              FOLDER/     a folder of CARs
pin:URL                 a pinning service
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from narbor.config import Config
from narbor.errors import Refused
from narbor.names.cid import Cid
from narbor.net.kubo import Kubo
from narbor.net.pinning import Pinning
from narbor.pins import Holder
from narbor.pins.carfolder import CarFolder
from narbor.pins.cars import CarFile
from narbor.pins.kubo import KuboHolder
from narbor.pins.narbor import NarborHolder
from narbor.pins.service import Service
from narbor.pins.shelf import Folder
from narbor.wiring.upstreams import open_http, outward

KUBO: Final = "kubo"
NARBOR: Final = "narbor"
SERVICE: Final = "pin"
FILE: Final = "file"
FOLDER: Final = "folder"


class NoTarget(Refused):
    """A word names nobody who could be given anything."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What will be given, for those that must know it beforehand.

    `afresh`: a folder of CARs begins anew. `thorough`: CARs are read, not only looked up in lists.
    """

    root: Cid
    since: Cid | None = None
    afresh: bool = False
    thorough: bool = False


def kind(target: str) -> str:
    """Return which kind of target a word names; raises NoTarget."""
    scheme = target.partition(":")[0]
    if scheme in (KUBO, SERVICE):
        return scheme
    if "://" in target:
        if scheme not in ("http", "https"):
            raise NoTarget(f"{target}: targets are reached over http and https, not {scheme}")
        return KUBO if target.rstrip("/").endswith("/api/v0") else NARBOR
    if target.endswith("/") or Path(target).is_dir():
        return FOLDER
    if target.endswith(".car"):
        return FILE
    raise NoTarget(
        f"{target!r} is no target: kubo:URL, http(s)://HOST, pin:URL, FILE.car and FOLDER/ are"
    )


@contextmanager
def opened(config: Config, target: str, wish: Wish) -> Iterator[Holder]:
    """Open a target, and close it in the end; raises NoTarget, and what the target raises."""
    what = kind(target)
    if wish.thorough and what in (FOLDER, FILE) and not Path(target).exists():
        raise NoTarget(f"{target} is not there: `narbor replicate {target}` makes it")
    if what in (FOLDER, FILE):
        holder = _cars(Path(target), what, wish)
    elif wish.since is not None or wish.afresh:
        raise NoTarget(
            f"{target}: --since and --whole are for CARs; others are asked what they have"
        )
    elif what == KUBO:
        # Of a DAG only the root is told at once: what a Kubo tells of the rest is its own setting.
        told = config.ipfs.announce != "none"
        holder = KuboHolder(open_kubo(config, target.removeprefix(f"{KUBO}:")), told)
    else:
        with open_http(config) as http, closing(NarborHolder(http, target)) as narbor:
            yield narbor
        return
    with closing(holder):
        yield holder


def open_kubo(config: Config, url: str) -> Kubo:
    """Open the way to a Kubo's RPC."""
    return Kubo(url, outward(config))


@contextmanager
def promised(config: Config, target: str) -> Iterator[Service]:
    """Open a pinning service, and close the way to it in the end."""
    with open_http(config) as http:
        yield Service(Pinning(target.removeprefix(f"{SERVICE}:"), http))


def _cars(path: Path, what: str, wish: Wish) -> Holder:
    if what == FILE:
        shelf = Folder(path.absolute().parent, whole=False)
        return CarFile(shelf, path.name, wish.root, wish.since)
    folder = Folder(path, whole=True)
    return CarFolder(folder, wish.root, wish.since, wish.afresh, wish.thorough)
