"""Which blocks are roots: of items, of files of releases, of sources, of what is kept or published.

Whoever looks for others who have a DAG asks for its root, and then whoever has that for the rest.
"""

from collections.abc import Iterator
from typing import Final

from narbor.catalogue.publications import Publications
from narbor.names.cid import Cid

# Columns with an index over the first bytes of the hash (migration 8).
_INDEXED: Final = (
    ("item", "tree"),
    ("item", "archive"),
    ("root", "tree"),
    ("root", "archive"),
    ("file", "root"),
    ("tarball", "root"),
)
_FEW: Final = ("publication", "kept")
_HEAD: Final = 5  # counted from 1: where the hash begins in a CID of raw or dag-pb
_PREFIX: Final = 8


class Roots(Publications):
    """What is asked of all roots together. Safe for threads."""

    def is_root(self, digest: bytes) -> bool:
        """Tell whether the block with this SHA-256 is a root, whatever its codec."""
        for table, column in _INDEXED:
            query = (
                f"SELECT 1 FROM {table} WHERE substr({column}, {_HEAD}, {_PREFIX}) = ? "
                f"AND substr({column}, {_HEAD}) = ? LIMIT 1"
            )
            if self._database.rows(query, (digest[:_PREFIX], digest)):
                return True
        # Of any codec: the hash stands at the end.
        few = (f"SELECT root FROM {table}" for table in _FEW)
        return any(root.endswith(digest) for query in few for (root,) in self._database.rows(query))

    def all_roots(self) -> Iterator[Cid]:
        """Give all roots, each once; the memory of SQLite's temporary tables is used."""
        places = (*_INDEXED, *((table, "root") for table in _FEW))
        union = " UNION ".join(f"SELECT {column} FROM {table}" for table, column in places)
        return (Cid(root) for (root,) in self._database.rows(union))
