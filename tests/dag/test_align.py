"""What is new meets what it came from."""

import string

from hypothesis import given
from hypothesis import strategies as st

from narbor.dag.align import ROOM, align
from narbor.dag.splice import Leaf
from narbor.names import cid

SIZES = {letter: 100 + at for at, letter in enumerate(string.ascii_letters)}
NAMES = {cid.raw(letter.encode()): letter for letter in SIZES}
texts = st.text(string.ascii_letters, max_size=60)


def leaves(letters: str) -> list[Leaf]:
    """One leaf for each letter."""
    return [Leaf(cid.raw(letter.encode()), SIZES[letter]) for letter in letters]


def letters(found: tuple[Leaf, ...]) -> str:
    """Read them back."""
    return "".join(NAMES[leaf.cid] for leaf in found)


def aligned(old: str, new: str, here: str | None = None, room: int = ROOM) -> list[tuple[str, str]]:
    """Align letters; what is old is here, unless said otherwise."""
    known = {leaf.cid for leaf in leaves(old if here is None else here)}
    return [
        (letters(each.wanted), letters(each.basis))
        for each in align(leaves(old), leaves(new), known, room)
    ]


def test_what_lies_between_the_same_neighbours() -> None:
    """The picture at the head of the module."""
    assert aligned("ApqrBsC", "APQBCT") == [("PQ", "pqr"), ("T", "")]


def test_without_anything_old() -> None:
    """A first version resembles nothing."""
    assert aligned("", "abc") == [("abc", "")]
    assert aligned("abc", "") == []


def test_nothing_in_common() -> None:
    """Then all of it is one gap."""
    assert aligned("pqr", "PQR") == [("PQR", "pqr")]


def test_leaves_that_stand_twice_are_no_anchors() -> None:
    """They might join what has nothing to do with each other."""
    assert aligned("xpx", "xPx") == [("P", "xp")]
    assert aligned("xpAxqB", "xPAxQB") == [("P", "xp"), ("Q", "xq")]


def test_files_that_changed_places() -> None:
    """The longest order that both keep counts: what moved is here already."""
    assert aligned("ABCDpE", "DABCPE") == [("P", "Dp")]


def test_what_is_here_from_elsewhere_is_not_wanted() -> None:
    """Of a changed stretch only what lacks."""
    assert aligned("ApB", "APQB", here="ABpQ") == [("P", "p")]


def test_what_is_old_but_no_longer_here() -> None:
    """It is no anchor and nothing to build on; where the new one has it too, it is wanted."""
    assert aligned("ApqB", "APB", here="ApB") == [("P", "p")]
    assert aligned("ApB", "APB", here="pB") == [("AP", "p")]


def test_a_long_gap_is_cut_where_it_lies() -> None:
    """Each part is set against the part of the old that lies about as far in."""
    found = aligned("abcdefghij", "ABCDEFGHIJ", room=400)
    assert "".join(wanted for wanted, _ in found) == "ABCDEFGHIJ"
    assert len(found) > 2
    for wanted, basis in found:
        assert set(wanted.lower()) <= set(basis)
        assert len(basis) < 10


@given(texts, texts, texts, st.integers(1, 5000))
def test_each_leaf_that_lacks_once(old: str, new: str, here: str, room: int) -> None:
    """Whatever is given: nothing is asked for twice, nothing left out, and only old is built on."""
    found = aligned(old, new, here, room)
    wanted = "".join(each for each, _ in found)
    assert len(set(wanted)) == len(wanted)
    assert set(wanted) == set(new) - set(here)
    for part, basis in found:
        assert set(basis) <= set(old) & set(here)
        sizes = [SIZES[letter] for letter in part]
        assert len(part) == 1 or sum(sizes) <= room
