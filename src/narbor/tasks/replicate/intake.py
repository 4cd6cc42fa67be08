"""A binary cache that came as a directory of blocks becomes items of this store.

Each narinfo is vouched for by the keyring, its NAR is put together from the blocks and admitted as
if it had come over HTTP: checked against NarHash, cut anew, its tree made. Items come after what
they refer to; those that are here already are passed over. See dag/cachedir.py.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from narbor.blocks import BlockDamaged, BlockMissing
from narbor.dag import cachedir, walk
from narbor.errors import NarborError, Refused, Rejected
from narbor.formats import hamt, ipld, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.formats.streams import decompress, limited
from narbor.formats.vouched import vouch
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from narbor.names.keys import Keyring
from narbor.names.storepath import StorePath

CLAIM: Final = b".narinfo"
MOST_NAMES: Final = 4_000_000
MOST_REFERENCES: Final = 40_000_000
_COMMIT_ITEMS: Final = 256
_COMMIT_BYTES: Final = 128 << 20
_BATCH: Final = 500
_LOST = (Rejected, BlockMissing, BlockDamaged)


class NoArchive(Rejected):
    """A directory has a narinfo, but not its NAR."""


class Misplaced(Rejected):
    """A narinfo stands under a name that is not its item's."""


class TooMany(Refused):
    """A directory is larger than any cache."""


class OtherStore(Rejected):
    """An item does not belong into this store."""


@dataclass(frozen=True, slots=True)
class Found:
    """So many claims are in the directory, and so many of their items are here already."""

    claims: int
    known: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """An item was verified and kept."""

    path: str
    nar_size: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An item, or a file of the directory, could not be taken in, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class TakenIn:
    """The end: so many items are new, so many were here, so many failed; `tops` lead to all."""

    admitted: int
    known: int
    failed: int
    tops: tuple[str, ...]


Event = Found | Admitted | Failed | TakenIn


@dataclass(frozen=True, slots=True)
class _Claim:
    """What is remembered of a narinfo: where it lies, and what its item refers to."""

    text: Cid
    path: StorePath
    references: tuple[str, ...]


def is_cache(library: Library, root: Cid) -> bool:
    """Tell whether a root is a directory with a nix-cache-info, as far as that is here."""
    if cid.codec(root) != cid.DAG_PB:
        return False
    try:
        return cachedir.find(root, cachedir.TOP, cachedir.INFO, _getter(library)) is not None
    except _LOST:
        return False


def admit_directory(
    library: Library, root: Cid, ring: Keyring, trusted: bool, origin: str
) -> Generator[Event, None, None]:
    """Take in all items of the cache at `root`, whose blocks are in the store; ends with TakenIn.

    `trusted`: claims are believed without a signature. `origin` is where it came from, as it is put
    on record. Nothing keeps the items yet: an admission should be open until the caller has written
    down what does. Raises what the library raises when it cannot keep anything.
    """
    with library.hold() as spare:
        yield from _Intake(library, root, ring, trusted, origin).all(spare)


