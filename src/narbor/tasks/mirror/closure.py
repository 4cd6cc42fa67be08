"""What is to be fetched: the closure of some paths, less what is here. Narinfos only."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from narbor.formats.vouched import Vouched
from narbor.names import storepath
from narbor.names.storepath import StorePath
from narbor.tasks.hall import Hall
from narbor.tasks.mirror.sources import Complaint, Sources
from narbor.tasks.parallel import Pool


@dataclass(frozen=True, slots=True)
class Here:
    """An item that the library has."""

    path: StorePath


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item to fetch. Its first good claim is kept as text: there may be a million of them.

    `source` is the number of the upstream that made the claim, `weight` about how many bytes come.
    `vouched` is what came of the text, unless it is to be read again.
    """

    path: StorePath
    source: int
    text: bytes
    weight: int
    complaints: tuple[Complaint, ...]
    vouched: Vouched | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """An item that was found, with its claim."""

    wanted: Wanted
    vouched: Vouched


@dataclass(frozen=True, slots=True)
class Missing:
    """An item that no upstream has a good claim to."""

    path: StorePath
    complaints: tuple[Complaint, ...]


Step = Here | Claimed | Missing


def walk(
    library: Hall,
    sources: Sources,
    roots: Iterable[StorePath],
    closure: bool,
    lookups: int,
    tick: float,
) -> Iterator[Step | None]:
    """Give each item that `roots` lead to once, nearest first; without `closure` the roots alone.

    What is here is not asked for. Its references are walked, unless all it leads to is here too,
    so that a closure of which a part was fetched once is completed. None comes when `tick` seconds
    brought nothing.
    """
    with Pool[StorePath, Claimed | Missing](
        lambda path, pool: pool.emit(_look(sources, path)), lookups, stop=sources.abandoned
    ) as pool:
        frontier = _Frontier(library, pool, closure)
        yield from frontier.enter(roots)
        for step in pool.results(tick):
            yield step
            if closure and isinstance(step, Claimed):
                yield from frontier.enter(_references(step))


def _look(sources: Sources, path: StorePath) -> Claimed | Missing:
    complaints: list[Complaint] = []
    for index, vouched in sources.claims(path, complaints):
        claim = vouched.narinfo
        # FileSize is not signed: it may make an item seem smaller, never larger than it can be.
        weight = min(claim.file_size or claim.seal.size, claim.seal.size)
        return Claimed(Wanted(path, index, claim.text, weight, tuple(complaints)), vouched)
    return Missing(path, tuple(complaints))


def _references(step: Claimed) -> Iterator[StorePath]:
    store = step.wanted.path.store
    return (storepath.of_base(base, store) for base in step.vouched.narinfo.references)


class _Frontier:
    """What has been met so far; sorts the new into here and to be asked for."""

    def __init__(
        self, library: Hall, pool: Pool[StorePath, Claimed | Missing], closure: bool
    ) -> None:
        self._library = library
        self._pool = pool
        self._closure = closure
        self._seen: set[str] = set()

    def enter(self, paths: Iterable[StorePath]) -> Iterator[Here]:
        """Take paths in; give those that are here, and those that they lead to likewise."""
        fresh = self._fresh(paths)
        while fresh:
            here = self._library.known(fresh)
            deeper: list[StorePath] = []
            for base, path in fresh.items():
                if base not in here:
                    self._pool.put(path)
                    continue
                yield Here(path)
                if self._closure and not self._library.complete(base):
                    item = self._library.item(base)
                    references = item.references if item else ()
                    deeper += (storepath.of_base(each, path.store) for each in references)
            fresh = self._fresh(deeper)

    def _fresh(self, paths: Iterable[StorePath]) -> dict[str, StorePath]:
        fresh = {path.base: path for path in paths}
        for base in self._seen.intersection(fresh):
            del fresh[base]
        self._seen.update(fresh)
        return fresh
