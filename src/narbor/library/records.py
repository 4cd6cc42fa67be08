"""Records of anybody's names, kept for those who ask here: whoever has a key may send one.

There is room for so many names. Where it is full, records that are no longer good make room; those
of our own names stay, since the next one counts on from them.
"""

from collections.abc import Callable, Collection
from contextlib import closing
from typing import Final

from narbor.catalogue import Catalogue
from narbor.errors import Rejected, Unavailable
from narbor.formats import ipns
from narbor.names.cid import Cid

MOST: Final = 10_000
"""Names: at most 100 MB of records."""


class NoRoom(Unavailable):
    """Records of too many names are kept already."""


class Records:
    """Who keeps records. The catalogue is opened for each one: they are few. Safe for threads."""

    def __init__(
        self,
        opened: Callable[[], Catalogue],
        clock: Callable[[], int],
        own: Callable[[], Collection[Cid]],
        most: int = MOST,
    ) -> None:
        """`opened` opens a catalogue for writing, `clock` gives nanoseconds since 1970.

        `own` gives the names whose keys are ours.
        """
        self._opened = opened
        self._clock = clock
        self._own = own
        self._most = most

    def keep(self, name: Cid, text: bytes, before: bytes | None) -> bool:
        """Keep a verified record in place of `before`; False where another one is kept by now.

        Raises NoRoom, and what the catalogue raises.
        """
        with closing(self._opened()) as catalogue:
            if before is None and catalogue.record_count() >= self._most:
                self._clear(catalogue)
            return catalogue.keep_record(name, text, before)

    def _clear(self, catalogue: Catalogue) -> None:
        """Let go of what is no longer good; raises NoRoom where that is nothing."""
        now, own, gone = self._clock(), self._own(), 0
        for name, text in catalogue.records():
            try:
                good = ipns.parse(text).until > now
            except Rejected:
                good = False
            if not good and name not in own:
                gone += catalogue.drop_record(name, text)
        if not gone:
            raise NoRoom(f"records of {self._most:,} names are kept here, and no more: try others")
