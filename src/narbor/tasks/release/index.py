"""programs.sqlite, put into the expressions of a release that came without it.

The shells of NixOS ask it which package brings a command. Upstream's tarballs have it; those of a
Hydra's jobs have not.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from narbor.catalogue import Package
from narbor.formats import expressions, packing, programs, streams
from narbor.tasks.release.programs import Trees
from narbor.tasks.release.programs import programs as all_programs

FILE: Final = "programs.sqlite"
_LARGEST: Final = 8 << 30  # of expressions, uncompressed


def lacks(source: Iterable[bytes]) -> bool:
    """Tell whether a `.tar.xz` of expressions has no such file.

    Raises MalformedTarball, Corrupt.
    """
    return FILE not in expressions.layout(_plain(source)).names


def put(
    library: Trees,
    packages: Iterable[Package],
    source: Callable[[], Iterator[bytes]],
    modified: int,
) -> Iterator[bytes]:
    """Give a `.tar.xz` of expressions anew, with the programs of these packages.

    `source` reads the old one; it is called twice.
    """
    found = programs.write(all_programs(library, packages))
    where = expressions.layout(_plain(source()))
    return packing.xz(expressions.added(_plain(source()), where, FILE, found, modified))


def _plain(source: Iterable[bytes]) -> Iterator[bytes]:
    return streams.decompress(source, "xz", _LARGEST)
