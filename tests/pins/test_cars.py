"""CARs appear whole or not at all, whenever the writer is killed and however full the disk is."""

import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.formats import car, carfolder
from narbor.formats.carfolder import MANIFEST, Manifest
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins import Incomplete
from narbor.pins.carfolder import CarFolder
from narbor.pins.cars import BadBlock, CarFile, OtherRoot
from narbor.pins.shelf import Folder, Shelf, ShelfBusy, ShelfFull, content
from tests.fakes.shelf import FakeShelf, Killed
from tests.tasks.replicate.dags import Blocks, dags, join

FILE = "x.car"


def tree(*salts: int) -> tuple[Cid, Blocks]:
    """A directory of leaves, the root first."""
    blocks: Blocks = {}
    root = join(blocks, [join(blocks, [], cid.RAW, salt) for salt in salts], cid.DAG_PB, 0)
    return root, {root: blocks[root]} | blocks


def written(root: Cid, blocks: Blocks, since: Cid | None = None) -> FakeShelf:
    """Return a folder with a CAR of a root."""
    shelf = FakeShelf()
    holder = CarFile(shelf, FILE, root, since)
    holder.take(blocks.items())
    holder.keep("name", root)
    return shelf


def read(shelf: Shelf, file: str) -> tuple[tuple[bytes, ...], Blocks]:
    """Read a CAR; every block is hashed."""
    found = car.read(content(shelf, file))
    return found.roots, {block.cid: block.data for block in found.blocks}


def manifest(shelf: Shelf, file: str = MANIFEST) -> Manifest:
    """Read what stands beside CARs."""
    return carfolder.parse(b"".join(content(shelf, file)))


# --- one file ---------------------------------------------------------------------------------


def test_a_file_is_a_car_of_its_root_and_says_what_it_is() -> None:
    root, blocks = tree(1, 2, 3)
    shelf = written(root, blocks)
    assert shelf.names() == [FILE, f"{FILE}.json"]
    assert read(shelf, FILE) == ((root,), blocks)
    (listed,) = manifest(shelf, f"{FILE}.json").cars
    data = b"".join(content(shelf, FILE))
    assert (listed.size, listed.sha256) == (len(data), sha256(data).digest())
    assert (listed.file, listed.root, listed.blocks) == (FILE, root, len(blocks))
    assert data == b"".join(car.write([root], blocks.items()))
    assert written(root, blocks).files == shelf.files


def test_a_file_that_is_there_is_known_again() -> None:
    root, blocks = tree(1, 2)
    shelf = written(root, blocks)
    holder = CarFile(shelf, FILE, root)
    assert holder.kept("name") == root
    assert holder.kept("other") is None
    assert holder.missing([*blocks, cid.raw(b"other")]) == {cid.raw(b"other")}
    holder.keep("other", root)
    assert list(manifest(shelf, f"{FILE}.json").names) == ["other"]
    for other in (CarFile(shelf, FILE, tree(3)[0]), CarFile(shelf, FILE, root, since=root)):
        assert other.kept("other") is None
        assert other.missing(sorted(blocks)) == set(blocks)
    shelf.files[FILE].data.append(0)
    assert CarFile(shelf, FILE, root).kept("other") is None


def test_a_file_without_all_is_not_put_in_place() -> None:
    root, blocks = tree(1, 2)
    lost = cid.raw(b"leaf 1")
    shelf = FakeShelf()
    holder = CarFile(shelf, FILE, root)
    holder.take((name, data) for name, data in blocks.items() if name != lost)
    with pytest.raises(Incomplete, match=cid.text(lost)):
        holder.keep("name", root)
    assert FILE not in shelf.names()
    with pytest.raises(OtherRoot):
        holder.keep("name", lost)
    with pytest.raises(BadBlock):
        holder.take([(lost, b"other")])
    holder.take([(lost, blocks[lost])])
    holder.keep("name", root)
    assert read(shelf, FILE)[1] == blocks
    holder.close()
    assert shelf.names() == [FILE, f"{FILE}.json"]


def test_a_difference_need_not_be_whole() -> None:
    root, blocks = tree(1, 2)
    since = cid.raw(b"leaf 1")
    shelf = written(root, {name: data for name, data in blocks.items() if name != since}, since)
    assert since not in read(shelf, FILE)[1]
    assert manifest(shelf, f"{FILE}.json").cars[0].since == since


