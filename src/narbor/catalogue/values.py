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


@dataclass(frozen=True, slots=True)
class Publication:
    """The root of a published directory with so many `items`, and what it was made from.

    `hidden` counts the items of the catalogue that are not in it. What `horizon`, an admission, or
    a later one recorded may have come since. `settings` is a digest of what else decides it.
    """

    root: Cid
    items: int
    hidden: int
    horizon: int
    settings: str
    time: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The root of any DAG that came from elsewhere, kept with all below it under a name."""

    name: str
    root: Cid
    time: int


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: the release it is at, the newest it was ever at, and whether it stands still."""

    name: str
    current: str | None
    reached: str | None
    frozen: bool
    time: int


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a channel. `published` is the time from which on it may be shown.

    `source` is the address it was released from, `evaluation` its number there, if it has one;
    `revision` is the git commit of its expressions.
    """

    channel: str
    name: str
    evaluation: int | None
    source: str
    revision: str
    time: int
    published: int | None = None


@dataclass(frozen=True, slots=True)
class Lacking:
    """A path that a release lists and doors do not show: absent, or here without its closure.

    `missing` are the references that it lacks; `reasons` what upstreams said (upstream, reason)
    when the path, or one of these, could not be had.
    """

    base: str
    here: bool
    missing: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a release: where it stands in the expressions, and what it puts out.

    `name` is the derivation's, with the version. `outputs` are (name, base name of the path), the
    first one the default; an output that was not built is not among them.
    """

    attribute: str
    system: str
    name: str
    outputs: tuple[tuple[str, str], ...]
    description: str = ""
