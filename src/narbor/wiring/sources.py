"""Others that have blocks, narbors and trustless gateways, asked all at once."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from narbor.blocks.either import EitherSource
from narbor.config import BadConfig, Config
from narbor.net.http import Http
from narbor.tasks.gather import Gatherer, Lane
from narbor.tasks.gather.standing import Standing
from narbor.wiring.upstreams import outward, upstream_url

_STALL: Final = 120.0  # seconds without any block after which nobody is waited for


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom to ask: for records one by one, for blocks all at once."""

    each: tuple[EitherSource, ...]
    gatherer: Gatherer


@contextmanager
def open_sources(config: Config, urls: Sequence[str], jobs: int) -> Iterator[Sources]:
    """Open ways to all these URLs, for so many requests to each at one time; closed in the end.

    Raises BadConfig.
    """
    full = [upstream_url(url) for url in dict.fromkeys(urls)]
    for url in full:
        if not url.startswith("http"):
            raise BadConfig(f"{url}: roots are pulled over http and https alone")
    options = replace(
        outward(config),
        connect=10.0,
        read=20.0,
        attempts=3,
        rate=config.mirror.rate * 1_000_000,
        connections=max(64, jobs * len(full)),
    )
    http = Http(options)
    each = tuple(EitherSource(url, http) for url in full)
    lanes = [Lane(one, Standing(one.name, time.monotonic), jobs, one.together) for one in each]
    gatherer = Gatherer(lanes, time.monotonic, _STALL)
    try:
        yield Sources(each, gatherer)
    finally:
        http.give_up()
        gatherer.close(wait=True)
        http.close()
