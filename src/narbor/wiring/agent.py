"""The agent of one machine: its own store, whom it asks, and its door."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from narbor import config as configuration
from narbor.blocks import BlockSource
from narbor.blocks.either import EitherSource
from narbor.blocks.narbor import NarborSource
from narbor.config import Config
from narbor.dag import profile
from narbor.doors.agent import AgentDoor
from narbor.net import credentials
from narbor.net.http import Http
from narbor.net.wire import Options
from narbor.tasks.agent import Agent, Limits, opening
from narbor.tasks.agent.seeds import Seeds
from narbor.tasks.keep.collect import Circumstances
from narbor.tasks.mirror.sources import Upstream
from narbor.upstream.cache import HttpCache
from narbor.upstream.nixstore import NixStore
from narbor.wiring.keys import keyring
from narbor.wiring.processes import alive, now, process
from narbor.wiring.stores import open_library
from narbor.wiring.upstreams import believed, outward, upstream_url


def agent_home(config: Config) -> Path:
    """Return where the agent's own store lies."""
    if config.agent.folder is not None:
        return config.agent.folder
    said = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(said) if said.startswith("/") else Path.home() / ".cache"
    return base / "narbor" / "agent"


def open_agent(config: Config) -> tuple[Agent, AgentDoor]:
    """Open the agent's store and make the agent, and the door to it.

    Raises what `open_library` raises, BadConfig and CorruptKey for upstreams and keys.
    """
    said, folder = config.agent, agent_home(config)
    ring = keyring(config, (), said.upstreams)
    clients = {upstream_url(url): Http(_hasty(config)) for url in (*said.upstreams, *said.sources)}
    upstreams: list[Upstream] = []
    hints: list[Upstream] = []
    sources: list[tuple[BlockSource, Callable[[], int]]] = []
    given = dict.fromkeys(map(upstream_url, said.sources))
    for url in given:
        either = EitherSource(url, clients[url])
        sources.append((either, either.together))
        hints.append(Upstream(HttpCache(url, clients[url]), ring))
    for url in said.upstreams:
        http = clients[upstream_url(url)]
        upstream = believed(url, http, ring)
        upstreams.append(upstream)
        if isinstance(upstream.cache, HttpCache) and upstream_url(url) not in given:
            sources.append((NarborSource(http, upstream.cache.url), opening.many))
    named = {credentials.bare(url): http for url, http in clients.items()}
    asking = opening.Asking(upstreams, sources, named, hints)
    seeds = None
    if said.seeds.is_absolute():
        seeds = Seeds(NixStore(said.seeds), profile.named(config.profile))
    library = open_library(configuration.replace(config, home=folder), write=True)

    def at() -> Circumstances:
        return Circumstances(now(), config.grace, process(), alive)

    limits = Limits(said.size, config.min_free)
    made = opening.agent(library, asking, seeds, folder, at, time.monotonic, limits)
    return made, AgentDoor(made, said.priority)


def _hasty(config: Config) -> Options:
    """Return how to speak to upstreams while somebody waits for the answer."""
    return replace(
        outward(config),
        connect=3.0,
        read=5.0,
        patience=5.0,
        attempts=2,
        pause=0.1,
        longest_pause=1.0,
        rate=config.mirror.rate * 1_000_000,
    )
