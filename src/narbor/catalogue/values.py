"""What goes into the catalogue and comes out of it. Times are whole seconds since 1970."""

from dataclasses import dataclass
from typing import Final

from narbor.names.cid import Cid
from narbor.names.item import Item, Rendering

ADMIT: Final = "admit"
HOLD: Final = "hold"
COLLECT: Final = "collect"


@dataclass(frozen=True, slots=True)
class Claim:
    """What one upstream said of one item: its text as it came, and the fingerprint it signed."""

    base: str
    upstream: str
    text: bytes
    fingerprint: str
    time: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """An item whose blocks are durable, with the claim it came by, ready to be recorded.

    `build_ids` are (hexadecimal build id, member path). `admission` is the open admission under
    which the blocks were kept.
    """

    item: Item
    claim: Claim
    renderings: tuple[Rendering, ...]
    build_ids: tuple[tuple[str, str], ...]
    admission: int


@dataclass(frozen=True, slots=True)
class Root:
    """The two roots of one item under one cutting profile."""

    profile: str
    tree: Cid
    archive: Cid


@dataclass(frozen=True, slots=True)
class Conflict:
    """An upstream said of an item that is here what cannot be true of it; never merged."""

    base: str
    upstream: str
    text: bytes
    reason: str
    time: int


@dataclass(frozen=True, slots=True)
class Pin:
    """An item that was asked for by name; `alone` if its closure was not asked for with it."""

    base: str
    time: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that an upstream could not give, and why."""

    base: str
    upstream: str
    reason: str
    time: int


@dataclass(frozen=True, slots=True)
class Admission:
    """Work under way, by `process`, with a number that is higher than all before it.

    For `purpose` ADMIT, blocks are kept under it whose items have no row yet. A HOLD spans many of
    these: what is recorded or met while it is open is not swept, though no pin leads to it yet.
    With COLLECT a collection keeps others away.
    """

    id: int
    time: int
    process: str
    purpose: str = ADMIT


@dataclass(frozen=True, slots=True)
class Hidden:
    """An item that no door shows, with those of its references that are absent or incomplete."""

    base: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Totals for a status line; `nar_size` in bytes, of all items together."""

    items: int
    nar_size: int
    hidden: int
    pins: int
    conflicts: int
    failures: int
    logs: int
