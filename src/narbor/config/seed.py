"""The configuration file of nixipfs-scripts (JSON), read as ours.

    hydra, cache, target_cache, repo     the same for every channel: hydra, caches, public-url, repo
    max_threads                          [mirror] jobs
    releases[].channel, project, jobset, job, keep      name, project, jobset, job, keep
    releases[].mirror                    tarballs

What else it had, or had otherwise, is told by `notes`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from narbor.config.errors import BadConfig


class _Release(Struct, forbid_unknown_fields=True):
    channel: str
    project: str
    jobset: str
    job: str | None = None
    keep: Annotated[int, Meta(ge=1)] | None = None
    mirror: bool = False


class _Seed(Struct, forbid_unknown_fields=True):
    hydra: str
    cache: str
    target_cache: str
    releases: list[_Release]
    repo: str | None = None
    max_threads: Annotated[int, Meta(ge=1)] = 7
    max_ipfs_threads: int | None = None


def values(text: str, source: Path) -> dict[str, Any]:
    """Return what a file says, as `narbor.toml` would; raises BadConfig."""
    seed = _read(text, source)
    channels = []
    for release in seed.releases:
        channel: dict[str, Any] = {
            "name": release.channel,
            "hydra": seed.hydra,
            "project": release.project,
            "jobset": release.jobset,
            "caches": [seed.cache],
            "public-url": seed.target_cache,
            "tarballs": release.mirror,
        }
        said = {"job": release.job, "keep": release.keep, "repo": seed.repo}
        channels.append(channel | {key: value for key, value in said.items() if value is not None})
    return {"channel": channels, "mirror": {"jobs": min(seed.max_threads, 256)}}


def notes(text: str, source: Path) -> Iterator[str]:
    """Tell what is otherwise than it was under such a file."""
    seed = _read(text, source)
    yield (
        f"signatures are checked: what {seed.cache} gives must be signed by a key that is trusted "
        "(known caches' keys are; others belong into `keys`)"
    )
    yield "releases are kept in the store, under --home; `narbor export` writes them as folders"
    yield (
        "target_cache is public-url now: where this narbor is reached, not only what "
        "binary-cache-url says"
    )
    if seed.max_ipfs_threads is not None:
        yield "max_ipfs_threads never did anything, and does nothing here"
    without = [each.channel for each in seed.releases if each.job is None]
    if without:
        yield f"without a job the newest finished evaluation is released: {', '.join(without)}"
    kept = [each.channel for each in seed.releases if each.keep is not None]
    if kept:
        yield "keep holds whenever releases are made, in the order of versions; no --gc is needed"
    if seed.repo is None and any(each.mirror for each in seed.releases):
        yield "there is no repo: `narbor tarballs` needs one, or a prepared list"


def _read(text: str, source: Path) -> _Seed:
    try:
        return msgspec.convert(json.loads(text), _Seed)
    except json.JSONDecodeError as error:
        raise BadConfig(f"{source}, line {error.lineno}: this is no JSON: {error.msg}") from error
    except msgspec.ValidationError as error:
        raise BadConfig(f"{source}: {str(error).replace('$.', '')}") from error
