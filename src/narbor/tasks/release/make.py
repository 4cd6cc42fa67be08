"""From an evaluation to a release that doors show.

    find ──▶ due ──▶ plan ──▶ record      what there will be, as a release in the making
         ──▶ mirror                       its paths with all they refer to, and its products
         ──▶ stage                        its files, held against the Hydra's hashes
         ──▶ publish ──▶ advance          from here on it is shown; the channel moves
         ──▶ retain                       older releases go

Interrupted at any point, it can be run again: what was fetched is here, what was published is not
made twice. Nobody sees anything of a release before it is published.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from narbor.catalogue import Channel, Package, Release
from narbor.errors import Rejected, Unavailable
from narbor.library import Library
from narbor.library.admission import Keep
from narbor.names import release as names
from narbor.names.file import File
from narbor.names.release import BackInTime
from narbor.names.storepath import StorePath
from narbor.tasks import mirror as mirroring
from narbor.tasks.mirror import Options
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.progress import Failed as NotFetched
from narbor.tasks.progress import Found, Noted, Progress, Skipped
from narbor.tasks.release import descriptions, evaluate, index, stage
from narbor.tasks.release import plan as planning
from narbor.tasks.release.origin import Origin
from narbor.tasks.release.plan import Candidate, Followed, Plan, Unfinished
from narbor.tasks.release.retention import Retention, expendable
from narbor.tasks.release.stage import Unfit
from narbor.tasks.release.wants import EXPRESSIONS

_SOME: Final = 3


class HeldBack(Unavailable):
    """A release is not published: something that it must have is missing."""


class NothingFinished(Unavailable):
    """A Hydra has nothing to release; it may have nothing of this name at all."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the releases of a channel are made.

    `target` is the cache that they name. `allowed` tells how many of so many listed paths may be
    missing. `mirror` says how to fetch; what is fetched is not pinned: the release keeps it. With
    `programs` the expressions get an index of programs, where they have none. With `every`, all
    evaluations are released that were good since the last one, and not only the newest.
    """

    followed: Followed
    target: str
    allowed: Callable[[int], int]
    mirror: Options = field(default_factory=Options)
    retention: Retention = field(default_factory=Retention)
    programs: bool = False
    every: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to release, for this reason."""

    channel: str
    name: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A release is to be made, with these files; nothing has been fetched yet."""

    plan: Plan
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sized:
    """What is still to be downloaded: so many items, of about so many bytes as they are served."""

    channel: str
    name: str
    items: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Made:
    """A file of the release is in the store, and as it should be."""

    file: File


@dataclass(frozen=True, slots=True)
class Published:
    """A release is shown from now on; `moved` tells whether the channel is at it."""

    channel: str
    name: str
    files: int
    paths: int
    missing: int
    without: int
    moved: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """An older release, or one that never came to be, was taken out."""

    channel: str
    name: str


Event = Nothing | Planned | Sized | Made | Unfit | Published | Removed | Progress


def make(
    terms: Terms,
    origin: Origin,
    library: Library,
    upstreams: Sequence[Upstream],
    clock: Callable[[], int],
) -> Generator[Event, None, None]:
    """Make the newest release of a channel, if there is something new.

    Close the generator to give up. Raises NothingFinished, HeldBack, BackInTime, what planning and
    mirroring raise.
    """
    followed, catalogue = terms.followed, library.catalogue
    channel = catalogue.channel(followed.channel)
    if channel is not None and channel.frozen:
        yield Nothing(followed.channel, channel.current, "the channel is frozen")
        return
    if terms.every:
        yield from _missed(terms, origin, library, upstreams, clock)
    candidate = origin.find()
    if candidate is None:
        raise NothingFinished(f"{followed.channel}: nothing is finished at {origin.name}")
    if planning.due(followed, candidate, catalogue):
        yield from _release(terms, candidate, origin, library, upstreams, clock)
    else:
        # It may have been published by somebody who got no further.
        moved = _settle(library, followed.channel, candidate.name.text, clock())
        reason = "the channel was moved to it" if moved else "it is published already"
        yield Nothing(followed.channel, candidate.name.text, reason)
    yield from retain(library, followed.channel, terms.retention, clock())


def _missed(
    terms: Terms,
    origin: Origin,
    library: Library,
    upstreams: Sequence[Upstream],
    clock: Callable[[], int],
) -> Iterator[Event]:
    """Make the releases that came while nobody looked; one that cannot be made stops no other."""
    channel = terms.followed.channel
    known = (each.evaluation for each in library.releases(channel) if each.published is not None)
    since = max(filter(None, known), default=None)
    if since is None:
        return  # at first, the newest is where to begin
    for candidate in origin.missed(since):
        try:
            if planning.due(terms.followed, candidate, library.catalogue):
                yield from _release(terms, candidate, origin, library, upstreams, clock)
        except (BackInTime, HeldBack) as error:
            yield Noted(str(error))


def wanted(terms: Terms, origin: Origin, library: Library) -> Plan | None:
    """Return the plan of what `make` would make, and write nothing; None if that is nothing."""
    candidate = origin.find()
    if candidate is None or not planning.due(terms.followed, candidate, library.catalogue):
        return None
    return origin.plan(candidate)


def needed(plan: Plan) -> list[StorePath]:
    """Return what must be mirrored for a plan: all it lists, and where its products lie."""
    return list(dict.fromkeys((*plan.paths, *(chosen.path for chosen in plan.files))))


def _settle(library: Library, channel: str, name: str, now: int) -> bool:
    known = library.release(channel, name)
    if known is None or known.published is None:
        return False
    return library.catalogue.advance(channel, name, now)


def _release(
    terms: Terms,
    candidate: Candidate,
    origin: Origin,
    library: Library,
    upstreams: Sequence[Upstream],
    clock: Callable[[], int],
) -> Iterator[Event]:
    try:
        plan = origin.plan(candidate)
    except Unfinished as error:
        # It will be, and nobody need be told of it as of a failure.
        yield Nothing(terms.followed.channel, candidate.name.text, str(error))
        return
    yield Planned(plan, origin.offered(plan))
    yield from map(Noted, origin.notes())
    if plan.lacking:
        reasons = "; ".join(f"{each.want.job}: {each.reason}" for each in plan.lacking)
        raise HeldBack(f"{plan.channel}: {plan.name} lacks what it must have: {reasons}")
    # Products are reached from no release: what they lie in stays while this lasts.
    with library.hold():
        planning.record(plan, library.catalogue, clock())
        yield from _fetch(terms, plan, library, upstreams)
        missing = _require_paths(terms, plan, library)
        yield from _publish(terms, candidate, plan, origin, library, missing, clock())


def _fetch(
    terms: Terms, plan: Plan, library: Library, upstreams: Sequence[Upstream]
) -> Iterator[Event]:
    """Mirror; tell what is to be downloaded before it begins."""
    # All claims come first: else nobody knew how much there will be.
    options = replace(
        terms.mirror, closure=True, pin=False, print_only=False, head_start=float("inf")
    )
    told = False
    for step in mirroring.mirror(library, upstreams, needed(plan), options):
        if not (told or isinstance(step, Found | Skipped | NotFetched | Noted)):
            told = True
            counts = step.counts
            items = counts.wanted - counts.failed
            yield Sized(plan.channel, plan.name.text, items, counts.expected)
        yield step


def _require_paths(terms: Terms, plan: Plan, library: Library) -> int:
    """Return how many of the listed paths are missing; raises HeldBack when these are too many."""
    lacking = [each.base for each in library.catalogue.lacking(plan.channel, plan.name.text)]
    allowed = terms.allowed(len(plan.paths))
    if len(lacking) > allowed:
        some = ", ".join(lacking[:_SOME])
        raise HeldBack(
            f"{plan.channel}: {plan.name} is held back: of {len(plan.paths)} paths {len(lacking)} "
            f"are missing, {allowed} may be ({some} ...; `narbor release show` says why)"
        )
    return len(lacking)


def _publish(
    terms: Terms,
    candidate: Candidate,
    plan: Plan,
    origin: Origin,
    library: Library,
    missing: int,
    now: int,
) -> Iterator[Event]:
    catalogue, name = library.catalogue, plan.name.text
    at = stage.Circumstances(terms.target, candidate.evaluation.timestamp or now, now)
    files: list[File] = []
    without = [(each.want.file or each.want.job, each.reason) for each in plan.absent]
    with library.keeping() as keep:
        for step in origin.files(library, plan, at, keep):
            if isinstance(step, File):
                files.append(step)
                yield Made(step)
                continue
            without.append((step.file, step.reason))
            yield step
            if step.required:
                what = f"{plan.channel}: {plan.name} cannot have its {step.file}"
                raise HeldBack(f"{what}: {step.reason}")
        packages, told = _packages(terms, plan, files, library)
        yield from told
        for file in files:
            complaint = descriptions.add(library, plan.channel, name, file)
            without += [] if complaint is None else [(file.name, complaint)]
        files, notes = _indexed(terms, plan, packages, files, library, keep)
        yield from notes
        for file in stage.own(plan, at, tuple(files), keep):
            files.append(file)
            yield Made(file)
        catalogue.record_files(plan.channel, name, files, without)
    catalogue.publish_release(plan.channel, name, now)
    moved = catalogue.advance(plan.channel, name, now)
    yield Published(plan.channel, name, len(files), len(plan.paths), missing, len(without), moved)


def _packages(
    terms: Terms, plan: Plan, files: list[File], library: Library
) -> tuple[Sequence[Package], list[Noted]]:
    """Return the packages of a plan; where it has none, a Nix that is here evaluates them."""
    expressions = next((file for file in files if file.name == EXPRESSIONS), None)
    if plan.packages or expressions is None or not evaluate.can_evaluate():
        return plan.packages, []
    systems = terms.followed.selection.systems
    try:
        source = library.content(expressions.root)
        found = tuple(evaluate.packages(source, systems, library.store))
    except (Rejected, Unavailable) as error:
        return (), [Noted(f"{plan.name}: its packages stay unknown: {error}")]
    library.catalogue.record_packages(plan.channel, plan.name.text, found)
    return found, [Noted(f"{plan.name}: {len(found)} packages, found by evaluating")]


def _indexed(
    terms: Terms,
    plan: Plan,
    packages: Sequence[Package],
    files: list[File],
    library: Library,
    keep: Keep,
) -> tuple[list[File], list[Noted]]:
    """Put the programs of all packages into the expressions, where these came without them."""
    number = next((n for n, file in enumerate(files) if file.name == EXPRESSIONS), None)
    if number is None or not (terms.programs and packages):
        return files, []
    old = files[number]

    def source() -> Iterator[bytes]:
        return library.content(old.root)

    try:
        if not index.lacks(source()):
            return files, []
        root, seal = keep(index.put(library, packages, source, old.modified))
    except Rejected as error:
        # Shells do without it; so it has always been.
        return files, [Noted(f"{plan.name}: {EXPRESSIONS} stays without {index.FILE}: {error}")]
    new = File(old.name, root, seal, old.modified)
    return [*files[:number], new, *files[number + 1 :]], []


def retain(library: Library, channel: str, retention: Retention, now: int) -> Iterator[Removed]:
    """Take out the releases of a channel that may go, and what was begun and has been overtaken.

    Their room comes free with the next collection.
    """
    found = library.channel(channel)
    if found is None:
        return
    releases = library.releases(channel)
    for each in (*_overtaken(found, releases), *expendable(found, releases, retention, now)):
        library.catalogue.remove_release(channel, each.name)
        yield Removed(channel, each.name)


def _overtaken(channel: Channel, releases: Sequence[Release]) -> Iterator[Release]:
    if channel.reached is None:
        return
    reached = names.parse(channel.reached)
    for each in releases:
        if each.published is None and not names.newer(names.parse(each.name), reached):
            yield each
