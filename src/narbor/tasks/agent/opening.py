"""An agent put together from those whom it asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from narbor.blocks import BlockSource
from narbor.library import Library
from narbor.net.http import Http
from narbor.tasks.agent import Agent, Limits, Parts
from narbor.tasks.agent.claims import Asked, Claims
from narbor.tasks.agent.seeds import Seeds
from narbor.tasks.gather import Gatherer, Lane
from narbor.tasks.gather.standing import Standing
from narbor.tasks.keep.collect import Circumstances
from narbor.tasks.mirror.sources import Upstream

MANY: Final = 500
"""Names that a narbor is best asked for in one request."""
LANES: Final = 8
"""Requests to one source at one time."""
STALL: Final = 4.0
"""Seconds without any block after which an archive is fetched as a whole."""


def many() -> int:
    """Say that a source is best asked for many blocks at once."""
    return MANY


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom to ask: caches in order, and sources with how many names one request should have.

    `hints` are caches that may know a root which an upstream does not name.
    `clients` speak to them, by where they are: their bytes are counted apart.
    """

    upstreams: Sequence[Upstream]
    sources: Sequence[tuple[BlockSource, Callable[[], int]]]
    clients: Mapping[str, Http]
    hints: Sequence[Upstream] = ()


def agent(
    library: Library,
    asking: Asking,
    seeds: Seeds | None,
    folder: Path,
    at: Callable[[], Circumstances],
    clock: Callable[[], float],
    limits: Limits,
) -> Agent:
    """Return an agent over a library that it may write in; `folder` is for what is being made."""
    upstreams = [Asked(each, Standing(each.cache.name, clock)) for each in asking.upstreams]
    lanes = [
        Lane(source, Standing(source.name, clock), LANES, together)
        for source, together in asking.sources
    ]
    hints = [Asked(each, Standing(each.cache.name, clock)) for each in asking.hints]
    claims = Claims(upstreams, hints, library.store, clock)
    gatherer = Gatherer(lanes, clock, STALL)
    parts = Parts(library, claims, gatherer, seeds, folder, at, clock, asking.clients)
    return Agent(parts, limits)
