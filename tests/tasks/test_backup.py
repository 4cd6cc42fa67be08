"""A copy of a store holds all that it lists, whatever happened to the store meanwhile."""

from collections.abc import Generator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from narbor import config, wiring
from narbor.blocks.index import Index
from narbor.catalogue import ADMIT, COLLECT, Catalogue
from narbor.errors import Unavailable
from narbor.library import Library
from narbor.tasks.export.tree import NotOurs, Tree
from narbor.tasks.keep.backup import Circumstances, Collecting, Copied, Done, Event, Removed, backup
from narbor.tasks.keep.collect import AnotherCollection
from tests.library.store import opened
from tests.tasks.test_collect import admit, put, run

NOW = Circumstances(1000, "test", alive=lambda process: process != "dead")
COPY = Circumstances(1000, "test", alive=NOW.alive, copy=True, settled=1)
LINK = Circumstances(1000, "test", alive=NOW.alive, settled=1)


def steps(
    library: Library, folder: Path, into: Path, at: Circumstances = NOW
) -> Generator[Event, None, None]:
    """Copy the store in `folder`, step by step."""
    tree = Tree(into)
    with tree.owned(()), closing(backup(library, folder, tree, at)) as events:
        yield from events


def copied(library: Library, folder: Path, into: Path, at: Circumstances = NOW) -> Done:
    """Copy the store in `folder`."""
    last = list(steps(library, folder, into, at))[-1]
    assert isinstance(last, Done)
    return last


def rebuilt(folder: Path) -> set[str]:
    """Rebuild every item that a copy lists; return their names."""
    with opened(folder) as library:
        found = list(library.items())
        for item in found:
            archive = b"".join(library.archive(item))
            assert sha256(archive).digest() == item.seal.digest.value
        return {item.path.name for item in found}


def test_a_copy_is_a_home_and_the_next_one_brings_what_is_new(tmp_path: Path) -> None:
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        low = put(library, "low")
        first = copied(library, home, into)
        assert (first.items, first.copied) == (1, first.packs)
        assert rebuilt(into) == {"low"}
        put(library, "top", 1, low)
        second = copied(library, home, into)
        assert second.items == 2
        assert second.copied == second.packs - first.packs > 0
        again = copied(library, home, into)
        assert (again.items, again.copied, again.packs) == (2, 0, second.packs)
    assert rebuilt(into) == {"low", "top"}
    assert (into / "lastbackup").read_text() == "1000"


def test_what_comes_in_while_it_is_made_does_no_harm(tmp_path: Path) -> None:
    """An item is admitted and another committed between any two steps."""
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        put(library, "first")
        for number, _ in enumerate(steps(library, home, into)):
            admit(library, f"half-{number}")
            put(library, f"new-{number}", number % 4)
        assert "first" in rebuilt(into)
        assert copied(library, home, into).items == library.sizes().items
        assert rebuilt(into) == {item.path.name for item in library.items()}


def test_a_copy_that_was_given_up_is_the_one_before_and_is_gone_on_with(tmp_path: Path) -> None:
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        put(library, "one")
        copied(library, home, into)
        for number in range(6):
            put(library, f"more-{number}", number % 4)
            events = steps(library, home, into)
            for _ in range(number % 3 + 1):
                next(events, None)
            events.close()
            assert "one" in rebuilt(into)
        pack = next((into / "packs").iterdir())
        with pack.open("ab") as file:
            file.write(Random(1).randbytes(5000))  # what a power cut may leave behind
        copied(library, home, into)
        assert len(rebuilt(into)) == 7


def test_open_admissions_are_not_in_the_copy(tmp_path: Path) -> None:
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        put(library, "one")
        library.catalogue.begin_admission(1, "somebody on another machine", ADMIT)
        copied(library, home, into)
    with closing(Catalogue.open(into / "catalogue.sqlite", False)) as catalogue:
        assert catalogue.admissions() == ()


