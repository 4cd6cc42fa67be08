"""From the channels of the configuration to releases: what several commands do with them."""

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict

from narbor import wiring
from narbor.catalogue import Lacking
from narbor.cli import tarballs
from narbor.cli.out import Bar, Out, amount
from narbor.config import Channel, Config
from narbor.errors import NarborError, Refused
from narbor.library import Library
from narbor.net.http import Http
from narbor.tasks.mirror import Options
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.progress import Admitted, Done, Failed, Found, Moved, Noted, Progress
from narbor.tasks.release import make as making
from narbor.tasks.release import wants
from narbor.tasks.release.lock import locked
from narbor.tasks.release.make import (
    Event,
    HeldBack,
    Made,
    Nothing,
    Planned,
    Published,
    Removed,
    Sized,
    Terms,
)
from narbor.tasks.release.origin import FromChannel, FromHydra, Origin
from narbor.tasks.release.plan import Followed
from narbor.tasks.release.retention import Retention
from narbor.tasks.release.stage import Unfit
from narbor.tasks.release.wants import Want
from narbor.upstream.channel import ChannelServer
from narbor.upstream.hydra import Hydra, Selection

MANY = 20
_DAY = 86_400


class NoSuchChannel(Refused):
    """A channel that is named is not in the configuration, or there is none at all."""


def chosen(config: Config, names: Sequence[str]) -> list[Channel]:
    """Return the channels of these names, all without any; raises NoSuchChannel."""
    known = {channel.name: channel for channel in config.channel}
    if not known:
        raise NoSuchChannel(
            "the configuration has no [[channel]]; `narbor config example` shows how one is written"
        )
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NoSuchChannel(
            f"the configuration has no channel {', '.join(unknown)} (but {', '.join(known)})"
        )
    return [known[name] for name in dict.fromkeys(names or known)]


def followed(channel: Channel, store: str) -> Followed:
    """Return where the releases of a channel come from."""
    wanted = wants.usual(channel.name)
    if channel.products is not None:
        wanted = tuple(
            Want(each.job, each.file, each.number, each.type, each.subtype, each.required)
            for each in channel.products
        )
    return Followed(
        channel.name,
        channel.project or "",
        channel.jobset or "",
        channel.job,
        wanted,
        channel.input,
        wants.prefix(channel.name) if channel.prefix is None else channel.prefix,
        Selection(channel.systems, channel.names, channel.without),
        store,
        channel.builds,
    )


def origin(config: Config, channel: Channel, http: Http) -> Origin:
    """Return where the releases of a channel come from."""
    if channel.channel_url is not None:
        server = ChannelServer(channel.channel_url, http)
        return FromChannel(channel.name, server, config.store, channel.files)
    return FromHydra(followed(channel, config.store), Hydra(channel.hydra, http))


def terms(config: Config, channel: Channel) -> Terms:
    """Return how the releases of a channel are made."""
    seconds = None if channel.keep_days is None else channel.keep_days * _DAY
    return Terms(
        followed(channel, config.store),
        channel.target,
        channel.allowed,
        Options(
            jobs=config.mirror.jobs,
            logs=channel.logs or config.mirror.logs,
            realisations=True,
            min_free=config.min_free,
        ),
        Retention(channel.keep, seconds, channel.pinned),
        programs=channel.name.startswith("nixos"),
        every=channel.every,
    )


def upstreams(config: Config, channel: Channel, http: Http) -> list[Upstream]:
    """Return the caches of a channel, with whom to believe; raises BadConfig, CorruptKey."""
    ring = wiring.keyring(config, channel.keys, channel.caches)
    return [wiring.believed(url, http, ring, channel.trusted) for url in channel.caches]


def release(config: Config, channel: Channel, library: Library, http: Http, out: Out) -> int:
    """Make the newest release of a channel, if there is something new, and say all that happens.

    Returns an exit code: 0 all well, 1 published or held back with something missing, 2 the
    configuration is wrong, 3 nothing could be done. Failures are said here, and raise nothing.
    """
    try:
        with locked(config.home / "locks", channel.name, wiring.process()):
            steps = making.make(
                terms(config, channel),
                origin(config, channel, http),
                library,
                upstreams(config, channel, http),
                lambda: int(time.time()),
            )
            with closing(steps):
                done, code = _shown(channel, steps, out)
    except (NarborError, OSError) as error:
        return _failed(channel, error, out)
    if done is not None:
        facts = {"NARBOR_RELEASE": done.name}
        code = max(code, _hook(channel, channel.on_success, facts, out))
    if channel.tarballs:
        code = max(code, tarballs.of_channel(config, channel, library, out))
    return code


def _failed(channel: Channel, error: Exception, out: Out) -> int:
    reason = str(error)
    if not reason.startswith(channel.name):
        reason = f"{channel.name}: {reason}"
    out.warn(reason)
    if out.json:
        out.event({"event": "notreleased", "channel": channel.name, "reason": reason})
    _hook(channel, channel.on_failure, {"NARBOR_REASON": reason}, out)
    if isinstance(error, HeldBack):
        return 1
    return 2 if isinstance(error, Refused) else 3


