"""A directory of a hundred thousand entries: in as a NAR, out as the same, listed, looked into."""

from collections.abc import Iterator
from pathlib import Path

from narbor.dag import walk
from narbor.formats import nar, unixfs
from narbor.library.reading import Reader
from tests.library.store import believed, opened

COUNT = 100_000


def crowd() -> Iterator[nar.Event[bytes]]:
    """Give the events of the directory: names are short, so that many a shard is tiny."""
    yield nar.Directory(b"")
    for number in range(COUNT):
        if number % 1000:
            yield nar.Symlink(b"%06d" % number, b"to-%d" % number)
        else:
            content = b"%06d" % number * 100
            yield nar.File(b"%06d" % number, False, len(content))
            yield nar.Data(content)
    yield nar.END


def test_a_directory_of_a_hundred_thousand_entries(tmp_path: Path) -> None:
    archive = b"".join(nar.write(crowd()))
    with opened(tmp_path) as library:
        item = library.admit(believed("crowd", archive), [archive], "test:")
        library.commit()
        reader = Reader(library.blocks)
        root = unixfs.parse(reader.node(item.tree))
        assert root.data is not None and root.data.kind == unixfs.HAMT_SHARD
        assert b"".join(library.archive(item)) == archive
        assert [entry.path for entry in library.entries(item)][1:] == [
            b"%06d" % number for number in range(COUNT)
        ]
        found = walk.find(item.tree, reader.node, b"031415")
        assert found is not None
        node = unixfs.parse(reader.node(found))
        assert node.data is not None and node.data.data == b"to-31415"
        inside = library.file(item, b"042000")
        assert inside is not None and b"".join(inside) == b"042000" * 100
