"""Sorted lists of digests in a file: all that was put in is found, and nothing else."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins import digests
from narbor.pins.digests import Digests
from tests.fakes.shelf import FakeShelf
from tests.strategies import cids


@given(st.lists(st.binary(max_size=3)), st.binary(max_size=3))
def test_what_was_written_is_found_at_its_place(contents: list[bytes], other: bytes) -> None:
    shelf = FakeShelf()
    put = [sha256(content).digest() for content in contents]
    assert digests.write(shelf, "x", put) == len(set(put))
    found = Digests(shelf, "x")
    assert list(found) == sorted(set(put))
    assert len(found) == len(set(put))
    for at, digest in enumerate(found):
        assert found.find(digest) == at
    digest = sha256(other).digest()
    assert (found.find(digest) >= 0) == (digest in put)


@given(st.lists(st.integers(0, 50)), st.integers(1, 9))
def test_runs_are_merged(numbers: list[int], longest: int) -> None:
    put = (number.to_bytes(32, "big") for number in numbers)
    found = [int.from_bytes(digest, "big") for digest in digests.ordered(put, longest)]
    assert found == sorted(set(numbers))


@given(cids())
def test_names_and_digests(name: Cid) -> None:
    digest = digests.of(name)
    if digest is None:
        assert cid.inlined(name) is not None
    else:
        assert digests.name(digest)[-32:] == name[-32:]


def test_no_list_is_an_empty_one() -> None:
    found = Digests(FakeShelf(), "none")
    assert (len(found), list(found), found.find(bytes(32))) == (0, [], -1)
