"""A pinning service as a promise: it is told a root and where the blocks are, and fetches them.

The old root stays pinned until the new one is, and is then let go; what both have in common is
kept all the time. A request that is pending or failed, for another root or this one, gives its
place to the new one.
"""

import threading
from collections.abc import Sequence

from narbor.names.cid import Cid
from narbor.net.pinning import Pinning, Request
from narbor.pins import FAILED, PINNED


class Service:
    """A `Promise` over one service."""

    def __init__(self, pinning: Pinning) -> None:
        """The HTTP client of `pinning` is the caller's, who closes it."""
        self._pinning = pinning
        self._awaited: set[str] = set()
        self._lock = threading.Lock()

    def kept(self, name: str) -> Cid | None:
        """Return the root that is pinned under this name; of several, the last one asked for."""
        pinned = [each for each in self._pinning.requests(name) if each.state == PINNED]
        return pinned[0].root if pinned else None

    def keep(self, name: str, root: Cid, origins: Sequence[str]) -> str:
        """Ask for `root`, or how that stands.

        FAILED is said once of each attempt that this object has seen pending; the next call is
        another attempt.
        """
        with self._lock:
            requests = self._pinning.requests(name)
            same = [each for each in requests if each.root == root]
            pinned = [each for each in same if each.state == PINNED]
            if pinned:
                self._let_go([each for each in requests if each != pinned[0]])
                return PINNED
            pending = [each for each in same if each.state != FAILED]
            if pending:
                self._let_go(
                    [each for each in requests if each.state != PINNED and each != pending[0]]
                )
                self._awaited.add(pending[0].id)
                return pending[0].state
            failed = [each for each in same if each.id in self._awaited]
            if failed:
                self._awaited.discard(failed[0].id)
                return FAILED
            return self._begin(name, root, origins, requests)

    def reason(self, name: str, root: Cid) -> str:
        """Return what the service says of the last request for this root; "" for nothing."""
        requests = self._pinning.requests(name)
        return next((each.details for each in requests if each.root == root), "")

    def _begin(
        self, name: str, root: Cid, origins: Sequence[str], requests: Sequence[Request]
    ) -> str:
        """Make a request, in the place of one that has not come to anything."""
        idle = [each for each in requests if each.state != PINNED]
        if idle:
            made = self._pinning.replace(idle[0].id, root, name, origins)
            self._let_go(idle[1:])
        else:
            made = self._pinning.add(root, name, origins)
        if made.state == PINNED:
            self._let_go([each for each in requests if each.state == PINNED])
        elif made.state != FAILED:
            self._awaited.add(made.id)
        return made.state

    def _let_go(self, requests: Sequence[Request]) -> None:
        for each in requests:
            self._pinning.remove(each.id)
            self._awaited.discard(each.id)
