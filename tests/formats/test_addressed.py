"""What content addresses say of archives, with the archives cut anywhere."""

import hashlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import addressed, nar
from narbor.formats.addressed import Contents, Modulo, Reader, TooManySelfReferences, Whole
from narbor.names.digest import Digest

OWN = "a0" * 16
ALGORITHMS = st.sampled_from(sorted(addressed.ALGORITHMS))


def digest(algorithm: str, data: bytes) -> Digest:
    """Hash at once."""
    return Digest(algorithm, hashlib.new(algorithm, data).digest())


def plain(content: bytes, *flags: bytes) -> bytes:
    """Spell the archive of one file."""
    words = [b"nix-archive-1", b"(", b"type", b"regular", *flags, b"contents", content, b")"]
    return b"".join(map(nar.string, words))


def feed(reader: Reader, data: bytes, cuts: list[int]) -> None:
    """Feed `data`, cut at `cuts`."""
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, stop in itertools.pairwise(marks):
        reader.feed(data[start:stop])


CUTS = st.lists(st.integers(0, 10_000), max_size=8)
# Text in which the own hash part, parts of it, and zeros come often.
SELFISH = st.lists(
    st.sampled_from([OWN.encode(), OWN[:31].encode(), b"a", b"0", bytes(32), bytes(31)])
    | st.binary(max_size=4)
).map(b"".join)


@given(ALGORITHMS, st.binary(max_size=300), CUTS)
def test_contents(algorithm: str, content: bytes, cuts: list[int]) -> None:
    right, wrong = digest(algorithm, content), digest(algorithm, content + b"x")
    for expected in (right, wrong):
        reader = Contents(algorithm)
        feed(reader, plain(content), cuts)
        complaint = reader.complaint(expected)
        if expected == right:
            assert complaint is None
        else:
            assert complaint == f"is at {right}, not at {wrong}"


@given(st.binary(max_size=40), CUTS, st.data())
def test_contents_of_any_other_archive(
    content: bytes, cuts: list[int], data: st.DataObject
) -> None:
    """Whatever is not exactly the archive of a plain file has no content to speak of."""
    archive = plain(content)
    at = data.draw(st.integers(0, len(archive) - 1))
    start = 96
    others = [
        archive[:at],
        archive + b"\0",
        archive + archive,
        plain(content, b"executable", b""),
        b"",
    ]
    if not start <= at < start + len(content):
        others.append(archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :])
    for other in others:
        reader = Contents("sha256")
        feed(reader, other, cuts)
        complaint = reader.complaint(digest("sha256", content))
        assert complaint == "is not one file that is not executable"


@given(ALGORITHMS, st.binary(max_size=100), CUTS)
def test_whole(algorithm: str, archive: bytes, cuts: list[int]) -> None:
    for expected in (digest(algorithm, archive), digest(algorithm, archive + b"x")):
        reader = Whole(algorithm)
        feed(reader, archive, cuts)
        assert (reader.complaint(expected) is None) == (expected == digest(algorithm, archive))


@given(SELFISH, CUTS)
def test_modulo(archive: bytes, cuts: list[int]) -> None:
    marks = [match.start() for match in re.finditer(OWN.encode(), archive)]
    bare = re.sub(OWN.encode(), bytes(32), archive)
    marked = bare + "".join(f"|{mark}" for mark in marks).encode()
    expected = digest("sha256", marked)
    reader = Modulo("sha256", OWN)
    feed(reader, archive, cuts)
    assert reader.complaint(expected) is None
    if marks:
        weak = Modulo("sha256", OWN)
        feed(weak, archive, cuts)
        complaint = weak.complaint(digest("sha256", bare))
        assert complaint is not None
        assert "Nix 2.17 to 2.34" in complaint
        assert str(expected) in complaint


def test_self_references_and_zeros_are_not_the_same() -> None:
    """This is what the positions are for."""
    expected = digest("sha256", bytes(32) + b"|0")
    for archive, good in ((OWN.encode(), True), (bytes(32), False)):
        reader = Modulo("sha256", OWN)
        reader.feed(archive)
        assert (reader.complaint(expected) is None) == good


def test_self_references_have_a_limit() -> None:
    reader = Modulo("sha256", OWN)
    chunk = OWN.encode() * (addressed.MOST_SELF_REFERENCES // 4)
    for _ in range(4):
        reader.feed(chunk)
    with pytest.raises(TooManySelfReferences, match=OWN):
        reader.feed(OWN.encode())
