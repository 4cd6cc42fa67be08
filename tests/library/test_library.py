"""Admit, find, read: over real packs and a real catalogue."""

from pathlib import Path
from random import Random

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.errors import Rejected
from narbor.formats import nar
from narbor.formats.streams import Mismatch
from narbor.library import Entry, Library
from narbor.tasks.keep.collect import Circumstances, collect
from tests.library.store import believed, file_nar, opened
from tests.trees import HASH, archives, chunked


def unzstd(data: bytes) -> bytes:
    """Decode a stream of several frames."""
    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()


def tree() -> bytes:
    """Return the NAR of a small tree with everything in it."""
    script = b"#! /nix/store/" + HASH + b"-bash/bin/sh\nexec true\n"
    big = Random(5).randbytes(700_000)
    return b"".join(
        nar.write(
            [
                nar.Directory(b""),
                nar.Directory(b"bin"),
                nar.File(b"big", True, len(big)),
                nar.Data(big),
                nar.File(b"run", True, len(script)),
                nar.Data(script),
                nar.END,
                nar.File(b"empty", False, 0),
                nar.Symlink(b"link", b"bin/run"),
                nar.File(b"\xff\xfe", False, 3),
                nar.Data(b"abc"),
                nar.END,
            ]
        )
    )


def test_in_and_out(tmp_path: Path) -> None:
    archive = tree()
    vouched = believed("tree", archive)
    base = vouched.narinfo.path.base
    with opened(tmp_path) as library:
        library.admit(vouched, chunked(archive, 1000), "test:")
        assert library.item(base) is None, "an item exists when its row does"
        assert library.commit() == 1
        item = library.item(base)
        assert item is not None
        assert b"".join(library.archive(item)) == archive
    with opened(tmp_path) as library:
        item = library.find(base[:32])
        assert item is not None
        for start, stop in [(0, 1), (5, 700_100), (700_000, None), (len(archive), None)]:
            assert b"".join(library.archive(item, start, stop)) == archive[start:stop]
        rendering = library.rendering(item, "zstd")
        packed = b"".join(library.rendered(item, rendering))
        assert len(packed) == rendering.size
        assert unzstd(packed) == archive
        assert library.by_rendering(rendering.digest) == (item, rendering)
        assert library.by_archive(item.seal.digest) == item
        for start in range(0, len(packed), 99_991):
            part = b"".join(library.rendered(item, rendering, start, start + 5000))
            assert part == packed[start : start + 5000]


def test_entries_know_where_contents_lie(tmp_path: Path) -> None:
    archive = tree()
    with opened(tmp_path) as library:
        item = library.admit(believed("tree", archive), [archive], "test:")
        library.commit()
        entries = {entry.path: entry for entry in library.entries(item)}
        assert list(entries) == [
            b"",
            b"bin",
            b"bin/big",
            b"bin/run",
            b"empty",
            b"link",
            b"\xff\xfe",
        ]
        assert entries[b"link"] == Entry(b"link", "symlink", target=b"bin/run")
        for entry in entries.values():
            if entry.kind == "regular":
                content = b"".join(library.file(item, entry.path) or ())
                assert archive[entry.offset : entry.offset + entry.size] == content
                length = archive[entry.offset - 8 : entry.offset]
                assert length == len(content).to_bytes(8, "little")
        assert entries[b"bin/run"].executable and not entries[b"empty"].executable
        assert library.file(item, b"bin") is None
        assert library.file(item, b"bin/none") is None
        assert library.file(item, b"link") is None


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(archive=archives, data=st.data())
def test_any_tree_any_range(tmp_path: Path, archive: bytes, data: st.DataObject) -> None:
    with opened(tmp_path) as library:
        item = library.admit(believed("any", archive), chunked(archive, 777), "test:")
        start = data.draw(st.integers(0, len(archive)))
        stop = data.draw(st.integers(start, len(archive)))
        assert b"".join(library.archive(item, start, stop)) == archive[start:stop]
        packed = b"".join(library.rendered(item, library.rendering(item, "zstd")))
        assert unzstd(packed) == archive


@pytest.mark.parametrize("spoil", ["flip", "short", "long"])
def test_bytes_that_lie_are_refused(tmp_path: Path, spoil: str) -> None:
    archive = file_nar(b"content " * 1000)
    wrong = {
        "flip": archive[:500] + b"X" + archive[501:],
        "short": archive[:-8],
        "long": archive + b"\0" * 8,
    }[spoil]
    vouched = believed("liar", archive)
    with opened(tmp_path) as library:
        with pytest.raises(Rejected) as caught:
            library.admit(vouched, [wrong], "test:")
        assert isinstance(caught.value, Mismatch | nar.MalformedNar)
        assert library.commit() == 0
        assert library.item(vouched.narinfo.path.base) is None
        library.admit(vouched, [archive], "test:")
        assert library.commit() == 1


def test_equal_leaves_are_kept_once(tmp_path: Path) -> None:
    content = Random(1).randbytes(600_000)
    with opened(tmp_path) as library:
        library.admit(believed("one", file_nar(content)), [file_nar(content)], "test:")
        library.commit()
        before = sum(file.stat().st_size for file in (tmp_path / "packs").iterdir())
        again = file_nar(content, executable=True)
        library.admit(believed("two", again), [again], "test:")
        library.commit()
        after = sum(file.stat().st_size for file in (tmp_path / "packs").iterdir())
        assert after - before < 2000


def swept(library: Library) -> None:
    """Collect what nobody asks for."""
    list(collect(library, Circumstances(7, 0, "collector", lambda process: True)))


def test_a_hold_keeps_collections_away(tmp_path: Path) -> None:
    """What a mirror brings before the top of a closure is here is reached from no pin."""
    below, there = believed("below", file_nar(b"below" * 99)), believed("there", file_nar(b"there"))
    with opened(tmp_path) as library:
        library.admit(there, [file_nar(b"there")], "test:")
        library.commit()
        with library.hold() as spare:
            spare([there.narinfo.path.base])
            library.admit(below, [file_nar(b"below" * 99)], "test:")
            library.commit()
            swept(library)
            assert library.sizes().items == 2
        swept(library)
        assert library.sizes().items == 0
