"""Releases keep what they list and what they consist of."""

from pathlib import Path
from random import Random

from narbor.catalogue import Release
from narbor.library import Library
from narbor.names.file import File
from narbor.tasks.keep.collect import Collected, LetGo, collect, preview
from tests.library.store import opened
from tests.tasks.test_collect import NOW, only, put, run, until_waiting, whole

C, NAME = "nixos-unstable", "nixos-25.05pre1.0123456789ab"
TEXT = Random(1).randbytes(3_000_000)


def record(library: Library, *bases: str) -> None:
    """Begin a release that lists these."""
    library.catalogue.record_release(Release(C, NAME, 1, "source", "a" * 40, 5), bases)


def files(library: Library, *found: File) -> None:
    """Write down what the release consists of."""
    library.catalogue.record_files(C, NAME, found)


def read(library: Library, name: str) -> bytes:
    """Read a file of the release."""
    found = library.catalogue.file(C, NAME, name)
    assert found is not None
    return b"".join(library.content(found.root))


def test_what_a_release_lists_stays_until_it_goes(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        low = put(library, "low", 0)
        top = put(library, "top", 1, low)
        gone = put(library, "gone")
        record(library, top.path.base)
        told = [event.base for event in only(LetGo, list(preview(library)))]
        assert told == [gone.path.base]
        assert run(library)[0].items == 1
        assert whole(library, low, 0)
        assert whole(library, top, 1)
        library.catalogue.remove_release(C, NAME)
        assert run(library)[0].items == 2


def test_the_files_of_a_release_stay_though_their_items_go(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        item = put(library, "product")
        root = library.member(item, b"own")
        assert root is not None
        content = b"".join(library.content(root))
        assert library.member(item, b"") is None
        assert library.member(item, b"none") is None
        record(library)
        with library.keeping() as keep:
            made, seal = keep(iter([TEXT[:1000], TEXT[1000:]]))
            tiny, small = keep([b"tiny"])
            files(
                library,
                File("made", made, seal, 1),
                File("product", root, seal, 1),
                File("tiny", tiny, small, 1),
            )
        outcome = run(library)[0]
        assert outcome.items == 1
        assert library.item(item.path.base) is None
        assert read(library, "product") == content
        assert read(library, "made") == TEXT
        assert read(library, "tiny") == b"tiny"
        assert b"".join(library.content(made, 999_999, 2_000_001)) == TEXT[999_999:2_000_001]
        library.catalogue.remove_release(C, NAME)
        assert run(library)[0].room.blocks > 0
        assert run(library)[0].room.blocks == 0


def test_a_file_that_is_kept_meanwhile_is_waited_for(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        record(library)
        with library.keeping() as keep:
            root, seal = keep([TEXT])
            events = collect(library, NOW)
            until_waiting(events)
            files(library, File("made", root, seal, 1))
        last = list(events)[-1]
        assert isinstance(last, Collected)
        assert read(library, "made") == TEXT