def test_a_damaged_file_is_made_whole_again() -> None:
    root, blocks = tree(1, 2, 3)
    shelf = written(root, blocks)
    shelf.files[FILE].data[-1] ^= 1
    shelf.files[FILE].safe = bytes(shelf.files[FILE].data)
    holder = CarFile(shelf, FILE, root)
    (lost,) = holder.missing(sorted(blocks))
    holder.take([(lost, blocks[lost])])
    holder.keep("name", root)
    assert read(shelf, FILE) == ((root,), blocks)


def test_what_was_not_finished_is_cleared_away() -> None:
    root, blocks = tree(1)
    shelf = FakeShelf()
    holder = CarFile(shelf, FILE, root)
    holder.take(blocks.items())
    assert shelf.names() == [f".{FILE}.part"]
    holder.close()
    assert shelf.names() == []


# --- kills and full disks ---------------------------------------------------------------------


OLD, NEW = tree(1, 2, 3), tree(2, 3, 4)


def to_file(shelf: FakeShelf, of: tuple[Cid, Blocks]) -> None:
    """Write a CAR over another one."""
    root, blocks = of
    holder = CarFile(shelf, FILE, root)
    there = set(holder.inventory())
    holder.take((name, data) for name, data in blocks.items() if name not in there)
    holder.keep("name", root)


def to_folder(shelf: FakeShelf, of: tuple[Cid, Blocks]) -> None:
    """Add a CAR to a folder."""
    root, blocks = of
    holder = CarFolder(shelf, root)
    lacking = holder.missing(sorted(blocks))
    holder.take((name, data) for name, data in blocks.items() if name in lacking)
    holder.keep("name", root)
    holder.close()


def sound_file(shelf: FakeShelf) -> None:
    """What stands beside a file is true, and a file under a good name is whole."""
    if FILE in shelf.names():
        roots, blocks = read(shelf, FILE)
        assert (Cid(roots[0]), blocks) in (OLD, NEW)
    if f"{FILE}.json" in shelf.names():
        (listed,) = manifest(shelf, f"{FILE}.json").cars
        data = b"".join(content(shelf, FILE))
        assert (listed.size, listed.sha256) == (len(data), sha256(data).digest())


def sound_folder(shelf: FakeShelf) -> None:
    """Every CAR can be read to its end, and the manifest speaks of what is there."""
    for file in (name for name in shelf.names() if not name.startswith(".")):
        if file.endswith(".car"):
            read(shelf, file)
    if MANIFEST not in shelf.names():
        return
    found = manifest(shelf)
    there: Blocks = {}
    for listed in found.cars:
        data = b"".join(content(shelf, listed.file))
        assert (listed.size, listed.sha256) == (len(data), sha256(data).digest())
        there |= read(shelf, listed.file)[1]
    root = found.names["name"].root
    wanted = OLD[1] if root == OLD[0] else NEW[1]
    assert set(wanted) <= set(there)


Work = Callable[[FakeShelf, tuple[Cid, Blocks]], None]
KINDS: list[tuple[Work, Callable[[FakeShelf], None]]] = [
    (to_file, sound_file),
    (to_folder, sound_folder),
]


@pytest.mark.parametrize(("work", "sound"), KINDS, ids=["file", "folder"])
def test_killed_at_any_moment_nothing_half_is_there_and_it_is_taken_up(
    work: Work, sound: Callable[[FakeShelf], None]
) -> None:
    whole = FakeShelf()
    work(whole, OLD)
    before = whole.changes
    work(whole, NEW)
    for moment in range(before, whole.changes):
        shelf = FakeShelf()
        work(shelf, OLD)

        def watch(shelf: FakeShelf = shelf, moment: int = moment) -> None:
            if shelf.changes == moment:
                raise Killed

        shelf.watch = watch
        with pytest.raises(Killed):
            work(shelf, NEW)
        after = shelf.after_a_power_cut()
        sound(after)
        work(after, NEW)
        sound(after)
        if work is to_folder:
            assert manifest(after).names["name"].root == NEW[0]
            assert not [name for name in after.names() if name.startswith(".")]
        else:
            assert read(after, FILE) == ((NEW[0],), NEW[1])


@pytest.mark.parametrize(("work", "sound"), KINDS, ids=["file", "folder"])
def test_a_full_disk_is_said_and_what_was_there_stays(
    work: Work, sound: Callable[[FakeShelf], None]
) -> None:
    for room in range(0, 1200, 60):
        shelf = FakeShelf()
        work(shelf, OLD)
        shelf.room = room
        try:
            work(shelf, NEW)
        except ShelfFull as error:
            assert "no space left" in str(error)
        else:
            assert room > 300
        sound(shelf)
        shelf.room = 1 << 30
        work(shelf, NEW)
        sound(shelf)


