"""Names: one sequence more for each value, longer life for the same one, kept and given out."""

from pathlib import Path

import pytest

from narbor.doors import http
from narbor.doors.http import Request
from narbor.doors.ipfs import IpfsDoor
from narbor.formats import ipns
from narbor.library.dags import Dags
from narbor.names import cid, peerkey
from narbor.names.keys import CorruptKey
from narbor.names.peerkey import PeerKey
from narbor.tasks.publish import naming
from narbor.tasks.publish.naming import Lasting, ShortLived
from tests.library.store import opened
from tests.tasks.test_collect import put
from tests.tasks.test_publish import published

KEY = PeerKey(bytes(range(32)))
NOW = ipns.read_time(b"2026-11-21T12:00:00Z")
ONE, TWO = b"/ipfs/bafkqaaa", b"/ipfs/bafkqabtimvwgy3yk"


def test_the_sequence_rises_with_the_value(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        first = naming.name(library, KEY, ONE, NOW)
        assert (first.value, first.sequence, first.ttl) == (ONE, 0, ipns.TTL)
        assert first.until == NOW + ipns.LIFETIME
        assert naming.name(library, KEY, ONE, NOW + 24 * ipns.HOUR) == first
        later = NOW + 24 * ipns.HOUR + 1
        longer = naming.name(library, KEY, ONE, later)
        assert (longer.sequence, longer.until) == (0, later + ipns.LIFETIME)
        assert ipns.newer(first.text, longer.text) == longer.text
        other = naming.name(library, KEY, TWO, NOW)
        assert other.sequence == 1
        assert naming.name(library, KEY, ONE, NOW).sequence == 2
        assert library.catalogue.records() == (
            (KEY.name, naming.name(library, KEY, ONE, NOW).text),
        )


def test_other_terms_make_another_record(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        first = naming.name(library, KEY, ONE, NOW)
        short = naming.name(library, KEY, ONE, NOW, Lasting(ipns.HOUR, ipns.MINUTE))
        assert short != first
        assert (short.until, short.ttl) == (NOW + ipns.HOUR, ipns.MINUTE)
    for lifetime, ttl in ((ipns.MINUTE, ipns.HOUR), (ipns.HOUR, 0)):
        with pytest.raises(ShortLived):
            Lasting(lifetime, ttl)


def test_two_writers_do_not_give_one_sequence_twice(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        first = naming.name(library, KEY, ONE, NOW).text
        other = ipns.create(KEY, TWO, 1, NOW + ipns.HOUR)
        assert not library.catalogue.keep_record(KEY.name, other, None)
        assert library.catalogue.keep_record(KEY.name, other, first)
        assert not library.catalogue.keep_record(KEY.name, first, first)
        assert naming.name(library, KEY, ONE, NOW).sequence == 2


def test_a_gateway_follows_the_name_of_a_published_cache(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "one")
        root = published(library).root
        naming.name(library, KEY, f"/ipfs/{cid.text(root)}".encode(), NOW)
        dags = Dags(library)
        door = IpfsDoor(dags, lambda: NOW, dags)
        path = f"/ipns/{peerkey.text(KEY.name)}/nix-cache-info"
        answer = http.ask([door], Request("GET", path))
        assert answer.status == 200
        assert answer.header("cache-control") == "public, max-age=300"
        assert dags.record(PeerKey(bytes(32)).name) is None


def test_keys_are_written_as_kubo_takes_them() -> None:
    text = str(KEY)
    assert text.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert PeerKey.parse(text) == KEY
    for bad in ("", "x", text[:60], text.replace("PRIVATE", "PUBLIC")):
        with pytest.raises(CorruptKey):
            PeerKey.parse(bad)
