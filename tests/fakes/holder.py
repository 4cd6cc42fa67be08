"""A holder in memory: it really keeps, checks and walks, and fails as it is told."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from narbor.errors import Rejected, Unavailable
from narbor.formats import ipld
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins import MOST_ASKED, Block, Incomplete


@dataclass(slots=True)
class FakeHolder:
    """Blocks and named roots. `room` is how many more blocks it takes before it breaks off.

    `down` makes every call fail; `taken` counts all blocks that were given; `lists` lets it give
    an inventory.
    """

    blocks: dict[Cid, bytes] = field(default_factory=dict)
    roots: dict[str, Cid] = field(default_factory=dict)
    room: int | None = None
    down: bool = False
    lists: bool = True
    taken: int = 0
    asked: int = 0

    def lose(self, name: Cid) -> None:
        """Lose a block."""
        del self.blocks[name]

    def kept(self, name: str) -> Cid | None:
        """Return the root of a name."""
        self._answer()
        return self.roots.get(name)

    def missing(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which are not here."""
        self._answer()
        assert len(names) <= MOST_ASKED
        self.asked += len(names)
        return {name for name in names if name not in self.blocks and ipld.inlined(name) is None}

    def inventory(self) -> Iterator[Cid] | None:
        """Give all blocks."""
        self._answer()
        return iter(list(self.blocks)) if self.lists else None

    def take(self, blocks: Iterable[Block]) -> None:
        """Take blocks, one by one."""
        self._answer()
        for name, data in blocks:
            if ipld.inlined(name) is not None:
                continue
            if not cid.matches(name, data):
                raise Rejected(f"memory: {cid.text(name)} is not the name of these bytes")
            if self.room is not None:
                if not self.room:
                    raise Unavailable("memory: broken off")
                self.room -= 1
            self.taken += 1
            self.blocks[name] = data

    def keep(self, name: str, root: Cid) -> None:
        """Keep a root, if all below it is here."""
        self._answer()
        ahead, seen = [root], {root}
        while ahead:
            here = ahead.pop()
            inside = ipld.inlined(here)
            block = self.blocks.get(here) if inside is None else inside
            if block is None:
                raise Incomplete(f"memory: {cid.text(here)}, below {cid.text(root)}, is not here")
            for link in ipld.links(here, block):
                below = cid.check(link)
                if below not in seen:
                    seen.add(below)
                    ahead.append(below)
        self.roots[name] = root

    def close(self) -> None:
        """Let nothing go: there is nothing."""

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("memory: nobody answers")
