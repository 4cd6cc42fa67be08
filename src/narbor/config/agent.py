"""How this machine's substituter works (table `agent`)."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct


class Agent(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Where the agent listens, whom it asks, and what it keeps.

    `upstreams` are caches, asked for narinfos in this order; `sources` have blocks: other narbors,
    gateways. `folder` holds the agent's own store, of at most `size` bytes; None: a folder of the
    user's caches. `seeds` is a Nix store to take content from; an empty path is none.
    """

    listen: str = "127.0.0.1:8643"
    upstreams: tuple[str, ...] = ("https://cache.nixos.org",)
    sources: tuple[str, ...] = ()
    folder: Path | None = None
    size: Annotated[int, Meta(ge=1_000_000)] = 5_000_000_000
    seeds: Path = Path("/nix/store")
    priority: Annotated[int, Meta(ge=0)] = 30
