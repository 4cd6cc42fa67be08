"""Byte streams: decompressed, measured, and checked against a seal.

Whatever is read is read to its end: what lies behind the last member of a compressed stream is
refused, a stream that ends early too, and nothing is held but the piece at hand.
"""

import bz2
import hashlib
import lzma
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

import brotli
import lz4.frame
import zstandard
from isal import igzip_lib

from narbor.errors import Rejected
from narbor.formats import lzip, zstdblocks
from narbor.names.digest import Digest, Seal

PIECE: Final = 256 << 10
MEMORY: Final = 256 << 20
WINDOW: Final = 128 << 20


class UnknownCompression(Rejected):
    """A compression has a name that this house cannot read."""


class UnknownHash(Rejected):
    """A seal is in a hash function that cannot be computed here."""


class Corrupt(Rejected):
    """A compressed stream is damaged, ends early, or has bytes behind its end."""


class TooLarge(Rejected):
    """A stream is longer than it may be."""


class Mismatch(Rejected):
    """A stream is not what its seal says."""


class _Decoder(Protocol):
    """The face that bz2, lzma, isal and lz4 share: one member, bounded output."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Brotli:
    """`_Decoder` for brotli, which has one member and a face of its own."""

    unused_data = None

    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()
        self._drained = True

    @property
    def eof(self) -> bool:
        return bool(self._decoder.is_finished())

    @property
    def needs_input(self) -> bool:
        # It can take more while output still waits inside, and at the end that output is the last.
        return self._drained and bool(self._decoder.can_accept_more_data())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = bytes(self._decoder.process(data, output_buffer_limit=max_length))
        self._drained = not out
        return out


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)


def _gzip() -> _Decoder:
    decoder: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return decoder


def _lz4() -> _Decoder:
    decoder: _Decoder = lz4.frame.LZ4FrameDecompressor()
    return decoder


_DECODERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "xz": _xz,
    "bzip2": bz2.BZ2Decompressor,
    "gzip": _gzip,
    "lzip": lzip.Member,
    "lz4": _lz4,
    "br": _Brotli,
}
COMPRESSIONS: Final = frozenset(_DECODERS) | {"none", "zstd"}

# isal's stub gives its error as a value, not as a type.
_IsalError: type[Exception] = vars(igzip_lib)["IsalError"]
# What the libraries raise for damaged input: bz2 OSError, lz4 RuntimeError, isal its own error.
_DAMAGE: Final = (
    OSError,
    EOFError,
    RuntimeError,
    lzma.LZMAError,
    brotli.error,
    _IsalError,
    lzip.CorruptLzip,
)


def decompress(chunks: Iterable[bytes], compression: str, limit: int) -> Iterator[bytes]:
    """Give what `chunks` hold in the compression that a narinfo names; at most `limit` bytes.

    `compression` is one of none, xz, bzip2, gzip, zstd, lzip, lz4, br; streams of several members
    or frames are read through. Raises UnknownCompression at once; while it is read, Corrupt for
    damage, an early end or trailing bytes, and TooLarge as soon as more than `limit` bytes come.
    """
    if compression not in COMPRESSIONS:
        raise UnknownCompression(f"the compression {compression!r} is not known")
    if compression == "none":
        return limited(chunks, limit)
    if compression == "zstd":
        return limited(_unzstd(chunks), limit)
    return limited(_members(chunks, compression), limit)


def limited(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Give `chunks` again; raises TooLarge as soon as they are more than `limit` bytes."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"{size} bytes and more came, where at most {limit} may")
        yield chunk


def gathered(chunks: Iterable[bytes], least: int) -> Iterator[bytes]:
    """Give the same bytes in pieces of at least `least`, but for the last; empty ones are none."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= least:
            yield b"".join(held) if len(held) > 1 else chunk
            held.clear()
            size = 0
    if size:
        yield b"".join(held)


class Hashing(Protocol):
    """A hash function on its way, as hashlib has them."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """Return the hash of all bytes taken."""
        ...


def _as_it_is(function: Hashing) -> Hashing:
    return function


def checked(
    chunks: Iterable[bytes],
    seal: Seal,
    what: str,
    aside: Callable[[Hashing], Hashing] = _as_it_is,
) -> Iterator[bytes]:
    """Give `chunks` again, and compare them with `seal` when they end.

    The last piece has been given before the verdict: keep nothing until the iterator is through.
    `aside` may put the hash function elsewhere, on another thread say.
    Raises Mismatch, which names `what` and both values, and UnknownHash.
    """
    function = aside(_hash(seal.digest.algorithm))
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > seal.size:
            raise Mismatch(f"{what}: {size} bytes and more came, its size is {seal.size}")
        function.update(chunk)
        yield chunk
    if size != seal.size:
        raise Mismatch(f"{what}: {size} bytes came, its size is {seal.size}")
    seen = Digest(seal.digest.algorithm, function.digest())
    if seen != seal.digest:
        raise Mismatch(f"{what}: the bytes are {seen}, not {seal.digest}")


class Tally:
    """Chunks on their way, with their size and hash so far; nothing is compared."""

    def __init__(self, chunks: Iterable[bytes], algorithm: str = "sha256") -> None:
        self.size = 0
        self._chunks = chunks
        self._algorithm = algorithm
        self._function = _hash(algorithm)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self._function.update(chunk)
            yield chunk

    @property
    def digest(self) -> Digest:
        """The hash of all that has passed."""
        return Digest(self._algorithm, self._function.digest())


def _hash(algorithm: str) -> "hashlib._Hash":
    try:
        return hashlib.new(algorithm, usedforsecurity=False)
    except ValueError as error:
        raise UnknownHash(f"the hash {algorithm} cannot be computed here") from error


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decode zstd frames one after the other; raises Corrupt."""
    decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    frames = decoder.decompressobj(read_across_frames=True)
    for run in _damage_named("zstd", zstdblocks.batches(chunks)):
        try:
            out = frames.decompress(run)
        except zstandard.ZstdError as error:
            raise Corrupt(f"zstd: {error}") from error
        if out:
            yield out


def _damage_named(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except zstdblocks.CorruptFrame as error:
        raise Corrupt(str(error)) from error


def _members(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Decode one member after the other until the chunks end; raises Corrupt."""
    source = filter(None, chunks)
    data = next(source, None)
    if data is None:
        raise Corrupt(f"{name}: the stream is empty")
    while data is not None:
        decoder = _DECODERS[name]()
        while not decoder.eof:
            if not data and decoder.needs_input:
                data = next(source, None)
                if data is None:
                    raise Corrupt(f"{name}: the stream ends in the middle of a member")
            try:
                out = decoder.decompress(data, PIECE)
            except _DAMAGE as error:
                raise Corrupt(f"{name}: {error}") from error
            data = b""
            if out:
                yield out
        data = decoder.unused_data or next(source, None)
        if name == "xz":
            data = _padding(data, source)


def _padding(data: bytes | None, source: Iterator[bytes]) -> bytes | None:
    """Skip xz stream padding (zero bytes, in fours) and give what follows it; raises Corrupt."""
    zeros = 0
    while data is not None:
        rest = data.lstrip(b"\0")
        zeros += len(data) - len(rest)
        if rest:
            data = rest
            break
        data = next(source, None)
    if zeros % 4:
        raise Corrupt(f"xz: {zeros} zero bytes stand behind a stream, which is no multiple of 4")
    return data
