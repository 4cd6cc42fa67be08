"""Tar archives: what is written, Python's own reader and GNU tar read."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import tar
from narbor.formats.tar import BadName, Kind

NAMES = st.lists(
    st.binary(min_size=1, max_size=120).filter(
        lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
    ),
    min_size=1,
    max_size=4,
).map(b"/".join)


def read(archive: bytes) -> list[tarfile.TarInfo]:
    """Read an archive as Python does."""
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as opened:
        return opened.getmembers()


@given(NAMES, st.binary(max_size=1500), st.integers(0, 0o7777), st.integers(-5, 1 << 40))
def test_a_file_is_read_as_it_was_written(
    name: bytes, content: bytes, mode: int, time: int
) -> None:
    head = tar.header(name, "file", len(content), mode, time)
    archive = head + content + tar.padding(len(content)) + tar.END
    assert len(archive) % tar.BLOCK == 0
    (member,) = read(archive)
    assert member.name.encode("utf-8", "surrogateescape") == name
    assert (member.size, member.mode) == (len(content), mode & 0o777)
    assert member.mtime == min(max(time, 0), 8**11 - 1)
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as opened:
        got = opened.extractfile(opened.getmembers()[0])
        assert got is not None and got.read() == content


@given(NAMES, st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name))
def test_links_and_directories(name: bytes, target: bytes) -> None:
    link = tar.header(name, "symlink", target=target)
    folder = tar.header(name, "directory")
    first, second = read(link + folder + tar.END)
    assert first.issym() and second.isdir()
    assert first.linkname.encode("utf-8", "surrogateescape") == target
    assert second.name.rstrip("/").encode("utf-8", "surrogateescape") == name.rstrip(b"/")


def test_a_file_of_more_than_eight_gibibytes_says_so_in_a_record() -> None:
    size = 9 << 30
    with tarfile.open(fileobj=io.BytesIO(tar.header(b"x", "file", size))) as opened:
        found = opened.next()
    assert found is not None and found.size == size


def test_gnu_tar_reads_names_of_any_length() -> None:
    names = [b"a" * length for length in (99, 100, 101, 255)] + ["ü/é".encode() * 40]
    archive = b"".join(tar.header(name, "file") for name in names) + tar.END
    done = subprocess.run(
        ["tar", "--list", "--quoting-style=literal"], input=archive, capture_output=True, check=True
    )
    assert done.stdout.splitlines() == names
    assert done.stderr == b""


@pytest.mark.parametrize("name", [b"", b"/etc/passwd", b"a\0b"])
@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_names_that_are_none(name: bytes, kind: Kind) -> None:
    with pytest.raises(BadName):
        tar.header(name, kind)
    with pytest.raises(BadName):
        tar.header(b"a", "symlink", target=b"b\0")
