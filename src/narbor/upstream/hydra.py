"""A Hydra: which evaluations a jobset has, what was built in them, and what these builds offer.

    evaluations   /jobset/PROJECT/JOBSET/evals?page=N      build         /build/ID
    latest        /jobset/PROJECT/JOBSET/latest-eval       constituents  /build/ID/constituents
    evaluation    /eval/ID                                 job           /eval/ID/job/JOB
    builds        /eval/ID/builds                          latest_finished   /job/PROJECT/JOBSET/
    store_paths   /eval/ID/store-paths                                           JOB/latest-finished

A Hydra answers with a page for people unless JSON is asked for by name; redirects are followed with
the same wish. It is asked for what to mirror, and believed in nothing else: what it names is
admitted only when somebody who is trusted vouches for it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import translate
from typing import Final, TypeVar
from urllib.parse import quote

from narbor.errors import Rejected, Unavailable
from narbor.formats import hydra, streams
from narbor.formats.hydra import Build, Evaluation
from narbor.names.storepath import StorePath
from narbor.net import credentials
from narbor.net.http import Failing, Gone, Http
from narbor.net.wire import Answer, Untrusted

T = TypeVar("T")

_JSON: Final = "application/json"
_KINDS: Final = frozenset({_JSON, "text/x-json"})
# All builds of an evaluation as one answer: 250,000 at 1 to 2 KB each.
_LARGEST_STREAM: Final = 4 << 30


class NotHydra(Rejected):
    """What answers is something, but no Hydra."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which builds of an evaluation are wanted.

    `systems` are taken as they are (`x86_64-linux`); `names` and `without` are patterns of job
    names, with `*`, `?` and `[abc]`. An empty tuple says nothing.
    """

    systems: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.systems or self.names or self.without)

    def test(self) -> Callable[[Build], bool]:
        """Return what tells whether a build is wanted; made once for many builds."""
        names, without = _pattern(self.names or ("*",)), _pattern(self.without)

        def wanted(build: Build) -> bool:
            if self.systems and build.system not in self.systems:
                return False
            return bool(names.fullmatch(build.job)) and not without.fullmatch(build.job)

        return wanted


def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    # Without any, what matches nothing: a job always has a name.
    return re.compile("|".join(map(translate, globs)))


class Hydra:
    """The Hydra at `url`. Its methods may be called from many threads.

    All of them raise NotHydra for a web page in place of JSON, MalformedHydra, and what
    `net.http` raises (Unavailable, Refused).
    """

    def __init__(self, url: str, http: Http) -> None:
        self._base = url.rstrip("/")
        self._http = http

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return credentials.bare(self._base)

    def address(self, id: int) -> str:
        """Return where an evaluation is shown to people."""
        return f"{self.name}/eval/{id}"

    def evaluations(self, project: str, jobset: str) -> Iterator[Evaluation]:
        """Give a jobset's evaluations, the newest first, without their builds.

        Evaluations that changed nothing are not listed. Nothing is given for an unknown jobset.
        """
        number: int | None = 1
        last = 1 << 63
        while number is not None:
            path = f"/jobset/{_quoted(project, jobset)}/evals?page={number}"
            page = self._read(path, hydra.LARGEST_PAGE, hydra.page)
            if page is None:
                return
            for each in page.evaluations:
                # A new evaluation meanwhile moves all others down, some of them to the next page.
                if each.id < last:
                    last = each.id
                    yield each
            if page.next is not None and page.next <= number:
                raise NotHydra(f"{self.name}{path}: the next page is {page.next}")
            number = page.next

    def latest(self, project: str, jobset: str) -> Evaluation | None:
        """Return the newest evaluation that has no unfinished build, None if there is none."""
        return self._evaluation(f"/jobset/{_quoted(project, jobset)}/latest-eval")

    def evaluation(self, id: int) -> Evaluation | None:
        """Return an evaluation with the ids of its builds."""
        return self._evaluation(f"/eval/{id}")

    def builds(self, id: int, selection: Selection | None = None) -> Iterator[Build]:
        """Give the builds of an evaluation, each once, finished or not, in no order.

        Read as it arrives; when the connection breaks it begins anew, and gives what is new. A
        Hydra makes this answer whole before it sends a byte, and a large one may never do so.
        Raises Gone for an unknown evaluation.
        """
        stream = self._stream(f"/eval/{id}/builds")
        return stream if selection is None else filter(selection.test(), stream)

    def constituents(self, id: int) -> Iterator[Build]:
        """Give the builds that a build stands for, if it is an aggregate; raises Gone."""
        return self._stream(f"/build/{id}/constituents")

    def build(self, id: int) -> Build | None:
        """Return a build."""
        return self._build(f"/build/{id}")

    def job(self, id: int, job: str) -> Build | None:
        """Return the build of a job in an evaluation."""
        return self._build(f"/eval/{id}/job/{_quoted(job)}")

    def latest_finished(self, project: str, jobset: str, job: str) -> Build | None:
        """Return the newest build of a job that succeeded, in an evaluation that is finished.

        The build may be part of other evaluations too, which need not be finished.
        """
        return self._build(f"/job/{_quoted(project, jobset, job)}/latest-finished")

    def store_paths(self, id: int) -> tuple[StorePath, ...]:
        """Return what the packages of an evaluation put out, sorted; raises Gone.

        These are the outputs of builds that succeeded and have a `nix-build` product. It is no
        closure, and a cache may lack some of them.
        """
        path = f"/eval/{id}/store-paths"
        found = self._read(path, hydra.LARGEST_LIST, hydra.store_paths)
        if found is None:
            raise Gone(f"{self.name}{path}: there is no such evaluation")
        return found

    def abandoned(self) -> AbstractContextManager[None]:
        """For as long as this lasts, let what is under way in other threads raise Unavailable."""
        return self._http.abandoned()

    def _evaluation(self, path: str) -> Evaluation | None:
        return self._read(path, hydra.LARGEST_EVALUATION, hydra.evaluation)

    def _build(self, path: str) -> Build | None:
        return self._read(path, hydra.LARGEST_BUILD, hydra.build)

    def _read(self, path: str, limit: int, parse: Callable[[bytes], T]) -> T | None:
        document = self._http.document(self._base + path, limit, _JSON)
        if document is None:
            return None
        _require_json(document.url, document.kind, document.content)
        try:
            return parse(document.content)
        except hydra.MalformedHydra as error:
            raise hydra.MalformedHydra(f"{document.url}: {error}") from error

    def _stream(self, path: str) -> Iterator[Build]:
        url = self._base + path
        seen: set[int] = set()
        failures = 0
        while True:
            try:
                for build in self._once(url):
                    if build.id not in seen:
                        seen.add(build.id)
                        yield build
                return
            except (Failing, Gone, Untrusted):
                raise
            except Unavailable as error:
                # Each attempt begins anew, so what came in between is no reason for more of them.
                failures += 1
                self._http.rest(url, failures, error)

    def _once(self, url: str) -> Iterator[Build]:
        headers = {"Accept": _JSON, "Accept-Encoding": "gzip"}
        with self._http.answer("GET", url, headers, small=False) as answer:
            if answer.status >= 300:
                raise Gone(f"{answer.url}: HTTP {answer.status}")
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            _require_json(answer.url, kind, b"")
            chunks = self._http.metered(_decoded(answer))
            try:
                yield from hydra.builds(chunks)
            except Rejected as error:
                raise hydra.MalformedHydra(f"{answer.url}: {error}") from error


def _quoted(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _require_json(url: str, kind: str, content: bytes) -> None:
    if kind not in _KINDS:
        raise NotHydra(f"{url} answers with {kind or 'something'}, not JSON: {content[:60]!r}")


def _decoded(answer: Answer) -> Iterator[bytes]:
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return streams.limited(answer.body, _LARGEST_STREAM)
    if encoding not in ("gzip", "x-gzip"):
        raise NotHydra(f"{answer.url}: the Content-Encoding {encoding!r} was not asked for")
    return streams.decompress(answer.body, "gzip", _LARGEST_STREAM)
