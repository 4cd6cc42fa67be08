"""One item's bytes: from the upstream of its claim, or from the next, into the library."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from narbor.errors import NarborError, Rejected, Unavailable
from narbor.formats import streams
from narbor.formats.narinfo import Narinfo
from narbor.formats.vouched import Vouched
from narbor.tasks.hall import Hall
from narbor.tasks.mirror.closure import Wanted
from narbor.tasks.mirror.sources import Complaint, Source, Sources
from narbor.tasks.parallel import Cancelled, Pool, ahead
from narbor.upstream import out_path

_STEP: Final = 4 << 20
_DISK_STEP: Final = 64 << 20
_WORTH_A_THREAD: Final = 1 << 20  # bytes of a NAR
_AHEAD: Final = 8  # pieces of it, of 256 KiB
_FILE_HASHES: Final = frozenset({"md5", "sha1", "sha256", "sha512"})


class DiskFull(Unavailable):
    """Less is free on the disk than must stay free."""


@dataclass(frozen=True, slots=True)
class Came:
    """So many bytes of an archive came."""

    size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """An item was admitted. `came` bytes were fetched for it in all, `rest` of them not yet told.

    `difference` says how the file differs from what its narinfo says, though the NAR is right.
    """

    wanted: Wanted
    upstream: str
    nar_size: int
    difference: str | None
    came: int
    rest: int


@dataclass(frozen=True, slots=True)
class Lost:
    """No upstream could give an item's bytes. `came` and `rest` are as in Kept."""

    wanted: Wanted
    complaints: tuple[Complaint, ...]
    came: int
    rest: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something worth telling."""

    text: str


Event = Came | Kept | Lost | Remark
Crew = Pool[Wanted, Event]


class Fetcher:
    """Fetches items, from any thread of a pool."""

    def __init__(
        self, library: Hall, sources: Sources, min_free: int, logs: bool, realisations: bool
    ) -> None:
        self._library = library
        self._sources = sources
        self._min_free = min_free
        self._logs = logs
        self._realisations = realisations
        self._asked_logs: dict[str, Wanted] = {}

    def fetch(self, wanted: Wanted, pool: Crew) -> None:
        """Try one upstream after the other; emits Kept or Lost in the end.

        Raises what the library raises for reasons of its own, DiskFull, Cancelled.
        """
        complaints = list(wanted.complaints)
        meter = _Meter(pool)
        first: Vouched | None = None
        for source, vouched in self._claims(wanted, complaints):
            if first is None:
                first = vouched
            elif vouched.narinfo.seal != first.narinfo.seal:
                self._contradicted(source, vouched, first, pool)
            body = _Body(source, vouched.narinfo, meter, self._require_room)
            try:
                self._require_room()
                source.require()
                self._library.admit(vouched, body.archive(), source.name)
            except Cancelled:
                raise
            except NarborError as error:
                if not (isinstance(error, Rejected) or body.is_its(error)):
                    raise
                complaints.append(Complaint(source.name, str(error)))
                continue
            source.answered()
            size = vouched.narinfo.seal.size
            difference = body.difference()
            pool.emit(Kept(wanted, source.name, size, difference, meter.came, meter.rest))
            self._extras(wanted, source, vouched.narinfo, pool)
            return
        pool.emit(Lost(wanted, tuple(complaints), meter.came, meter.rest))

    def _claims(
        self, wanted: Wanted, complaints: list[Complaint]
    ) -> Iterator[tuple[Source, Vouched]]:
        """Give the claim that is known, then those of the upstreams behind."""
        source = self._sources[wanted.source]
        yield source, wanted.vouched or source.vouch(wanted.text, wanted.path)
        for index, vouched in self._sources.claims(wanted.path, complaints, wanted.source + 1):
            yield self._sources[index], vouched

    def _contradicted(self, source: Source, vouched: Vouched, first: Vouched, pool: Crew) -> None:
        claim, other = vouched.narinfo, first.narinfo
        reason = (
            f"NarHash {claim.seal.digest} ({claim.seal.size} bytes) stands against "
            f"{other.seal.digest} ({other.seal.size} bytes), of which the bytes could not be had"
        )
        self._library.conflict(claim.path, source.name, claim.text, reason)
        pool.emit(
            Remark(f"{claim.path}: {source.name} contradicts an upstream before it: {reason}")
        )

    def _require_room(self) -> None:
        free = self._library.free_bytes()
        if free < self._min_free:
            raise DiskFull(
                f"the disk has {free} bytes free, and {self._min_free} must stay free (min-free)"
            )

    def _extras(self, wanted: Wanted, source: Source, claim: Narinfo, pool: Crew) -> None:
        """Fetch what goes with an item; its absence is no failure."""
        try:
            if self._logs and claim.deriver is not None:
                self._log(wanted, source, claim.deriver)
            if self._realisations and claim.ca is not None:
                self._realised(source, claim)
        except NarborError as error:
            pool.emit(Remark(f"{claim.path}: {error}"))

    def _realised(self, source: Source, claim: Narinfo) -> None:
        for name in source.cache.realised(claim):
            text = source.cache.realisation(name)
            if text is not None and out_path(text) == claim.path.base:
                self._library.keep_realisation(name, text)

    def _log(self, wanted: Wanted, source: Source, deriver: str) -> None:
        # Several outputs share a deriver; who comes first asks.
        if self._asked_logs.setdefault(deriver, wanted) is not wanted:
            return
        if self._library.log(deriver) is None:
            text = source.cache.log(deriver)
            if text is not None:
                self._library.keep_log(deriver, text)


class _Meter:
    """Counts what comes for one item, over all its upstreams, and tells it in steps."""

    def __init__(self, pool: Crew) -> None:
        self.came = 0
        self.rest = 0
        self._pool = pool

    def pass_on(self, chunk: bytes) -> None:
        """Count a piece."""
        self.came += len(chunk)
        self.rest += len(chunk)
        if self.rest >= _STEP:
            self._pool.emit(Came(self.rest))
            self.rest = 0

    def alive(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Give chunks for as long as the pool goes on."""
        return self._pool.alive(chunks)