def tops(references: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the base names that lead to all of them, by what each refers to.

    They are those that no other one refers to; where they refer to each other in a circle, all.
    """
    below = {base for own, bases in references.items() for base in bases if base != own}
    first = [base for base in references if base not in below]
    chosen = {*first, *(set(references) - set(_bottom_up(references, first)))}
    return [base for base in references if base in chosen]


def _bottom_up(references: Mapping[str, Iterable[str]], first: Iterable[str]) -> Iterator[str]:
    """Give all that `first` lead to, each after what it refers to, as far as there is no circle."""
    seen: set[str] = set()
    for top in first:
        ahead = [(top, False)]
        while ahead:
            base, is_done = ahead.pop()
            if is_done:
                yield base
            elif base in references and base not in seen:
                seen.add(base)
                ahead.append((base, True))
                ahead.extend((each, False) for each in references[base])


def _getter(library: Library) -> Callable[[Cid], bytes]:
    reader = Reader(library.blocks)

    def get(name: Cid) -> bytes:
        content = ipld.inlined(name)
        return reader.node(name) if content is None else content

    return get


class _Intake:
    """One directory: what was found, and what waits to be committed."""

    def __init__(
        self, library: Library, root: Cid, ring: Keyring, trusted: bool, origin: str
    ) -> None:
        self._library = library
        self._root = root
        self._ring = ring
        self._trusted = trusted
        self._origin = origin
        self._get = _getter(library)
        self._claims: dict[str, _Claim] = {}
        self._spelt: dict[str, str] = {}
        self._references = 0
        self._failed = self._admitted = 0
        self._waiting = self._waiting_bytes = 0

    def all(self, spare: Callable[[Iterable[str]], None]) -> Generator[Event]:
        """Do the whole."""
        library = self._library
        try:
            yield from self._read()
        except _LOST as error:
            # Without the directory's own nodes it is not known what is in it.
            yield self._fail("the directory", error)
        known = self._known(spare)
        yield Found(len(self._claims), len(known))
        references = {base: claim.references for base, claim in self._claims.items()}
        try:
            for base in _bottom_up(references, references):
                if base not in known:
                    yield self._admit(self._claims[base])
                    self._commit_in_time()
        finally:
            library.commit()
        first = tops({base: references[base] for base in self._here()})
        yield TakenIn(self._admitted, len(known), self._failed, tuple(first))

    def _read(self) -> Iterator[Failed]:
        """Read all claims, and tell of those that are none."""
        for link in hamt.entries(self._get(self._root), self._get):
            if link.name.endswith(CLAIM):
                try:
                    claim = self._parse(link.cid)
                    if link.name != claim.path.hash_part.encode() + CLAIM:
                        # Nix asks by this name: the claim would never be found under another.
                        raise Misplaced(f"it speaks of {claim.path}")
                    self._remember(link.cid, claim)
                except _LOST as error:
                    yield self._fail(link.name.decode(errors="backslashreplace"), error)

    def _remember(self, text: Cid, claim: Narinfo) -> None:
        """Keep what is needed of a claim; each base name is held once."""
        spelt = self._spelt
        references = tuple(spelt.setdefault(base, base) for base in claim.references)
        self._claims[spelt.setdefault(claim.path.base, claim.path.base)] = _Claim(
            text, claim.path, references
        )
        self._references += len(references)
        if len(spelt) > MOST_NAMES or self._references > MOST_REFERENCES:
            raise TooMany(
                f"it speaks of more than {MOST_NAMES:,} items, or of {MOST_REFERENCES:,} references"
            )

    def _parse(self, text: Cid) -> Narinfo:
        chunks = limited(self._library.content(text), narinfo.LONGEST)
        return narinfo.parse(b"".join(chunks))

    def _known(self, spare: Callable[[Iterable[str]], None]) -> set[str]:
        """Return which items are here, and let no sweep take them meanwhile."""
        known: set[str] = set()
        waiting = iter(self._claims)
        while batch := list(islice(waiting, _BATCH)):
            here = self._library.known(batch)
            spare(here)
            known |= here
        return known

    def _here(self) -> list[str]:
        here: set[str] = set()
        waiting = iter(self._claims)
        while batch := list(islice(waiting, _BATCH)):
            here |= self._library.known(batch)
        return [base for base in self._claims if base in here]

    def _admit(self, known: _Claim) -> Event:
        try:
            if known.path.store != self._library.store:
                raise OtherStore(f"it does not lie in {self._library.store}, as this store does")
            claim = self._parse(known.text)
            believed = vouch(claim, self._ring, self._trusted)
            packed = self._library.content(self._archive(claim))
            chunks = decompress(packed, claim.compression, claim.seal.size)
            item = self._library.admit(believed, chunks, self._origin)
        except _LOST as error:
            return self._fail(str(known.path), error)
        self._admitted += 1
        self._waiting += 1
        self._waiting_bytes += item.seal.size
        return Admitted(str(item.path), item.seal.size)

    def _archive(self, claim: Narinfo) -> Cid:
        """Return the root of the file that a claim names, in the directory or by its CID."""
        path = claim.url.encode()
        found = walk.find(self._root, self._get, path) if b"://" not in path else None
        named = next((value for name, value in claim.extra if name == cachedir.FIELD), None)
        if found is None and named is not None and claim.compression == "none":
            found = cidtext.known(cidtext.parse(named))
        if found is None:
            raise NoArchive(f"its NAR {claim.url} is not in the directory")
        return found

    def _fail(self, what: str, error: NarborError) -> Failed:
        self._failed += 1
        return Failed(what, str(error))

    def _commit_in_time(self) -> None:
        if self._waiting >= _COMMIT_ITEMS or self._waiting_bytes >= _COMMIT_BYTES:
            self._library.commit()
            self._waiting = self._waiting_bytes = 0
