"""One item on its way in: made of what is nearest, checked, kept, and given out meanwhile.

    1. seeds     the item itself, or an older build of it with other references
    2. blocks    its DAG: what is here or in a relative stays, the rest is gathered; where that
                 breaks off, an upstream's NAR gives the rest
    3. NARs      from one upstream after the other

What fails its hash is begun anew with what comes next, unless bytes were given out already: then
the answer ends short.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final

from narbor.dag.splice import Piece
from narbor.errors import NarborError, Rejected, Unavailable
from narbor.formats import streams
from narbor.library import Library, seal_of
from narbor.names.cid import Cid
from narbor.names.digest import Seal
from narbor.tasks.agent.archive import Archives, Root
from narbor.tasks.agent.claims import Claims, Found
from narbor.tasks.agent.counts import Counts
from narbor.tasks.agent.kin import Basis, Family, Kin
from narbor.tasks.agent.seeds import Seeds
from narbor.tasks.agent.spool import HELD, Spool

_BLOCKS: Final = "blocks"
_SEED: Final = "seed"
_NAR: Final = "nar"


class NotToBeHad(Unavailable):
    """No way to make an item led to its end."""


class _Refuted(Rejected):
    """A way was looked at before it was taken, and does not lead to the item."""


@dataclass(frozen=True, slots=True)
class Means:
    """What items are made with. `ahead` has the nodes of an archive here, with those of others."""

    library: Library
    claims: Claims
    archives: Archives
    seeds: Seeds | None
    counts: Counts
    family: Family
    ahead: Callable[[Root, Kin | None], None]
    min_free: int


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to make an item: what it is called, and whether it may be given before it is whole."""

    name: str
    freely: bool
    chunks: Callable[[], Iterator[bytes]]


