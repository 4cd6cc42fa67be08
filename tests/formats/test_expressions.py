"""A file more in a tarball of expressions."""

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import expressions
from narbor.formats.expressions import MalformedTarball

NAMES = st.text("abc.", min_size=1, max_size=5).filter(lambda name: name.strip("."))
FILES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=1500), max_size=4
)


def tarball(
    files: dict[str, bytes], top: str = "nixos-1", format: int = tarfile.PAX_FORMAT
) -> bytes:
    """A tarball of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        folder = tarfile.TarInfo("nixos-1")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"nixos-1/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Data in pieces."""
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes) -> list[tuple[str, bytes, int]]:
    """What a tarball holds: files with their content and time."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = [(member, tar.extractfile(member)) for member in tar if member.isreg()]
        return [(member.name, file.read(), int(member.mtime)) for member, file in found if file]


@given(
    FILES,
    st.binary(max_size=3000),
    st.integers(1, 5000),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
)
def test_all_that_was_there_stays_and_the_file_comes_last(
    files: dict[str, bytes], data: bytes, size: int, format: int
) -> None:
    whole = tarball(files, format=format)
    where = expressions.layout(pieces(whole, size))
    assert where.top == "nixos-1"
    assert where.names == {name for name in files if "/" not in name}
    more = b"".join(expressions.added(pieces(whole, size), where, "programs.sqlite", data, 7))
    assert more[: where.end] == whole[: where.end]
    assert len(more) % 10_240 == 0
    assert read(more) == [*read(whole), ("nixos-1/programs.sqlite", data, 7)]


def test_long_names_and_links_count() -> None:
    files = {"a" * 200 + "/" + "b" * 150: b"x"}
    out = io.BytesIO(tarball(files))
    with tarfile.open(fileobj=out, mode="a") as tar:
        link = tarfile.TarInfo("nixos-1/link")
        link.type, link.linkname, link.size = tarfile.SYMTYPE, "x" * 300, 0
        tar.addfile(link)
    whole = out.getvalue()
    where = expressions.layout([whole])
    assert where.names == {"link"}
    more = b"".join(expressions.added([whole], where, "p", b"1", 1))
    assert [name for name, _, _ in read(more)] == [
        *(f"nixos-1/{name}" for name in files),
        "nixos-1/p",
    ]


@pytest.mark.parametrize("data", [b"", b"junk", b"j" * 2000])
def test_junk_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedTarball):
        expressions.layout([data])


def test_two_tops_are_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("a/x", "b/x"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(MalformedTarball, match="2 entries at its top"):
        expressions.layout([out.getvalue()])


def test_a_tarball_that_ends_early_is_refused() -> None:
    whole = tarball({"a": b"x" * 2000})
    where = expressions.layout([whole])
    with pytest.raises(MalformedTarball, match="ends 12 bytes early"):
        list(expressions.added([whole[: where.end - 12]], where, "p", b"", 1))


@given(FILES, st.integers(0, 1 << 32))
def test_reads_what_was_written(files: dict[str, bytes], modified: int) -> None:
    whole = b"".join(expressions.write("demo-1", files, modified))
    assert len(whole) % 10_240 == 0
    assert read(whole) == [(f"demo-1/{n}", files[n], modified) for n in sorted(files)]
    if files:
        where = expressions.layout([whole])
        assert where.top == "demo-1"
        assert where.names == {name for name in files if "/" not in name}
