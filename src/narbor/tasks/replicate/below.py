"""What hangs from a root, as it lies in the store: each block once, marked in bitmaps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from narbor.blocks import BlockDamaged, BlockMissing
from narbor.blocks.sweep import Live
from narbor.dag.reach import reach
from narbor.errors import NarborError
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names import cid
from narbor.names.cid import Cid

_DIGEST: Final = 32
_SHA256: Final = bytes((cid.SHA256, _DIGEST))


class Below:
    """Walks and reads; blocks that are not here, or damaged, are told to `lose`, each once."""

    def __init__(self, library: Library, lose: Callable[[Cid, str], None]) -> None:
        self._store = library.blocks
        self._get = Reader(library.blocks).node
        self._tell = lose
        self._lost: set[Cid] = set()

    def marked(self, roots: Iterable[Cid]) -> Live:
        """Mark what hangs from these roots, as far as it is here; what is not is no loss."""
        live = Live(self._store)
        for root in roots:
            for _ in reach(root, self._get, live.add, _pass_over):
                pass
        return live

    def known(self, names: Iterable[Cid]) -> Live:
        """Mark the blocks that have these multihashes, whatever their codec."""
        live = Live(self._store)
        live.add_hashes(name[-_DIGEST:] for name in names if name[-_DIGEST - 2 :][:2] == _SHA256)
        return live

    def walk(self, root: Cid, without: Live) -> Iterator[tuple[int, Cid]]:
        """Give id and name of each block below `root`, parents first, but for those `without`.

        What hangs only from these is not given either.
        """
        seen, last = Live(self._store), 0

        def enter(name: Cid) -> bool:
            nonlocal last
            id = seen.id_of(name)
            if id is None:
                self._lose(name, "it is not here")
                return False
            last = id
            return id not in without and seen.add_id(id)

        for name in reach(root, self._get, enter, self._complain):
            yield last, name

    def read(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give blocks with their names, in this order, but for those that cannot be read."""
        ahead = list(names)
        while ahead:
            at = 0
            try:
                for data in self._store.get_many(ahead):
                    yield ahead[at], data
                    at += 1
            except (BlockMissing, BlockDamaged) as error:
                self._lose(error.name, str(error))
                ahead = [name for name in ahead[at:] if name != error.name]
            else:
                return

    def _complain(self, name: Cid, error: NarborError) -> None:
        # A block that is not of its codec is given as it is: nothing is known below it.
        if isinstance(error, BlockMissing | BlockDamaged):
            self._lose(name, str(error))

    def _lose(self, name: Cid, reason: str) -> None:
        if name not in self._lost:
            self._lost.add(name)
            self._tell(name, reason)


def _pass_over(name: Cid, error: NarborError) -> None:
    """Below what cannot be read nothing is marked."""