def test_settled_packs_are_linked_and_others_are_not(tmp_path: Path) -> None:
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        put(library, "one")
        events = list(steps(library, home, into, LINK))
        (pack,) = (home / "packs").iterdir()
        assert Copied(f"packs/{pack.name}", 0, linked=True) in events
        assert (into / "packs" / pack.name).samefile(pack)
        assert copied(library, home, into, LINK).copied == 0
        apart = copied(library, home, into, COPY)
        assert apart.copied == apart.packs
        assert not (into / "packs" / pack.name).samefile(pack)
        assert (into / "packs" / pack.name).read_bytes() == pack.read_bytes()
    assert rebuilt(into) == {"one"}


def test_packs_that_were_emptied_go_from_the_copy_too(tmp_path: Path) -> None:
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        keep = put(library, "keep")
        put(library, "gone", 1)
        put(library, "gone-too", 2)
        library.pin(keep.path)
        copied(library, home, into)
        before = {path.name for path in (into / "packs").iterdir()}
        assert run(library)[0].items == 2
        events = list(steps(library, home, into))
        assert {each.name for each in events if isinstance(each, Removed)} == before
    assert rebuilt(into) == {"keep"}


def test_collections_and_copies_keep_each_other_away(tmp_path: Path) -> None:
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        put(library, "one")
        events = steps(library, home, into)
        next(events)
        with pytest.raises(AnotherCollection):
            run(library)
        with pytest.raises(Collecting):
            copied(library, home, tmp_path / "other")
        list(events)
        assert library.catalogue.admissions() == ()
        library.catalogue.begin_admission(1, "dead", COLLECT)
        assert copied(library, home, into).items == 1
        number = library.catalogue.begin_admission(1, "alive", COLLECT)
        with pytest.raises(Collecting):
            copied(library, home, into)
        library.catalogue.end_admission(number)
        assert run(library)[0].items == 1


def test_keys_and_settings_come_along_as_private_as_they_are(tmp_path: Path) -> None:
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        put(library, "one")
        (home / "keys").mkdir()
        for name, mode in (("own.secret", 0o600), ("own.public", 0o644)):
            (home / "keys" / name).write_text(name)
            (home / "keys" / name).chmod(mode)
        (home / "narbor.toml").write_text("level = 5\n")
        copied(library, home, into)
        assert (into / "keys" / "own.secret").read_text() == "own.secret"
        assert (into / "keys" / "own.secret").stat().st_mode & 0o777 == 0o600
        assert (into / "narbor.toml").read_text() == "level = 5\n"
        (home / "narbor.toml").write_text("level = 6\n")
        names = [e.name for e in steps(library, home, into) if isinstance(e, Copied)]
        assert names == ["narbor.toml"]


def test_a_home_is_not_overwritten(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    with opened(home) as library, opened(other) as another:
        put(library, "one")
        put(another, "two")
        with pytest.raises(NotOurs):
            copied(library, home, other)
    assert rebuilt(other) == {"two"}


def test_who_only_reads_a_copy_leaves_it_as_it_is(tmp_path: Path) -> None:
    """So that it can lie on a disk that cannot be written to."""
    home, into = tmp_path / "home", tmp_path / "copy"
    with opened(home) as library:
        item = put(library, "one")
        copied(library, home, into)
    before = {path: path.read_bytes() for path in into.iterdir() if path.is_file()}
    with closing(wiring.open_library(config.load(into, None, {}))) as library:
        archive = b"".join(library.archive(item))
        assert sha256(archive).digest() == item.seal.digest.value
        assert {path for path in into.iterdir() if path.is_file()} == before.keys()
    assert {path: path.read_bytes() for path in before} == before


def test_an_index_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").mkdir()
    with pytest.raises(Unavailable, match=r"index\.sqlite"):
        Index(tmp_path / "index.sqlite", False).packs()
