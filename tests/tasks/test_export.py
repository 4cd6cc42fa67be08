"""A folder is brought up to date: whole at every moment, and only what changed is touched."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from narbor.catalogue import Release
from narbor.formats import narinfo
from narbor.library import Library
from narbor.names.item import Item
from narbor.names.keys import Keyring, SecretKey
from narbor.tasks import export
from narbor.tasks.export import Done, Event, Options, cachetree
from narbor.tasks.export.cachetree import Compression, Deleted, Exported, Failed, Form
from narbor.tasks.export.tree import NotOurs, Tree, TreeBusy, TreeFull
from tests.library.store import opened
from tests.tasks.exported import claims, closed, seen, sound
from tests.tasks.test_collect import put

NOW = 1_700_000_000


class Watched(Tree):
    """A tree that must be a closed cache after every change to it."""

    changes = 0

    def place(self, staged: Path, name: str) -> None:
        """Move, and look."""
        super().place(staged, name)
        self._look()

    def remove(self, name: str) -> int:
        """Unlink, and look."""
        size = super().remove(name)
        self._look()
        return size

    def _look(self) -> None:
        Watched.changes += 1
        closed(self.folder)


def run(
    library: Library,
    folder: Path,
    options: Options | None = None,
    roots: Iterable[Item] | None = None,
    releases: Iterable[Release] = (),
) -> list[Event]:
    """Export all, or `roots`; a reader looks in after every step."""
    tree, how = Watched(folder), options or Options()
    chosen = cachetree.everything(library) if roots is None else roots
    with ThreadPoolExecutor(1) as pool:
        if how.form.dry:
            return list(export.export(library, tree, chosen, releases, how, pool, NOW))
        with tree.owned(export.MARKS):
            return list(export.export(library, tree, chosen, releases, how, pool, NOW))


def done(events: list[Event]) -> Done:
    """Return the sums."""
    last = events[-1]
    assert isinstance(last, Done)
    return last


def form(compression: str, delete: bool = False) -> Options:
    """Return options for a compression."""
    return Options(Form(cast("Compression", compression), 0), delete)


def grown(library: Library) -> list[Item]:
    """Put in a few items, a referrer before what it refers to by name, and one that is hidden."""
    low = put(library, "low")
    middle = put(library, "middle", 1, low)
    top = put(library, "a-top", 2, low, middle)
    return [low, middle, top]


@pytest.mark.parametrize("compression", ["zstd", "xz", "none"])
def test_every_form_holds_what_was_signed(tmp_path: Path, compression: str) -> None:
    with opened(tmp_path / "home") as library:
        low, middle, top = grown(library)
        told = done(run(library, tmp_path / "out", form(compression)))
        assert (told.items, told.written, told.failed) == (3, 3, 0)
        assert sound(tmp_path / "out") == 3
        found = claims(tmp_path / "out")
        assert {claim.compression for claim in found.values()} == {compression}
        assert set(found[top.path.base].references) == {low.path.base, middle.path.base}
        if compression == "zstd":
            rendering = library.rendering(top, "zstd")
            stored = b"".join(library.rendered(top, rendering))
            assert (tmp_path / "out" / found[top.path.base].url).read_bytes() == stored
    info = (tmp_path / "out" / "nix-cache-info").read_text()
    assert info == "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n"
    assert (tmp_path / "out" / "lastsync").read_text() == str(NOW)
    assert not (tmp_path / "out" / "channels").exists()


@pytest.mark.parametrize("compression", ["zstd", "xz", "none"])
def test_only_what_is_new_is_touched(tmp_path: Path, compression: str) -> None:
    with opened(tmp_path / "home") as library:
        items = grown(library)
        out = tmp_path / "out"
        run(library, out, form(compression))
        before = seen(out)
        again = run(library, out, form(compression, delete=True))
        assert (done(again).items, done(again).written, done(again).size) == (3, 0, 0)
        assert seen(out) == before
        new = put(library, "new", 3, items[0])
        told = done(run(library, out, form(compression)))
        assert (told.items, told.written) == (4, 1)
        after = seen(out)
        assert {name: after[name] for name in before} == before
        claim = claims(out)[new.path.base]
        assert after.keys() - before.keys() == {claim.url, f"{new.path.hash_part}.narinfo"}


def test_another_form_replaces_the_first_and_delete_takes_its_archives(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        grown(library)
        out = tmp_path / "out"
        run(library, out)
        old = set((out / "nar").iterdir())
        told = run(library, out, form("xz", delete=True))
        assert done(told).written == 3
        assert {each.name for each in told if isinstance(each, Deleted)} == {
            f"nar/{path.name}" for path in old
        }
        assert sound(out) == 3
        assert len(list((out / "nar").iterdir())) == 3


def test_delete_takes_what_is_no_longer_here_and_nothing_of_others(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        low, middle, top = grown(library)
        out = tmp_path / "out"
        run(library, out)
        for foreign in ("index.html", "nar/README", "log.ls"):
            (out / foreign).write_text("another's")
        library.catalogue.remove([top.path.base, middle.path.base])
        kept = done(run(library, out))
        assert (kept.deleted, closed(out)) == (0, 3)
        Watched.changes = 0
        told = run(library, out, Options(delete=True))
        names = [each.name for each in told if isinstance(each, Deleted)]
        first = [f"{item.path.hash_part}.narinfo" for item in (top, middle)]
        assert names[:2] == first
        assert len(names) == 4
        assert done(told).freed > 0
        assert Watched.changes >= 4
        assert claims(out).keys() == {low.path.base}
        assert (out / "index.html").exists() and (out / "nar/README").exists()


def test_a_dry_run_tells_the_same_and_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        top = grown(library)[2]
        out = tmp_path / "out"
        dry = Options(Form(dry=True), delete=True)
        told = done(run(library, out, dry))
        assert not out.exists()
        assert told == done(run(library, out, Options(delete=True)))
        library.catalogue.remove([top.path.base])
        before = seen(out)
        told = done(run(library, out, dry))
        assert seen(out) == before
        assert told == done(run(library, out, Options(delete=True)))
        assert (told.items, told.deleted) == (2, 2)


def test_paths_bring_their_closure_only(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        low, middle, _ = grown(library)
        run(library, tmp_path / "out", roots=[middle])
        assert claims(tmp_path / "out").keys() == {low.path.base, middle.path.base}


def test_what_no_door_shows_is_not_exported(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        low, _, top = grown(library)
        library.catalogue.remove([low.path.base])
        told = done(run(library, tmp_path / "out"))
        assert (told.items, told.failed) == (0, 0)
        library.pin(top.path, alone=True)
        assert library.find(top.path.hash_part) is not None
        with ThreadPoolExecutor(1) as pool:
            tree = Tree(tmp_path / "out")
            list(export.export(library, tree, [top], [], Options(), pool, NOW))
        assert claims(tmp_path / "out").keys() == {top.path.base}


def test_what_cannot_be_read_fails_with_all_that_refers_to_it(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        low, middle, top = grown(library)
        other = put(library, "other", 3)
        library.blocks.delete([middle.archive])
        out = tmp_path / "out"
        told = run(library, out)
        failed = {each.path: each.reason for each in told if isinstance(each, Failed)}
        assert failed.keys() == {str(middle.path), str(top.path)}
        assert middle.path.base in failed[str(top.path)]
        assert sound(out) == 2
        assert claims(out).keys() == {low.path.base, other.path.base}


def test_what_was_exported_before_its_blocks_were_lost_stays(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        _, middle, top = grown(library)
        out = tmp_path / "out"
        run(library, out)
        library.blocks.delete([middle.archive])
        assert done(run(library, out, Options(delete=True))).failed == 0
        told = done(run(library, out, form("xz", delete=True)))
        assert (told.failed, told.items) == (1, 2)
        assert sound(out) == 3
        found = claims(out)
        assert found[middle.path.base].compression == "zstd"
        assert found[top.path.base].compression == "xz"


def test_signatures_stay_and_ours_is_added(tmp_path: Path) -> None:
    key = SecretKey.generate("own-1")
    with opened(tmp_path / "home") as library:
        grown(library)
        out = tmp_path / "out"
        run(library, out)
        told = done(run(library, out, Options(Form(keys=(key,)))))
        assert (told.written, told.size) == (3, 0)
        ring = Keyring((key.public,))
        for claim in claims(out).values():
            text = narinfo.fingerprint(claim.path, claim.seal, claim.references)
            assert ring.signers(text, claim.signatures) == ("own-1",)


def test_what_an_interrupted_or_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        grown(library)
        out = tmp_path / "out"
        tree = Tree(out)
        with ThreadPoolExecutor(1) as pool, tree.owned(export.MARKS):
            roots = cachetree.everything(library)
            with closing(export.export(library, tree, roots, [], Options(), pool, NOW)) as events:
                assert isinstance(next(events), Exported)
            tree.stage([b"half"])
        assert [path.name for path in (out / ".narbor").iterdir()] == ["lock"]
        (out / ".narbor" / "7").write_bytes(b"of one that was killed")
        assert closed(out) >= 1
        run(library, out)
        assert sound(out) == 3
        assert [path.name for path in (out / ".narbor").iterdir()] == ["lock"]


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(NotOurs, match="thesis"), Tree(tmp_path).owned(export.MARKS):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    with Tree(tmp_path).owned(export.MARKS):
        pass


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    tree, other = Tree(tmp_path / "out"), Tree(tmp_path / "out")
    with tree.owned(()), pytest.raises(TreeBusy), other.owned(()):
        pass
    with Tree(tmp_path / "out").owned(()):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TreeFull, match="file"), Tree(tmp_path / "file" / "out").owned(()):
        pass


def test_items_in_a_circle_are_each_given_once(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        low, middle, _ = grown(library)
        assert [item.path.name for item in cachetree.ordered(library, [middle, low])] == [
            "low",
            "middle",
        ]
    circle = {"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": []}
    order = cachetree.referrers_first(list(circle), circle.__getitem__)
    assert sorted(order) == list(circle)
    assert order.index("b") < order.index("d")
