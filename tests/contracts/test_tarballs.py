"""Tarballs and revisions in a catalogue, over each implementation."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from narbor.catalogue import Catalogue
from narbor.catalogue.tarballs import MalformedRevision
from narbor.errors import Refused
from narbor.names import cid
from narbor.names.digest import Digest
from narbor.names.tarball import ALGORITHMS, Tarball, Unfetched

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture(params=["file", "memory"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    """A catalogue with two revisions."""
    if request.param == "memory":
        made = Catalogue.in_memory()
    else:
        made = Catalogue.open(tmp_path / "catalogue.sqlite")
    made.record_revision(OLD, 5)
    made.record_revision(NEW, 6)
    yield made
    made.close()


def digest(algorithm: str, content: bytes) -> Digest:
    """A hash of some bytes."""
    return Digest(algorithm, hashlib.new(algorithm, content).digest())


def tarball(content: bytes) -> Tarball:
    """A tarball with such bytes."""
    hashes = (digest(algorithm, content) for algorithm in ALGORITHMS)
    return Tarball(cid.raw(content), len(content), *hashes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_tarball_is_found_by_each_of_its_hashes(catalogue: Catalogue, algorithm: str) -> None:
    for content in (b"one", b"two"):
        catalogue.record_tarball(OLD, content.decode(), tarball(content))
    assert catalogue.tarball(digest(algorithm, b"one")) == tarball(b"one")
    assert catalogue.tarball(digest(algorithm, b"three")) is None
    wanted = [("uno", digest(algorithm, b"one")), ("tres", digest(algorithm, b"three"))]
    assert catalogue.link_tarballs(NEW, wanted) == {digest(algorithm, b"one")}
    assert catalogue.tarball(digest(algorithm, b"one"), NEW) == tarball(b"one")
    assert catalogue.tarball(digest(algorithm, b"two"), NEW) is None
    assert catalogue.tarballs_of(NEW) == (("uno", tarball(b"one")),)
    assert catalogue.tarball_named(NEW, "uno") == tarball(b"one")
    assert catalogue.tarball_named(NEW, "one") is None
    assert catalogue.tarball(Digest("blake3", bytes(32))) is None


def test_two_of_one_name_are_both_there(catalogue: Catalogue) -> None:
    for content in (b"one", b"two", b"one", b"two"):
        catalogue.record_tarball(OLD, "source.tar", tarball(content))
    found = dict(catalogue.tarballs_of(OLD))
    other = f"{tarball(b'two').sha512.hex[:12]}-source.tar"
    assert found == {"source.tar": tarball(b"one"), other: tarball(b"two")}


def test_a_tarball_stays_while_a_revision_has_it(catalogue: Catalogue) -> None:
    for content in (b"one", b"two"):
        catalogue.record_tarball(OLD, content.decode(), tarball(content))
    catalogue.link_tarballs(NEW, [("two", tarball(b"two").sha1)])
    catalogue.record_checkout(OLD, f"{'0' * 32}-source")
    catalogue.record_unfetched(OLD, [Unfetched("x", "y", "z")])
    assert set(catalogue.file_roots()) == {cid.raw(b"one"), cid.raw(b"two")}
    assert list(catalogue.listed_paths()) == [f"{'0' * 32}-source"]
    assert catalogue.tarball_totals() == (2, 6)
    assert catalogue.forget_revision(OLD)
    assert not catalogue.forget_revision(OLD)
    assert catalogue.revisions() == ((NEW, 6),)
    assert [each.size for each in catalogue.tarballs()] == [3]
    assert catalogue.tarball(tarball(b"one").md5) is None
    assert catalogue.file_roots() == (cid.raw(b"two"),)
    assert list(catalogue.listed_paths()) == []
    assert catalogue.unfetched(OLD) == ()


def test_failures_are_of_one_revision_and_one_run(catalogue: Catalogue) -> None:
    first, second = Unfetched("sha256:x", "b", "gone"), Unfetched("http://y", "a", "lost")
    catalogue.record_unfetched(OLD, [first, second])
    catalogue.record_unfetched(NEW, [first])
    assert catalogue.unfetched(OLD) == (second, first)
    catalogue.record_unfetched(OLD, [second])
    assert catalogue.unfetched(OLD) == (second,)
    assert catalogue.unfetched(NEW) == (first,)


def test_what_is_no_revision_is_refused(catalogue: Catalogue) -> None:
    for text in ("", "..", ".git", "a/b", "a b", "ä"):
        with pytest.raises(MalformedRevision):
            catalogue.record_revision(text, 1)
    with pytest.raises(Refused):
        catalogue.record_tarball("c" * 40, "one", tarball(b"one"))
    assert catalogue.tarball(tarball(b"one").md5) is None
