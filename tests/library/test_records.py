"""Records of others: room for so many names, and for none that is over."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from narbor.catalogue import Catalogue
from narbor.formats import ipns
from narbor.library.records import NoRoom, Records
from narbor.names.peerkey import PeerKey

NOW = ipns.read_time(b"2026-11-21T12:00:00Z")
KEYS = [PeerKey(bytes([number]) * 32) for number in range(4)]


def record(number: int, until: int, sequence: int = 0) -> bytes:
    """A record."""
    return ipns.create(KEYS[number], b"/ipfs/bafkqaaa", sequence, until)


def test_what_is_over_makes_room(tmp_path: Path) -> None:
    place = tmp_path / "catalogue.sqlite"
    now = [NOW]
    own = {KEYS[3].name}
    records = Records(partial(Catalogue.open, place), lambda: now[0], lambda: own, 3)
    short, long = record(0, NOW + 1), record(1, NOW + ipns.HOUR)
    assert records.keep(KEYS[0].name, short, None)
    assert records.keep(KEYS[1].name, long, None)
    ours = record(3, NOW + 1)
    assert records.keep(KEYS[3].name, ours, None)
    with pytest.raises(NoRoom, match="3 names"):
        records.keep(KEYS[2].name, record(2, NOW + ipns.HOUR), None)
    # A name that is here needs no room.
    newer = record(1, NOW + ipns.HOUR, 1)
    assert records.keep(KEYS[1].name, newer, long)
    assert not records.keep(KEYS[1].name, long, long)
    now[0] = NOW + 1
    other = record(2, NOW + ipns.HOUR)
    assert records.keep(KEYS[2].name, other, None)
    with closing(Catalogue.open(place)) as catalogue:
        kept = {KEYS[1].name: newer, KEYS[2].name: other, KEYS[3].name: ours}
        assert dict(catalogue.records()) == kept
        assert catalogue.record_count() == 3
        assert not catalogue.drop_record(KEYS[1].name, long)