class _Body:
    """The bytes of an archive from one upstream: watched, measured, decompressed."""

    def __init__(
        self, source: Source, claim: Narinfo, meter: _Meter, require_room: Callable[[], None]
    ) -> None:
        self._source = source
        self._claim = claim
        self._meter = meter
        self._require_room = require_room
        self._error: NarborError | None = None
        known = claim.file_hash is not None and claim.file_hash.algorithm in _FILE_HASHES
        algorithm = claim.file_hash.algorithm if claim.file_hash and known else "sha256"
        self._file = streams.Tally(self._watched(), algorithm)

    def archive(self) -> Iterator[bytes]:
        """Give the NAR, at most as long as its claim says.

        What is costly to unpack is unpacked on a thread of its own: beside it, what has come is
        cut and kept.
        """
        size, compression = self._claim.seal.size, self._claim.compression
        archive = streams.decompress(self._file, compression, size)
        if compression == "none" or size < _WORTH_A_THREAD:
            return archive
        return ahead(archive, _AHEAD)

    def is_its(self, error: NarborError) -> bool:
        """Tell whether the upstream raised this, and not the library."""
        return error is self._error

    def difference(self) -> str | None:
        """Say how the file differs from FileHash and FileSize, if these were given."""
        claim, file = self._claim, self._file
        differences = []
        if claim.file_size is not None and claim.file_size != file.size:
            differences.append(f"FileSize is {claim.file_size}, the file has {file.size} bytes")
        if claim.file_hash is not None and claim.file_hash != file.digest:
            differences.append(f"FileHash is {claim.file_hash}, the file's is {file.digest}")
        return "; ".join(differences) or None

    def _watched(self) -> Iterator[bytes]:
        until_look = _DISK_STEP
        for chunk in self._meter.alive(self._named()):
            self._meter.pass_on(chunk)
            until_look -= len(chunk)
            if until_look <= 0:
                self._require_room()
                until_look = _DISK_STEP
            yield chunk

    def _named(self) -> Iterator[bytes]:
        try:
            yield from self._source.cache.archive(self._claim)
        except NarborError as error:
            self._error = error
            if isinstance(error, Unavailable):
                self._source.failed(error)
            raise