# --- a folder ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(dags(), min_size=1, max_size=4))
def test_each_run_adds_one_car_with_what_is_new(many: list[tuple[Cid, Blocks]]) -> None:
    shelf = FakeShelf()
    there: Blocks = {}
    for number, (root, blocks) in enumerate(many):
        holder = CarFolder(shelf, root)
        lacking = holder.missing(sorted(blocks))
        hashes = {name[-32:] for name in there}
        assert {name[-32:] for name in lacking} == {name[-32:] for name in blocks} - hashes
        holder.take((name, data) for name, data in blocks.items() if name in lacking)
        holder.keep(f"name {number}", root)
        holder.close()
        found = manifest(shelf)
        if lacking:
            roots, new = read(shelf, found.cars[-1].file)
            assert (roots, set(new)) == ((root,), lacking)
        there |= blocks
    found = manifest(shelf)
    assert {name: each.root for name, each in found.names.items()} == {
        f"name {number}": root for number, (root, _) in enumerate(many)
    }
    union: Blocks = {}
    for listed in found.cars:
        union |= read(shelf, listed.file)[1]
    assert {name[-32:] for name in union} == {name[-32:] for name in there}


def test_what_was_carried_away_counts_as_there() -> None:
    shelf = FakeShelf()
    to_folder(shelf, OLD)
    shelf.remove("000001.car")
    to_folder(shelf, NEW)
    assert set(read(shelf, "000002.car")[1]) == set(NEW[1]) - set(OLD[1])
    assert CarFolder(shelf).carried() == ("000001.car",)


def test_what_was_lost_is_written_again() -> None:
    shelf = FakeShelf()
    to_folder(shelf, OLD)
    shelf.remove("000001.car")
    shelf.remove("000001.digests")
    to_folder(shelf, NEW)
    assert set(read(shelf, "000002.car")[1]) == set(NEW[1])
    assert manifest(shelf).names["name"].root == NEW[0]


def test_a_list_that_is_lost_is_made_again() -> None:
    shelf = FakeShelf()
    to_folder(shelf, OLD)
    before = bytes(shelf.files["000001.digests"].data)
    shelf.remove("000001.digests")
    to_folder(shelf, NEW)
    assert bytes(shelf.files["000001.digests"].data) == before
    assert set(read(shelf, "000002.car")[1]) == set(NEW[1]) - set(OLD[1])


def test_a_new_series_needs_none_of_the_old() -> None:
    shelf = FakeShelf()
    to_folder(shelf, OLD)
    CarFolder(shelf).keep("second", OLD[0])
    fresh = CarFolder(shelf, NEW[0], afresh=True)
    assert fresh.kept("name") is None
    assert fresh.missing(sorted(NEW[1])) == set(NEW[1])
    fresh.take(NEW[1].items())
    fresh.keep("name", NEW[0])
    assert read(shelf, "000002.car") == ((NEW[0],), NEW[1])
    found = manifest(shelf)
    # Another name still needs the old series, until it is in the new one as well.
    assert not found.is_superseded(found.cars[0])
    third = CarFolder(shelf, OLD[0])
    assert (third.kept("name"), third.kept("second")) == (NEW[0], None)
    lacking = third.missing(sorted(OLD[1]))
    assert lacking == set(OLD[1]) - set(NEW[1])
    third.take((each, OLD[1][each]) for each in lacking)
    third.keep("second", OLD[0])
    found = manifest(shelf)
    assert [found.is_superseded(each) for each in found.cars] == [True, False, False]


def test_two_do_not_write_at_once(tmp_path: Path) -> None:
    first = Folder(tmp_path, whole=True)
    with pytest.raises(ShelfBusy):
        Folder(tmp_path, whole=True)
    first.close()
    Folder(tmp_path, whole=True).close()


def test_a_folder_on_the_disk_is_one_in_memory(tmp_path: Path) -> None:
    memory = FakeShelf()
    for of in (OLD, NEW):
        to_folder(memory, of)
        root, blocks = of
        holder = CarFolder(Folder(tmp_path, whole=True), root)
        lacking = holder.missing(sorted(blocks))
        holder.take((name, data) for name, data in blocks.items() if name in lacking)
        holder.keep("name", root)
        holder.close()
    here = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name[0] != "."}
    assert here == {name: bytes(file.data) for name, file in memory.files.items()}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ShelfFull, match="file"):
        Folder(tmp_path / "file", whole=True)
    if Path("/dev/full").exists():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f".{FILE}.part").symlink_to("/dev/full")
            with pytest.raises(ShelfFull):
                Folder(Path(folder), whole=False).open(f".{FILE}.part").append(b"x")
