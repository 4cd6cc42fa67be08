"""Roots of all kinds in a catalogue, found by their hash."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from narbor.catalogue import Catalogue, Publication, Release
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.digest import Digest, Seal
from narbor.names.file import File
from tests.catalogue.world import admitted, base, item
from tests.contracts.test_tarballs import tarball


@pytest.fixture(params=["file", "memory"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    """A catalogue with an item under two profiles, a release's file, a source, and more."""
    if request.param == "memory":
        made = Catalogue.in_memory()
    else:
        made = Catalogue.open(tmp_path / "catalogue.sqlite")
    number = made.begin_admission(1, "test")
    one = item(1)
    other = replace(one, profile="other", tree=cid.raw(b"tree"), archive=cid.node(b"archive"))
    made.record([admitted(one, number), admitted(other, number)])
    made.end_admission(number)
    made.record_release(Release("c", "c-1", None, "source", "revision", 1), [base(1)])
    seal = Seal(Digest("sha256", bytes(32)), 4)
    made.record_files("c", "c-1", [File("file", cid.raw(b"file"), seal, 1)])
    made.record_revision("a" * 40, 5)
    made.record_tarball("a" * 40, "source", tarball(b"source"))
    made.publish("cache", Publication(cid.node(b"cache"), 1, 0, 1, "", 1))
    made.keep_root("theirs", Cid(b"\x01\xa9\x02\x12\x20" + bytes(32)), 1)
    yield made
    made.close()


ROOTS = {
    item(1).tree,
    item(1).archive,
    cid.raw(b"tree"),
    cid.node(b"archive"),
    cid.raw(b"file"),
    cid.raw(b"source"),
    cid.node(b"cache"),
    Cid(b"\x01\xa9\x02\x12\x20" + bytes(32)),
}


def test_roots_of_all_kinds_are_found_by_their_hash(catalogue: Catalogue) -> None:
    assert set(catalogue.all_roots()) == ROOTS
    assert all(catalogue.is_root(root[-32:]) for root in ROOTS)
    assert not catalogue.is_root(cid.raw(b"leaf")[-32:])
    # The first bytes alone are not enough.
    near = item(1).tree[-32:-1] + bytes([item(1).tree[-1] ^ 1])
    assert not catalogue.is_root(near)


def test_what_goes_is_no_root_any_more(catalogue: Catalogue) -> None:
    catalogue.remove([base(1)])
    catalogue.unpublish("cache")
    assert catalogue.let_go("theirs")
    assert set(catalogue.all_roots()) == {cid.raw(b"file"), cid.raw(b"source")}
    assert not any(catalogue.is_root(each[-32:]) for each in ROOTS - set(catalogue.all_roots()))
