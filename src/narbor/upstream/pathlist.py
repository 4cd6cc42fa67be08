"""Lists of store paths, one a line, as channels publish them (`store-paths.xz`)."""

from collections.abc import Iterable, Iterator
from typing import Final

from narbor.errors import Rejected
from narbor.formats import streams

_SUFFIXES: Final = {".xz": "xz", ".zst": "zstd", ".gz": "gzip", ".bz2": "bzip2", ".br": "br"}
LARGEST: Final = 1 << 30
LONGEST_LINE: Final = 4096


class NoPathList(Rejected):
    """A file is no list of store paths."""


def read(chunks: Iterable[bytes], name: str) -> Iterator[str]:
    """Give the lines that are not empty; how it is packed is told by the end of `name`.

    Raises NoPathList, which says the line's number, for a line that is no absolute path.
    """
    suffix = name.partition("?")[0].lower()
    packing = next((word for end, word in _SUFFIXES.items() if suffix.endswith(end)), "none")
    try:
        for number, line in enumerate(_lines(streams.decompress(chunks, packing, LARGEST)), 1):
            text = line.strip()
            if text and not text.startswith(b"/"):
                raise NoPathList(f"line {number} is no store path: {text[:80]!r}")
            if text:
                yield text.decode("utf-8", "replace")
    except Rejected as error:
        raise NoPathList(f"{name}: {error}") from error


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            raise NoPathList(f"a line of more than {LONGEST_LINE} bytes: {rest[:80]!r}")
    yield rest
