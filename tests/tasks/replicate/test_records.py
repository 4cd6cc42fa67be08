"""What names stand for: the latest good record of all sources counts, and none goes back."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.errors import Unavailable
from narbor.formats import ipns
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid
from narbor.names.peerkey import PeerKey
from narbor.tasks.replicate import records
from narbor.tasks.replicate.records import NoRecord, NoRoot, resolve
from tests.library.store import opened

KEY, OTHER = PeerKey(bytes(range(32))), PeerKey(bytes(32))
NOW = ipns.read_time(b"2026-11-21T12:00:00Z")
ROOTS = [cid.node(b"%d" % number) for number in range(10)]


def record(
    number: int, key: PeerKey = KEY, until: int = NOW + ipns.HOUR, value: str | None = None
) -> bytes:
    """The record with this sequence, for the root of the same number."""
    said = value or f"/ipfs/{cid.text(ROOTS[number])}"
    return ipns.create(key, said.encode(), number, until)


@dataclass
class Knows:
    """A source that gives what it is told, or fails."""

    name: str
    texts: dict[Cid, bytes | None]

    def record(self, name: Cid) -> bytes | None:
        """Give a record, or fail."""
        if name not in self.texts:
            raise Unavailable(f"{self.name} is away")
        return self.texts[name]


def knows(text: bytes | None, name: Cid = KEY.name) -> Knows:
    """A source that knows one name."""
    return Knows("source", {name: text})


def none(name: Cid) -> None:
    """Keep nothing."""


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=6),
    st.one_of(st.none(), st.integers(0, 9)),
)
def test_the_latest_counts_whoever_gives_it(given: list[int | None], here: int | None) -> None:
    sources = [knows(None if each is None else record(each)) for each in given]
    kept = None if here is None else record(here)
    all = [each for each in (*given, here) if each is not None]
    if not all:
        with pytest.raises(NoRecord, match=peerkey.text(KEY.name)):
            resolve(sources, KEY.name, lambda name: kept, NOW)
        return
    found = resolve(sources, KEY.name, lambda name: kept, NOW)
    assert found.root == ROOTS[max(all)]
    assert [each.sequence for each in found.said] == given


def test_who_is_away_or_makes_things_up_does_not_count() -> None:
    bad = [
        Knows("away", {}),
        knows(b"nonsense"),
        knows(record(9, OTHER)),
        knows(record(9, until=NOW - 1)),
    ]
    found = resolve([*bad, knows(record(3))], KEY.name, none, NOW)
    assert found.root == ROOTS[3]
    assert [bool(each.reason) for each in found.said] == [True] * 4 + [False]
    with pytest.raises(NoRecord, match="away is away"):
        resolve(bad, KEY.name, none, NOW)


def test_a_name_does_not_go_back_behind_what_is_known_here() -> None:
    old = record(5, until=NOW - 1)
    with pytest.raises(NoRecord, match="no later one"):
        resolve([knows(record(4))], KEY.name, lambda name: old, NOW)
    assert resolve([knows(record(6))], KEY.name, lambda name: old, NOW).root == ROOTS[6]


def test_names_lead_to_names() -> None:
    first = record(0, value=f"/ipns/{peerkey.text(OTHER.name)}/")
    source = Knows("source", {KEY.name: first, OTHER.name: record(2, OTHER)})
    found = resolve([source], KEY.name, none, NOW)
    assert found.root == ROOTS[2]
    assert [name for name, _ in found.records] == [KEY.name, OTHER.name]
    circle = knows(record(0, value=f"/ipns/{peerkey.text(KEY.name)}"))
    with pytest.raises(NoRoot, match="more than"):
        resolve([circle], KEY.name, none, NOW)


@pytest.mark.parametrize("value", ["/ipfs/x", "/ipns/example.org", "/ipfs/bafkqaaa/a", "text"])
def test_what_is_no_root_is_said(value: str) -> None:
    with pytest.raises(NoRoot, match="says"):
        resolve([knows(record(0, value=value))], KEY.name, none, NOW)
    assert cidtext.known(cidtext.parse("bafkqaaa")) == cid.inline(b"")


def test_records_are_kept_unless_a_later_one_is(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        catalogue = library.catalogue
        assert records.keep(catalogue, KEY.name, record(1))
        assert records.keep(catalogue, KEY.name, record(1))
        assert records.keep(catalogue, KEY.name, record(2))
        assert not records.keep(catalogue, KEY.name, record(1))
        assert catalogue.record_of(KEY.name) == record(2)
