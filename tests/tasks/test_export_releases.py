"""Releases and channels in an exported folder: whole, linked, pointed at, and taken away."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from narbor.catalogue import Release
from narbor.library import Library
from narbor.names.file import File
from narbor.names.item import Item
from narbor.tasks.export import Options
from narbor.tasks.export.cachetree import Deleted, Failed, Form
from narbor.tasks.export.releasetree import Carried
from tests.library.store import opened
from tests.tasks.exported import claims, seen, sound
from tests.tasks.test_collect import put
from tests.tasks.test_export import NOW, done, grown, run

C = "nixos-unstable"
OLD, NEW = (f"nixos-25.05pre{n}.0123456789ab" for n in (999, 1000))
TEXTS = {"git-revision": b"a" * 40, "nixexprs.tar.xz": b"expressions" * 10_000, "store-paths": b""}


def publish(library: Library, name: str, *listed: Item, **more: bytes) -> Release:
    """Publish a release that lists these, and move the channel there."""
    bases = [item.path.base for item in listed]
    library.catalogue.record_release(Release(C, name, 1, "source", "a" * 40, 5), bases)
    texts = TEXTS | more | {"store-paths": "\n".join(bases).encode()}
    with library.keeping() as keep:
        kept = {file: keep([text]) for file, text in texts.items()}
        files = [File(file, root, seal, NOW - 9) for file, (root, seal) in kept.items()]
        library.catalogue.record_files(C, name, files)
    library.catalogue.publish_release(C, name, 6)
    library.catalogue.advance(C, name, 6)
    found = library.release(C, name)
    assert found is not None
    return found


@contextmanager
def released(folder: Path) -> Iterator[tuple[Library, list[Item], list[Release]]]:
    """A store with three items and two releases: the old one lists the first, the new one all."""
    with opened(folder) as library:
        items = grown(library)
        old = publish(library, OLD, items[0])
        yield library, items, [old, publish(library, NEW, *items)]


def test_files_pointers_and_stamps(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with released(tmp_path / "home") as (library, items, releases):
        told = done(run(library, out, releases=releases))
        assert (told.items, told.files, told.failed) == (3, 7, 0)
        for release in releases:
            folder = out / "releases" / C / release.name
            assert {path.name for path in folder.iterdir()} == set(TEXTS)
            assert (folder / "nixexprs.tar.xz").read_bytes() == TEXTS["nixexprs.tar.xz"]
            assert (folder / "git-revision").stat().st_mtime == NOW - 9
        assert (out / "channels" / C).readlink() == Path(f"../releases/{C}/{NEW}")
        assert (out / "channels" / C / "git-revision").read_bytes() == b"a" * 40
        assert (out / "channels" / C / "store-paths").read_text().split() == [
            item.path.base for item in items
        ]
        for stamped in ("", "channels", "releases"):
            assert (out / stamped / "lastsync").read_text() == str(NOW)
        before = seen(out)
        again = run(library, out, Options(delete=True), releases=releases)
        assert seen(out) == before
        assert (done(again).files, done(again).deleted) == (0, 0)


def test_git_revision_comes_last_and_the_pointer_after_it(tmp_path: Path) -> None:
    with released(tmp_path / "home") as (library, _, releases):
        told = run(library, tmp_path / "out", releases=releases[1:])
        names = [each.name.rpartition("/")[2] for each in told if isinstance(each, Carried)]
        assert names[-2:] == ["git-revision", C]


def test_a_release_that_is_not_whole_is_not_pointed_at(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(tmp_path / "home") as library:
        releases = [publish(library, OLD)]
        run(library, out, releases=releases)
        assert (out / "channels" / C).readlink().name == OLD
        releases.append(publish(library, NEW, **{"only-new": b"much " * 1000}))
        lost = next(file for file in library.files(C, NEW) if file.name == "only-new")
        library.blocks.delete([lost.root])
        told = run(library, out, releases=releases)
        assert [each.path for each in told if isinstance(each, Failed)] == [
            f"releases/{C}/{NEW}/only-new"
        ]
        assert (out / "channels" / C).readlink().name == OLD


def test_a_view_is_a_cache_of_hard_links(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with released(tmp_path / "home") as (library, items, releases):
        run(library, out, Options(views=True), releases=releases)
        views = [out / "releases" / C / name / "binary_cache" for name in (OLD, NEW)]
        assert [sound(view) for view in views] == [1, 3]
        assert claims(views[0]).keys() == {items[0].path.base}
        for path in [*views[1].glob("*.narinfo"), *views[1].glob("nar/*")]:
            assert path.samefile(out / path.relative_to(views[1]))
        assert (views[0] / "nix-cache-info").read_bytes() == (out / "nix-cache-info").read_bytes()
        before = seen(out)
        run(library, out, Options(views=True, delete=True), releases=releases)
        assert seen(out) == before
        run(library, out, Options(Form("xz", 0), True, True), releases=releases)
        assert [sound(view) for view in views] == [1, 3]
        assert len(list((views[1] / "nar").iterdir())) == 3


def test_releases_that_are_gone_are_taken_away_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with released(tmp_path / "home") as (library, _, releases):
        run(library, out, Options(views=True), releases=releases)
        told = run(library, out, Options(delete=True, views=True), releases=releases[1:])
        names = [each.name for each in told if isinstance(each, Deleted)]
        assert names[0] == f"releases/{C}/{OLD}/git-revision"
        assert not (out / "releases" / C / OLD).exists()
        assert sound(out) == 3
        run(library, out, Options(delete=True), releases=[])
        assert [path.name for path in (out / "releases").iterdir()] == ["lastsync"]
        assert [path.name for path in (out / "channels").iterdir()] == ["lastsync"]
        assert sound(out) == 3


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(tmp_path / "home") as library:
        put(library, "low")
        good = publish(library, NEW, **{"../../../escaped": b"x", ".hidden": b"x"})
        told = run(library, out, releases=[good, replace(good, channel="../up")])
        assert {each.path for each in told if isinstance(each, Failed)} == {
            f"releases/{C}/{NEW}/../../../escaped",
            f"releases/{C}/{NEW}/.hidden",
            f"releases/../up/{NEW}",
        }
        assert not (out / "escaped").exists() and not (tmp_path / "escaped").exists()
        assert not (out / "channels").exists()
