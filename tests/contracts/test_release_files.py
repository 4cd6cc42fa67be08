"""The files of releases in a catalogue, over each implementation."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from narbor.catalogue import Catalogue, Release
from narbor.catalogue.releases import NoRelease, Published
from narbor.names import cid
from narbor.names.digest import Digest, Seal
from narbor.names.file import File

C = "nixos-unstable"
OLD, NEW = (f"nixos-25.05pre{n}.0123456789ab" for n in (999, 1000))


@pytest.fixture(params=["file", "memory"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    """A catalogue with two releases in the making."""
    if request.param == "memory":
        made = Catalogue.in_memory()
    else:
        made = Catalogue.open(tmp_path / "catalogue.sqlite")
    for name in (OLD, NEW):
        made.record_release(Release(C, name, 1, "source", "a" * 40, 5), [])
    yield made
    made.close()


def file(name: str, content: bytes = b"x", modified: int = 7) -> File:
    """A file."""
    seal = Seal(Digest("sha256", sha256(content).digest()), len(content))
    return File(name, cid.raw(content), seal, modified)


def test_files_are_found_again_by_name(catalogue: Catalogue) -> None:
    files = [file("nixexprs.tar.xz", b"two"), file("git-revision", b"one"), file("x", b"two")]
    catalogue.record_files(C, OLD, files, [("nixos.ova", "it failed"), ("a", "gone")])
    assert catalogue.files(C, OLD) == tuple(sorted(files, key=lambda each: each.name))
    assert catalogue.file(C, OLD, "x") == files[2]
    assert catalogue.without(C, OLD) == (("a", "gone"), ("nixos.ova", "it failed"))
    assert sorted(catalogue.file_roots()) == sorted({each.root for each in files})
    assert catalogue.file(C, NEW, "x") is None
    assert catalogue.files(C, NEW) == ()
    assert catalogue.without(C, NEW) == ()


def test_writing_again_replaces_all_until_it_is_published(catalogue: Catalogue) -> None:
    catalogue.record_files(C, OLD, [file("a"), file("b")], [("c", "gone")])
    catalogue.record_files(C, OLD, [file("b", b"other")])
    assert catalogue.files(C, OLD) == (file("b", b"other"),)
    assert catalogue.without(C, OLD) == ()
    catalogue.publish_release(C, OLD, 9)
    with pytest.raises(Published):
        catalogue.record_files(C, OLD, [])
    assert catalogue.files(C, OLD) == (file("b", b"other"),)
    with pytest.raises(NoRelease):
        catalogue.record_files(C, "nixos-1", [])


def test_files_go_with_their_release(catalogue: Catalogue) -> None:
    for name in (OLD, NEW):
        catalogue.record_files(C, name, [file("both"), file(name, name.encode())], [("c", "gone")])
    catalogue.remove_release(C, OLD)
    assert set(catalogue.file_roots()) == {each.root for each in catalogue.files(C, NEW)}
    assert len(catalogue.files(C, NEW)) == 2
    release = catalogue.release(C, NEW)
    assert release is not None
    catalogue.record_release(replace(release, time=8), [])
    assert catalogue.file_roots() == ()
