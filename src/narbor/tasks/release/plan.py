"""What a release will consist of, before anything of it is fetched.

`find` asks which evaluation a channel should be released from, `due` whether that is something new,
`plan` goes through the evaluation: the files it offers and those it lacks, the store paths, the
packages. `record` writes the plan into the catalogue. Nothing here looks at a byte of an item.

An evaluation is read as one list of builds where the Hydra can give it. Of one that is too large
for that (`builds=False`) the list of store paths is taken, and each file's job is asked for;
packages are then learnt one by one, by `resolve`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from narbor.catalogue import Catalogue, Package, Release
from narbor.errors import Refused, Rejected, Unavailable
from narbor.formats.hydra import Build, Evaluation
from narbor.names import release
from narbor.names.release import MalformedRelease, ReleaseName
from narbor.names.storepath import StorePath
from narbor.tasks.release import packages
from narbor.tasks.release.wants import Absent, Chosen, NoProduct, Want, choose
from narbor.upstream.hydra import Hydra, Selection

_REVISION: Final = re.compile(r"[0-9A-Za-z._\-]{1,128}", re.ASCII)
_COMMIT: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")


class NoRevision(Refused):
    """An evaluation does not say which commit it was made from."""


class NoEvaluation(Rejected):
    """A build is part of no evaluation that can be had."""


class Unfinished(Unavailable):
    """Some builds of an evaluation are still under way."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Where the releases of a channel come from.

    `job` names the release, and tells which evaluation is good (`tested`); without it the newest
    finished evaluation of the jobset is taken. `input` is the one whose revision the release has.
    `prefix` stands before the attributes of packages in job names; other jobs are no packages.
    """

    channel: str
    project: str
    jobset: str
    job: str | None
    wants: tuple[Want, ...]
    input: str = "nixpkgs"
    prefix: str = ""
    selection: Selection = field(default_factory=Selection)
    store: str = "/nix/store"
    builds: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """The newest that a channel could be released from."""

    name: ReleaseName
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many builds, and outputs of builds that succeeded, are not in a release, and why."""

    failed: int = 0
    unselected: int = 0
    outputs_without_path: int = 0
    outputs_of_other_stores: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a release will consist of. `paths` are sorted, each once."""

    channel: str
    name: ReleaseName
    evaluation: int
    source: str
    revision: str
    files: tuple[Chosen, ...]
    absent: tuple[Absent, ...]
    paths: tuple[StorePath, ...]
    packages: tuple[Package, ...]
    left_out: LeftOut

    @property
    def lacking(self) -> tuple[Absent, ...]:
        """What is absent and without which there can be no release."""
        return tuple(each for each in self.absent if each.want.required)

    def listing(self) -> Iterator[bytes]:
        """Give `store-paths` line by line, each with its line feed."""
        return (f"{path}\n".encode() for path in self.paths)


def find(followed: Followed, hydra: Hydra) -> Candidate | None:
    """Ask for the newest that could be released; None when there is nothing yet.

    Where a build belongs to several evaluations, it is the newest finished one of the jobset if
    the build is in that, else the one that made it. Raises NoEvaluation and what the Hydra raises.
    """
    latest = hydra.latest(followed.project, followed.jobset)
    if followed.job is None:
        return None if latest is None else Candidate(_numbered(followed, latest), latest)
    build = hydra.latest_finished(followed.project, followed.jobset, followed.job)
    if build is None:
        return None
    if latest is not None and latest.id in build.evaluations:
        evaluation: Evaluation | None = latest
    else:
        evaluation = hydra.evaluation(min(build.evaluations)) if build.evaluations else None
    if evaluation is None:
        raise NoEvaluation(f"{hydra.name}: build {build.id} is part of no evaluation")
    try:
        name = release.parse(build.name)
    except MalformedRelease:
        name = _numbered(followed, evaluation)
    return Candidate(name, evaluation)


def _numbered(followed: Followed, evaluation: Evaluation) -> ReleaseName:
    """A name for what has none: the channel's, with the evaluation's number as version."""
    return release.parse(f"{followed.channel}-{evaluation.id}")


def due(followed: Followed, candidate: Candidate, catalogue: Catalogue) -> bool:
    """Tell whether there is something to release.

    False for what is published, and for what a channel is at under another name. Raises BackInTime
    for what is older than the channel ever was.
    """
    known = catalogue.release(followed.channel, candidate.name.text)
    if known is not None and known.published is not None:
        return False
    channel = catalogue.channel(followed.channel)
    reached = None if channel is None else channel.reached
    return release.forward(candidate.name, None if reached is None else release.parse(reached))


def plan(followed: Followed, candidate: Candidate, hydra: Hydra) -> Plan:
    """Go through an evaluation; raises NoRevision, Unfinished, and what the Hydra raises.

    What is absent is in the plan, with the reason.
    """
    evaluation = candidate.evaluation
    revision = _revision(followed, evaluation)
    gathered = _Gathered(followed)
    if followed.builds:
        gathered.read(hydra.builds(evaluation.id), evaluation.id)
    else:
        if not followed.selection.everything:
            raise Refused(
                f"{followed.channel}: systems and names can only be selected where the list of "
                "builds is read"
            )
        gathered.take(hydra.store_paths(evaluation.id))
        for job in dict.fromkeys(want.job for want in followed.wants):
            gathered.ask(hydra, evaluation.id, job)
    files, absent = _choose(followed, gathered)
    return Plan(
        followed.channel,
        candidate.name,
        evaluation.id,
        hydra.address(evaluation.id),
        revision,
        tuple(files),
        tuple(absent),
        tuple(sorted(gathered.paths, key=lambda path: path.base)),
        tuple(gathered.packages),
        gathered.left_out(),
    )


def record(plan: Plan, catalogue: Catalogue, time: int) -> None:
    """Write a plan into the catalogue as a release in the making, with its packages."""
    made = Release(plan.channel, plan.name.text, plan.evaluation, plan.source, plan.revision, time)
    catalogue.record_release(made, (path.base for path in plan.paths))
    catalogue.record_packages(plan.channel, plan.name.text, plan.packages)


def resolve(
    followed: Followed, catalogue: Catalogue, hydra: Hydra, attribute: str, system: str
) -> Package | None:
    """Return a package of the release that a channel is at.

    One that the catalogue does not know yet is asked for and remembered: of evaluations that are
    too large to be read as a whole, packages are learnt one by one. Raises what the Hydra raises.
    """
    known = catalogue.package(followed.channel, attribute, system)
    at = catalogue.channel(followed.channel)
    if known is not None or at is None or at.current is None:
        return known
    release = catalogue.release(followed.channel, at.current)
    if release is None or release.evaluation is None:
        return None
    build = hydra.job(release.evaluation, f"{followed.prefix}{attribute}.{system}")
    found = None if build is None else packages.of_build(build, followed.prefix, followed.store)
    if found is not None:
        catalogue.record_packages(followed.channel, release.name, [found])
    return found


class _Gathered:
    """What has been learnt of an evaluation so far."""

    def __init__(self, followed: Followed) -> None:
        self.paths: set[StorePath] = set()
        self.packages: list[Package] = []
        self.jobs: dict[str, Build] = {}
        self.troubles: dict[str, str] = {}
        self._followed = followed
        self._wanted = {want.job for want in followed.wants}
        self._failed = self._unselected = self._without_path = self._foreign = 0

    def read(self, builds: Iterable[Build], evaluation: int) -> None:
        """Go through all builds; raises Unfinished if one that counts is under way."""
        selected = self._followed.selection.test()
        unfinished: list[str] = []
        for build in builds:
            # The files of a release are named one by one: no selection applies to them.
            if build.job in self._wanted:
                self._keep(build)
            if not selected(build):
                self._unselected += 1
            elif not build.finished:
                unfinished.append(build.job)
            elif not build.succeeded:
                self._failed += 1
            else:
                self._succeeded(build)
        if unfinished:
            raise Unfinished(
                f"evaluation {evaluation} has {len(unfinished)} unfinished builds "
                f"({', '.join(sorted(unfinished)[:3])} ...)"
            )

    def take(self, paths: Iterable[StorePath]) -> None:
        """Take a list of paths."""
        for path in paths:
            if path.store == self._followed.store:
                self.paths.add(path)
            else:
                self._foreign += 1

    def ask(self, hydra: Hydra, evaluation: int, job: str) -> None:
        """Ask for the build of one job; what is wrong with it is kept as its trouble."""
        try:
            build = hydra.job(evaluation, job)
        except (Rejected, Unavailable) as error:
            self.troubles[job] = str(error)
            return
        if build is not None:
            self.jobs[job] = build

    def left_out(self) -> LeftOut:
        """Return the counts."""
        return LeftOut(self._failed, self._unselected, self._without_path, self._foreign)

    def _keep(self, build: Build) -> None:
        known = self.jobs.get(build.job)
        if known is None or (build.succeeded and not known.succeeded):
            self.jobs[build.job] = build

    def _succeeded(self, build: Build) -> None:
        listed = packages.listed(build)
        for output in build.outputs:
            if output.path is None:
                self._without_path += 1
            elif output.path.store != self._followed.store:
                self._foreign += 1
            elif listed:
                self.paths.add(output.path)
        package = packages.of_build(build, self._followed.prefix, self._followed.store)
        if package is not None:
            self.packages.append(package)


def _choose(followed: Followed, gathered: _Gathered) -> tuple[list[Chosen], list[Absent]]:
    files: dict[str, Chosen] = {}
    absent = []
    for want in followed.wants:
        try:
            build = gathered.jobs.get(want.job)
            if build is None:
                trouble = gathered.troubles.get(want.job)
                raise NoProduct(trouble or f"the evaluation has no job {want.job}")
            chosen = choose(want, build, followed.store)
            if chosen.file in files:
                other = files[chosen.file].job
                raise NoProduct(f"{other} has a file of the same name, {chosen.file}")
            files[chosen.file] = chosen
        except NoProduct as error:
            absent.append(Absent(want, str(error)))
    return list(files.values()), absent


def _revision(followed: Followed, evaluation: Evaluation) -> str:
    """The revision of the input that counts, or the one commit in a flake's locked reference."""
    wanted = evaluation.inputs.get(followed.input)
    text = wanted.revision if wanted is not None else None
    if text is None and evaluation.flake is not None:
        commits = set(_COMMIT.findall(evaluation.flake))
        text = commits.pop() if len(commits) == 1 else None
    if text is None or _REVISION.fullmatch(text) is None:
        has = ", ".join(name for name, each in evaluation.inputs.items() if each.revision)
        raise NoRevision(
            f"{followed.channel}: evaluation {evaluation.id} has no input {followed.input} with a "
            f"revision (it has {has or 'none'})"
        )
    return text