class Making:
    """One item that is being made."""

    def __init__(self, found: Found, means: Means, spool: Spool) -> None:
        self.found = found
        self.spool = spool
        self._means = means
        self._claim = found.vouched.narinfo
        self._complaints: list[str] = []
        self._taken = ""

    def start(self, threads: Executor, done: Callable[["Making"], None]) -> None:
        """Begin, on a thread of `threads`; `done` is called there in the end."""
        threads.submit(self._run, done)

    def _run(self, done: Callable[["Making"], None]) -> None:
        try:
            self._make()
        except NarborError as error:
            self.spool.fail(error)
        except OSError as error:
            self.spool.fail(NotToBeHad(f"{self._claim.path}: {error}"))
        finally:
            # Whatever it was: nobody is to wait for what does not come.
            self.spool.end(NotToBeHad(f"{self._claim.path}: its making broke off"))
            done(self)

    def _make(self) -> None:
        self._require_room()
        for way in self._ways():
            if not self.spool.begin(way.freely):
                break
            self._taken = way.name
            try:
                # The way is gone inside of an admission, which all items of a moment share: what
                # is fetched is spared by collections, and no item costs a commit of its own.
                origin = self._means.claims.upstreams[self.found.upstream].cache.name
                passing = self.spool.passing(way.chunks())
                self._means.library.admit(self.found.vouched, passing, origin)
            except NarborError as error:
                self._complaints.append(f"{way.name}: {error}")
                if way.name == _BLOCKS and isinstance(error, Rejected):
                    self._distrust(error)
                continue
            self.spool.finish()
            self._means.counts.made(self._taken, self._claim)
            return
        raise NotToBeHad(f"{self._claim.path}: {'; '.join(self._complaints)}")

    def _distrust(self, error: Rejected) -> None:
        """All blocks were what they should be, and the archive is not: the claim's CID is wrong."""
        self._means.claims.upstreams[self.found.upstream].standing.spoke_nonsense(error)

    def _require_room(self) -> None:
        free = self._means.library.free_bytes()
        if free < self._means.min_free:
            raise NotToBeHad(
                f"{self._claim.path}: the disk has {free} bytes free, and {self._means.min_free} "
                "must stay free (min-free)"
            )

    def _ways(self) -> Iterator[_Way]:
        """Give the ways to make the item, the nearest first."""
        if self._means.seeds is not None:
            for base in self._means.seeds.builds(self._claim):
                freely = self._claim.seal.size > HELD
                yield _Way(_SEED, freely, partial(self._seed, base, freely))
        root = self._means.claims.root(self._claim)
        if root is not None:
            yield _Way(_BLOCKS, True, partial(self._blocks, root))
        yield _Way(_NAR, True, partial(self._plain, 0))

    def _seed(self, base: str, twice: bool) -> Iterator[bytes]:
        """Give the NAR of an older build; what may be given at once is looked at before."""
        seeds, seal = self._means.seeds, self._claim.seal
        assert seeds is not None
        if twice and Seal(*seal_of(seeds.archive(base, self._claim))) != seal:
            raise _Refuted(f"{base} has other content")
        return seeds.archive(base, self._claim)

    def _blocks(self, root: Cid) -> Iterator[bytes]:
        """Give the NAR out of its DAG; where that breaks off, an upstream gives the rest."""
        at = 0
        try:
            for chunk in self._gathered((root, self._claim.seal.size)):
                at += len(chunk)
                yield chunk
        except NarborError as error:
            self._complaints.append(f"{_BLOCKS}: {error}")
            self._taken = _NAR
            yield from self._plain(at)

    def _gathered(self, root: Root) -> Iterator[bytes]:
        means = self._means
        kin = means.family.of(self._claim)
        means.ahead(root, kin)
        pieces = means.archives.pieces(root)
        lacking = means.archives.lacking(pieces)
        basis: Basis = {}
        if kin is not None and lacking:
            lacking, basis = self._from_kin(kin, pieces, lacking)
        yield from means.archives.read(pieces, lacking, basis)

    def _from_kin(
        self, kin: Kin, pieces: list[Piece], lacking: dict[Cid, int]
    ) -> tuple[dict[Cid, int], Basis]:
        """Take what a relative has; return what lacks still, and what here is like that."""
        shared = {leaf.cid for leaf in kin.leaves} & lacking.keys()
        rest = {name: size for name, size in lacking.items() if name not in shared}
        basis = kin.resembling(pieces, rest)
        if kin.seed is None:
            return rest, basis
        library, seeds = self._means.library, self._means.seeds
        assert seeds is not None
        wanted = shared.union(*basis.values())
        try:
            seeds.leaves(kin.seed, wanted, library.blocks.put_many)
        except NarborError as error:
            self._complaints.append(f"{_SEED}: {error}")
        absent = library.blocks.missing(lacking)
        self._means.counts.seeded(sum(lacking[name] for name in shared - absent))
        return {name: size for name, size in lacking.items() if name in absent}, basis

    def _plain(self, start: int) -> Iterator[bytes]:
        """Give the NAR from `start` on, as upstreams serve it whole."""
        tried: list[int] = []
        for found in self._sellers(tried):
            tried.append(found.upstream)
            try:
                for chunk in self._served(found, start):
                    start += len(chunk)
                    yield chunk
                return
            except NarborError as error:
                self._complaints.append(str(error))
        raise NotToBeHad(f"{self._claim.path}: no upstream gives its NAR")

    def _sellers(self, tried: list[int]) -> Iterator[Found]:
        yield self.found
        others = self._means.claims.others(self._claim.path.hash_part, tried)
        for found in others:
            if found.vouched.narinfo.seal == self._claim.seal:
                yield found

    def _served(self, found: Found, start: int) -> Iterator[bytes]:
        """Give one upstream's NAR, but for the bytes before `start`."""
        asked, claim = self._means.claims.upstreams[found.upstream], found.vouched.narinfo
        begun, size = asked.standing.asked(), 0
        try:
            file = streams.Tally(asked.cache.archive(claim))
            for chunk in streams.decompress(file, claim.compression, claim.seal.size):
                size += len(chunk)
                if size > start:
                    yield chunk[max(start - (size - len(chunk)), 0) :]
        except NarborError as error:
            asked.standing.failed(error)
            raise
        finally:
            asked.standing.gave(0, file.size, begun)
