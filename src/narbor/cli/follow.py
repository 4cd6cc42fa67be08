"""A cache or a root that is followed: one turn of bringing what a `[[follow]]` names."""

import time
from contextlib import closing

from narbor import wiring
from narbor.cli import mirror, pull, store
from narbor.cli.out import Out
from narbor.config import Config, Follow
from narbor.tasks.mirror import Options
from narbor.tasks.mirror import mirror as bring
from narbor.tasks.release.lock import locked
from narbor.tasks.replicate.arrive import Terms
from narbor.wiring.sources import open_sources


def run(config: Config, wanted: Follow, out: Out) -> int:
    """Bring it once; 1 when something could not be had. Raises what mirroring and pulling raise."""
    if wanted.pulls:
        return _pulled(config, wanted, out)
    how = Options(
        closure=wanted.closure,
        jobs=config.mirror.jobs,
        logs=wanted.logs or config.mirror.logs,
        realisations=True,
        min_free=config.min_free,
    )
    urls = [wanted.url, *wanted.also]
    with (
        locked(config.home / "locks", wanted.name, wiring.process()),
        wiring.open_http(config) as http,
        closing(wiring.open_library(config, write=True)) as library,
    ):
        ring = wiring.keyring(config, wanted.keys, urls)
        upstreams = [wiring.believed(url, http, ring, wanted.trusted) for url in urls]
        words = list(wanted.paths)
        if wanted.store_paths is not None:
            words += wiring.store_paths(wanted.store_paths, upstreams[0].cache)
        paths = dict.fromkeys(store.path_of(word, config.store) for word in words)
        done = mirror.follow(bring(library, upstreams, list(paths), how), out, wanted.name)
    return 1 if done.failed else 0


def _pulled(config: Config, wanted: Follow, out: Out) -> int:
    root = pull.wanted(wanted.url)
    ring = wiring.keyring(config, wanted.keys, wanted.sources)
    with (
        locked(config.home / "locks", wanted.name, wiring.process()),
        open_sources(config, wanted.sources, config.mirror.jobs) as sources,
        closing(wiring.open_library(config, write=True)) as library,
    ):
        now, process = int(time.time()), wiring.process()
        terms = Terms(ring, wanted.trusted, now, process, config.min_free, name=wanted.name)
        return 1 if pull.take_in(library, root, sources, terms, out) else 0
