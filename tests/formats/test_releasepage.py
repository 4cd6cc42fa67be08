"""Pages of releases: what is written is read again, and so is upstream's."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import releasepage
from narbor.formats.releasepage import Listed, MalformedPage
from narbor.names import cid
from narbor.names.digest import Digest, Seal
from narbor.names.file import File
from tests.fakes.channelserver import page

NAMES = st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=30)


def seal(content: bytes) -> Seal:
    """The seal of some content."""
    return Seal(Digest("sha256", sha256(content).digest()), len(content))


@given(
    st.dictionaries(NAMES, st.binary(max_size=50), max_size=5),
    st.integers(0, 4_000_000_000),
    NAMES,
    st.text(max_size=50),
    st.sampled_from(["", "nixos-1/"]),
)
def test_reads_what_was_written(
    files: dict[str, bytes], published: int, name: str, source: str, base: str
) -> None:
    given = [File(file, cid.raw(content), seal(content), 1) for file, content in files.items()]
    text = releasepage.release(name, given, published, "a" * 40, source, base)
    found = releasepage.parse(text)
    assert found.published == published
    assert found.files == tuple(Listed(file.name, file.seal) for file in given)


def test_reads_upstreams() -> None:
    files = {"nixexprs.tar.xz": b"source", "a&b.iso": b"", "x.sha256": b"hash"}
    found = releasepage.parse(page("/nixos/x", "nixos-1", "a" * 40, files))
    assert found.published == 1_748_779_200
    assert {each.name: each.seal for each in found.files} == {
        "a&b.iso": seal(b""),
        "nixexprs.tar.xz": seal(b"source"),
    }


@pytest.mark.parametrize("text", [b"", b"<html>", b"<p>Released on 2025-13-01 00:00:00 from x"])
def test_what_is_no_page(text: bytes) -> None:
    with pytest.raises(MalformedPage):
        releasepage.parse(text)
