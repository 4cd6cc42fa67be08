"""Where the releases of a channel come from: a Hydra, or another server of channels."""

import re
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final, Protocol

from narbor.errors import Rejected, Unavailable
from narbor.formats.hydra import Evaluation
from narbor.formats.releasepage import Listed
from narbor.formats.streams import checked
from narbor.library import Library
from narbor.library.admission import Keep
from narbor.names import release, storepath
from narbor.names.file import File
from narbor.tasks.release import plan as planning
from narbor.tasks.release import stage
from narbor.tasks.release.plan import Candidate, Followed, LeftOut, Plan, Unfinished
from narbor.tasks.release.stage import Circumstances, Unfit
from narbor.tasks.release.wants import EXPRESSIONS, OWN_FILES
from narbor.upstream.channel import At, ChannelServer
from narbor.upstream.hydra import Hydra

_EVALUATION: Final = re.compile(r"/eval/([0-9]{1,15})\Z")


class Origin(Protocol):
    """What releases are made from. All of it raises what the server raises that is asked."""

    @property
    def name(self) -> str:
        """Whom to name in messages."""
        ...

    def find(self) -> Candidate | None:
        """Return the newest that could be released; None where there is nothing."""
        ...

    def missed(self, since: int) -> Iterator[Candidate]:
        """Give what could have been released since an evaluation (its number), the oldest first."""
        ...

    def plan(self, candidate: Candidate) -> Plan:
        """Return what the release will consist of."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Tell what should be known of the last plan, and stops nothing."""
        ...

    def offered(self, plan: Plan) -> tuple[str, ...]:
        """Return the names of the files that it gives to a release that has been planned."""
        ...

    def files(
        self, library: Library, plan: Plan, at: Circumstances, keep: Keep
    ) -> Iterator[File | Unfit]:
        """Give these files, in the store and as they should be, or why one cannot be had."""
        ...


class FromHydra:
    """Releases are evaluations of a jobset, their files products of builds."""

    def __init__(self, followed: Followed, hydra: Hydra) -> None:
        self._followed = followed
        self._hydra = hydra
        self._notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The Hydra, and what of it is followed."""
        followed = self._followed
        parts = filter(None, (followed.project, followed.jobset, followed.job))
        return f"{self._hydra.name}: {'/'.join(parts)}"

    def find(self) -> Candidate | None:
        """Ask for the newest good evaluation."""
        return planning.find(self._followed, self._hydra)

    def missed(self, since: int) -> Iterator[Candidate]:
        """Go back through the evaluations of the jobset."""
        followed, ids = self._followed, []
        for each in self._hydra.evaluations(followed.project, followed.jobset):
            if each.id <= since:
                break
            ids.append(each.id)
        for id in reversed(ids):
            found = self._of(id)
            if found is not None:
                yield found

    def _of(self, id: int) -> Candidate | None:
        """Return an evaluation as a candidate; None where the job that tells did not succeed."""
        followed, evaluation = self._followed, self._hydra.evaluation(id)
        name = f"{followed.channel}-{id}"
        if followed.job is not None:
            build = self._hydra.job(id, followed.job)
            if build is None or not build.succeeded:
                return None
            name = build.name
        if evaluation is None:
            return None
        try:
            return Candidate(release.parse(name), evaluation)
        except release.MalformedRelease:
            return Candidate(release.parse(f"{followed.channel}-{id}"), evaluation)

    def plan(self, candidate: Candidate) -> Plan:
        """Go through the evaluation.

        A Hydra that cannot give the list of builds is asked for its store paths, if all are wanted.
        """
        self._notes = ()
        try:
            return planning.plan(self._followed, candidate, self._hydra)
        except Unfinished:
            raise
        except Unavailable as error:
            if not (self._followed.builds and self._followed.selection.everything):
                raise
            text = (
                f"{candidate.name}: without an index of packages, since the list of builds could "
                f"not be had ({error}); `builds = false` asks for none"
            )
            self._notes = (text,)
        return planning.plan(replace(self._followed, builds=False), candidate, self._hydra)

    def notes(self) -> tuple[str, ...]:
        """Tell whether the list of builds could not be had."""
        return self._notes

    def offered(self, plan: Plan) -> tuple[str, ...]:
        """Return the names of the products."""
        return tuple(chosen.file for chosen in plan.files)

    def files(
        self, library: Library, plan: Plan, at: Circumstances, keep: Keep
    ) -> Iterator[File | Unfit]:
        """Look at the products in the items that they lie in."""
        return stage.products(library, plan, at, self._followed.wants)


class FromChannel:
    """Releases are those of another server, their files as its pages list them.

    `patterns` are names of files, with `*`, `?` and `[abc]`.
    """

    def __init__(
        self, channel: str, server: ChannelServer, store: str, patterns: tuple[str, ...] = ("*",)
    ) -> None:
        self._channel = channel
        self._server = server
        self._store = store
        self._patterns = patterns
        self._found: dict[str, tuple[At, tuple[Listed, ...]]] = {}

    @property
    def name(self) -> str:
        """The address of the channel."""
        return self._server.name

    def find(self) -> Candidate | None:
        """Ask where the channel is."""
        at = self._server.at()
        if at is None:
            return None
        page = self._server.page(at)
        self._found[at.name.text] = at, tuple(each for each in page.files if self._wanted(each))
        # What is known of an evaluation is when it came out, which is late enough.
        return Candidate(at.name, Evaluation(0, page.published, None, {}, None))

    def _wanted(self, listed: Listed) -> bool:
        own = listed.name in OWN_FILES or listed.name.endswith(stage.HASH)
        plain = not listed.name.startswith(".") and "/" not in listed.name
        return plain and not own and any(fnmatchcase(listed.name, each) for each in self._patterns)

    def missed(self, since: int) -> Iterator[Candidate]:
        """Give nothing: a channel does not tell where it was."""
        return iter(())

    def plan(self, candidate: Candidate) -> Plan:
        """Read what the release lists. Paths of other stores are left out."""
        at, _ = self._found[candidate.name.text]
        source = self._server.source(at)
        number = _EVALUATION.search(source)
        paths, foreign = set(), 0
        for text in self._server.store_paths(at):
            path = storepath.parse(text)
            if path.store == self._store:
                paths.add(path)
            else:
                foreign += 1
        return Plan(
            channel=self._channel,
            name=candidate.name,
            evaluation=int(number[1]) if number else 0,
            source=source,
            revision=at.revision,
            files=(),
            absent=(),
            paths=tuple(sorted(paths, key=lambda path: path.base)),
            packages=(),
            left_out=LeftOut(outputs_of_other_stores=foreign),
        )

    def notes(self) -> tuple[str, ...]:
        """Tell nothing."""
        return ()

    def offered(self, plan: Plan) -> tuple[str, ...]:
        """Return the names of the files that are wanted of its page."""
        return tuple(listed.name for listed in self._found[plan.name.text][1])

    def files(
        self, library: Library, plan: Plan, at: Circumstances, keep: Keep
    ) -> Iterator[File | Unfit]:
        """Download the files, and hold them against the hashes of the page."""
        there, listed = self._found[plan.name.text]
        for each in listed:
            what = f"{there.url}/{each.name}"
            try:
                root, seal = keep(checked(self._server.file(there, each), each.seal, what))
            except (Rejected, Unavailable) as error:
                yield Unfit(each.name, str(error), each.name == EXPRESSIONS)
            else:
                yield File(each.name, root, seal, at.made)
