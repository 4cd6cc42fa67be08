"""A name for what was published: an IPNS record, signed here, kept, and given out by the doors.

A record says one value more than the last one by its sequence. Of the same value it is only made
to last longer, and not before half of its time is over: who asks again gets the same bytes.
"""

from dataclasses import dataclass
from typing import Final

from narbor.errors import Refused, Unavailable
from narbor.formats import ipns
from narbor.library import Library
from narbor.names import peerkey
from narbor.names.peerkey import PeerKey

_ATTEMPTS: Final = 5


class Contended(Unavailable):
    """Somebody else goes on giving the same name."""


class ShortLived(Refused):
    """A record would be kept by others for longer than it is good."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """For how long a record is good, and for how long others may keep it: nanoseconds."""

    lifetime: int = ipns.LIFETIME
    ttl: int = ipns.TTL

    def __post_init__(self) -> None:
        if not 0 < self.ttl <= self.lifetime:
            raise ShortLived(
                f"a record that is good for {self.lifetime // 10**9} s cannot be kept by others "
                f"for {self.ttl // 10**9} s"
            )


def name(
    library: Library, key: PeerKey, value: bytes, now: int, lasting: Lasting | None = None
) -> ipns.Record:
    """Let the name of `key` say `value` (`/ipfs/CID`); return its record. `now` in nanoseconds.

    The key must not be used elsewhere at the same time. Raises Contended.
    """
    terms = lasting or Lasting()
    for _ in range(_ATTEMPTS):
        before = library.catalogue.record_of(key.name)
        last = None if before is None else ipns.parse(before)
        if last is not None and _will_do(last, value, now, terms):
            return last
        sequence = 0 if last is None else last.sequence + (last.value != value)
        text = ipns.create(key, value, sequence, now + terms.lifetime, terms.ttl)
        if library.catalogue.keep_record(key.name, text, before):
            return ipns.parse(text)
    raise Contended(f"the record of {peerkey.text(key.name)} changes all the time")


def _will_do(last: ipns.Record, value: bytes, now: int, terms: Lasting) -> bool:
    """Tell whether a record says what is wanted, and will for half of its time at least."""
    left = last.until - now
    return (
        last.value == value
        and last.ttl == terms.ttl
        and terms.lifetime // 2 <= left <= terms.lifetime
    )
