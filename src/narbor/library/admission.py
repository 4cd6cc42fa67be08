"""The way in: an item's blocks are kept first, its row is written when they are durable.

Rows wait for `commit`, which makes many items durable with one sync of the pack, one of the index
and one transaction of the catalogue. A crash before it leaves garbage at worst, never a lie.
Collection spares what an open admission has kept; each group of items shares one.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from narbor.blocks.intake import Intake
from narbor.blocks.packs import PackStore
from narbor.catalogue import HOLD, Admitted, Catalogue, Claim
from narbor.dag import build as building
from narbor.dag.build import Roots, build
from narbor.dag.profile import Profile
from narbor.dag.splice import Piece
from narbor.errors import Unavailable
from narbor.formats import nar, narinfo
from narbor.formats.streams import Hashing, Tally, checked
from narbor.formats.vouched import Vouched, discharge
from narbor.library.aside import Aside
from narbor.library.reading import Reader
from narbor.names.cid import Cid
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item, Rendering

Keep = Callable[[Iterable[bytes]], tuple[Cid, Seal]]

_BUILD_IDS = b"lib/debug/.build-id"
_WORTH_A_THREAD = 1 << 20  # bytes: a smaller NAR is hashed before another thread has woken up


def _in_place(function: Hashing) -> Hashing:
    return function


@dataclass(slots=True)
class _Group:
    """Items that share one open admission."""

    id: int
    under_way: int = 0
    ready: list[tuple[Admitted, int]] = field(default_factory=list)


class _Rendered:
    """The zstd rendering of an item, hashed while its archive is put together."""

    def __init__(self, reader: Reader, state: Hashing) -> None:
        self._reader = reader
        self._state = state
        self._size = 0

    def passing(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Pass the archive's splice on."""
        for piece, size in self._reader.sealed(pieces, self._state):
            self._size += size
            yield piece

    def rendering(self) -> Rendering:
        """Return what the rendering is, once the splice has passed."""
        return Rendering("zstd", Digest("sha256", self._state.digest()), self._size)