def _shown(channel: Channel, steps: Iterable[Event], out: Out) -> tuple[Published | None, int]:
    """Follow the steps to their end; return what was published, and the exit code."""
    published: Published | None = None
    code = 0
    with ExitStack() as stack:
        bar: Bar | None = None
        for step in steps:
            if isinstance(step, Published):
                published = step
            code |= isinstance(step, Unfit)
            if out.json:
                _tell(channel, step, out)
            if bar is None and not isinstance(step, Nothing | Removed):
                bar = stack.enter_context(out.bar(channel.name))
            _say(step, bar, out)
    return published, code


def _tell(channel: Channel, step: Event, out: Out) -> None:
    """Give a step as a line of JSON; what comes a hundred times a second is left out."""
    if isinstance(step, Moved | Found):
        return
    name = type(step).__name__.lower()
    facts: dict[str, object] = {"event": name, "channel": channel.name}
    match step:
        case Planned(plan, files):
            facts |= {
                "release": plan.name.text,
                "evaluation": plan.evaluation,
                "revision": plan.revision,
                "paths": len(plan.paths),
                "packages": len(plan.packages),
                "files": list(files),
                "absent": [{"job": e.want.job, "reason": e.reason} for e in plan.absent],
                "leftOut": asdict(plan.left_out),
            }
        case Made(file):
            facts |= {"file": file.name, "size": file.seal.size, "sha256": file.seal.digest.hex}
        case _:
            facts |= asdict(step)
    out.event(facts)


def _say(step: Event, bar: Bar | None, out: Out) -> None:
    say = out.say if bar is None else bar.say
    match step:
        case Nothing(channel, name, reason):
            say(f"{channel}: {name + ': ' if name else ''}{reason}")
        case Planned(plan, files):
            say(
                f"{plan.channel}: {plan.name} of {plan.source}: "
                f"{len(plan.paths):,} paths, {len(files)} files"
            )
            for each in plan.absent:
                say(f"{plan.channel}: without {each.want.file or each.want.job}: {each.reason}")
        case Sized(channel, name, items, size):
            say(f"{channel}: {name}: {items:,} items to download, {amount(size)}")
        case Unfit(file, reason):
            out.warn(f"failed: {file}: {reason}")
        case Published():
            say(_spelt(step))
        case Removed(channel, name):
            say(f"{channel}: {name} was taken out; `narbor collect` frees its room")
        case Made():
            pass
        case _ if bar is not None:
            _follow(step, bar, out)


def _spelt(done: Published) -> str:
    missing = f", {done.missing:,} of them missing" if done.missing else ""
    at = "and the channel is at it" if done.moved else "but the channel stays where it is"
    return (
        f"{done.channel}: {done.name} is published ({done.files} files, {done.paths:,} paths"
        f"{missing}), {at}"
    )


def _follow(step: Progress, bar: Bar, out: Out) -> None:
    counts = step.counts
    bar.update(counts.done, counts.wanted, counts.fetched, counts.expected)
    match step:
        case Noted(text):
            bar.say(f"narbor: {text}")
        case Admitted(path, upstream, _, str(difference)):
            bar.say(f"narbor: {path}: {upstream}: {difference}")
        case Done(failed):
            shown = failed if out.verbose else failed[:MANY]
            for each in shown:
                out.warn(f"failed: {each.path}: {_why(each)}")
            if len(failed) > len(shown):
                out.warn(f"... and {len(failed) - MANY:,} more; `narbor failed` lists them all")


def _why(failed: Failed) -> str:
    return "; ".join(f"{upstream}: {reason}" for upstream, reason in failed.reasons)


def because(lacking: Lacking) -> str:
    """Say why a path that a release lists is missing."""
    parts = [f"{upstream}: {reason}" for upstream, reason in lacking.reasons]
    if lacking.here:
        parts.insert(0, f"here, but not what it refers to: {', '.join(lacking.missing)}")
    return "; ".join(parts) or "nobody was asked for it yet"


def _hook(channel: Channel, words: Sequence[str], facts: dict[str, str], out: Out) -> int:
    """Run a program of the configuration, if one is named; a failure is said, and gives 1."""
    if not words:
        return 0
    environment = {**os.environ, "NARBOR_CHANNEL": channel.name, **facts}
    try:
        # What it says goes to the person; standard output is for results.
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=out.stderr, check=False
        )
    except OSError as error:
        out.warn(f"{channel.name}: {words[0]} cannot be run: {error.strerror}")
        return 1
    if done.returncode:
        out.warn(f"{channel.name}: {words[0]} ended with {done.returncode}")
    return 1 if done.returncode else 0


def all_codes(codes: Iterable[int]) -> int:
    """Return one exit code for many channels: one that failed never hides what others did."""
    seen = set(codes)
    return seen.pop() if len(seen) == 1 else max((bool(code) for code in seen), default=0)
