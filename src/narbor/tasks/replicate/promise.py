"""Ask someone to fetch a root and to keep it, and watch how that goes.

A pinning service promises and does it when it likes, so nothing is checked block by block: what it
says is all that is known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from narbor.pins import PINNED, PINNING, QUEUED, Promise
from narbor.tasks.replicate import Order


@dataclass(frozen=True, slots=True)
class Stands:
    """How a request stands: queued, pinning, pinned, failed; or none, where nothing was asked."""

    state: str

    @property
    def whole(self) -> bool:
        """Tell whether the root is kept."""
        return self.state == PINNED

    @property
    def pending(self) -> bool:
        """Tell whether asking again later may say more."""
        return self.state in (QUEUED, PINNING)


def ask(service: Promise, order: Order, origins: Sequence[str]) -> Iterator[Stands]:
    """Give how it stands, each time it is asked for, until it is pinned or has failed.

    Sleep before asking for the next, or give up: the request stays. `origins` are multiaddrs where
    the blocks can be had.
    """
    while True:
        now = Stands(service.keep(order.name, order.root, origins))
        yield now
        if not now.pending:
            return


def look(service: Promise, order: Order) -> Stands:
    """Tell whether the root is kept, and ask for nothing."""
    return Stands(PINNED if service.kept(order.name) == order.root else "none")