class Admissions:
    """Admits items, from any number of threads."""

    def __init__(
        self,
        blocks: PackStore,
        catalogue: Catalogue,
        pool: Executor,
        profile: Profile,
        clock: Callable[[], int],
        process: str,
    ) -> None:
        self._blocks = blocks
        self._catalogue = catalogue
        self._pool = pool
        self._profile = profile
        self._clock = clock
        self._process = process
        self._reader = Reader(blocks)
        self._lock = threading.Lock()
        self._committing = threading.Lock()
        self._open: _Group | None = None
        self._closing: list[_Group] = []

    def admit(self, vouched: Vouched, archive: Iterable[bytes], origin: str) -> Item:
        """Keep the item that these NAR bytes are, if they are what was vouched for.

        Its row is written by the next `commit`. Raises Rejected (Mismatch, MalformedNar, ...) for
        bytes that lie, StoreFull when the disk is full.
        """
        group = self._enter()
        generation = self._blocks.generation
        sink = Intake(self._blocks, self._pool)
        try:
            claim = vouched.narinfo
            what = f"the NAR of {claim.path}"
            aside = self._aside if claim.seal.size >= _WORTH_A_THREAD else _in_place
            chunks = checked(discharge(vouched, archive), claim.seal, what, aside)
            rendered = _Rendered(self._reader, aside(sha256()))
            # Nodes that hold data themselves have no frame: such an archive is read back.
            late = self._profile.inline_executables
            seen = iter if late else rendered.passing
            roots = build(nar.parse(chunks), sink, self._profile, seen)
            sink.finish()
            if late:
                for _ in rendered.passing(self._reader.splice(roots.archive)):
                    pass
            admitted = self._admitted(vouched, roots, rendered, origin, group.id)
        except BaseException:
            sink.abandon()
            self._leave(group)
            raise
        with self._lock:
            group.ready.append((admitted, generation))
        self._leave(group)
        return admitted.item

    def _aside(self, function: Hashing) -> Hashing:
        return Aside(function, self._pool)

    def _admitted(
        self, vouched: Vouched, roots: Roots, rendered: "_Rendered", origin: str, group: int
    ) -> Admitted:
        claim = vouched.narinfo
        item = Item(
            path=claim.path,
            seal=claim.seal,
            references=claim.references,
            deriver=claim.deriver,
            signatures=claim.signatures,
            ca=claim.ca,
            extra=claim.extra,
            profile=self._profile.name,
            tree=roots.tree,
            archive=roots.archive,
            origin=origin,
        )
        signed = narinfo.fingerprint(claim.path, claim.seal, claim.references)
        said = Claim(claim.path.base, origin, claim.text, signed, self._clock())
        return Admitted(item, said, (rendered.rendering(),), self._build_ids(item), group)

    def _build_ids(self, item: Item) -> tuple[tuple[str, str], ...]:
        found = []
        for folder in self._reader.names(item, _BUILD_IDS):
            for name in self._reader.names(item, _BUILD_IDS + b"/" + folder):
                id, dot, kind = name.partition(b".")
                if dot and kind == b"debug" and all(c in b"0123456789abcdef" for c in folder + id):
                    member = b"/".join((_BUILD_IDS, folder, name)).decode()
                    found.append(((folder + id).decode(), member))
        return tuple(found)

    def _enter(self) -> _Group:
        with self._lock:
            if self._open is None:
                id = self._catalogue.begin_admission(self._clock(), self._process)
                self._open = _Group(id)
            self._open.under_way += 1
            return self._open

    def _leave(self, group: _Group) -> None:
        with self._lock:
            group.under_way -= 1

    @contextmanager
    def hold(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """Keep collections away from what is recorded meanwhile, and from what it is told of.

        Gives a function that takes base names of items that are here and are relied on.
        """
        with self._catalogue.admission(self._clock(), self._process, HOLD) as id:
            yield lambda bases: self._catalogue.spare(bases, id)

    @contextmanager
    def keeping(self) -> Iterator[Keep]:
        """Let files be kept that are no items; what leads to them is to be recorded before the end.

        Gives a function that keeps a file, durably, and returns its root and seal. Collections wait
        for the end, so it should be near.
        """
        with self._catalogue.admission(self._clock(), self._process):
            yield self._keep

    def _keep(self, chunks: Iterable[bytes]) -> tuple[Cid, Seal]:
        sink, tally = Intake(self._blocks, self._pool), Tally(chunks)
        generation = self._blocks.generation
        try:
            root = building.file(tally, sink, self._profile)
            sink.finish()
            self._blocks.sync()
        except BaseException:
            sink.abandon()
            raise
        if self._blocks.generation != generation:
            raise Unavailable("a file could not be kept: writing failed meanwhile")
        return root, Seal(tally.digest, tally.size)

    def commit(self) -> int:
        """Make what was admitted so far durable, in one go; return how many items that are."""
        with self._committing:
            with self._lock:
                if self._open is not None:
                    self._closing.append(self._open)
                    self._open = None
                groups = [(group, group.ready) for group in self._closing]
                for group in self._closing:
                    group.ready = []
            try:
                self._blocks.sync()
                generation = self._blocks.generation
                rows = [
                    admitted
                    for _, ready in groups
                    for admitted, then in ready
                    if then == generation
                ]
                if rows:
                    self._catalogue.record(rows)
            except BaseException:
                self._put_back(groups)
                raise
            self._end_groups()
            return len(rows)

    def _put_back(self, groups: list[tuple[_Group, list[tuple[Admitted, int]]]]) -> None:
        with self._lock:
            for group, ready in groups:
                group.ready = ready + group.ready

    def _end_groups(self) -> None:
        with self._lock:
            over = [group for group in self._closing if not group.under_way and not group.ready]
            self._closing = [group for group in self._closing if group not in over]
        for group in over:
            self._catalogue.end_admission(group.id)

    def close(self) -> None:
        """Commit what is ready, and end every admission."""
        self.commit()
        for group in self._closing:
            self._catalogue.end_admission(group.id)
        self._closing.clear()
