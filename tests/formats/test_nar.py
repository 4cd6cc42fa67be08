"""NAR <-> events: bit for bit, in any chunks; only the canonical spelling is read."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import nar
from tests.trees import Tree, archives, chunked, events, trees

# `nix-store --dump` of a file "hello" holding "world\n" (nix 2.34), written out by the grammar.
HELLO = b"".join(
    (
        b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0",
        b"\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0",
        b"\x04\0\0\0\0\0\0\0type\0\0\0\0",
        b"\x07\0\0\0\0\0\0\0regular\0",
        b"\x08\0\0\0\0\0\0\0contents",
        b"\x06\0\0\0\0\0\0\0world\n\0\0",
        b"\x01\0\0\0\0\0\0\0)\0\0\0\0\0\0\0",
    )
)


def joined(tree: list[nar.Event[bytes]]) -> list[nar.Event[bytes]]:
    """Join neighbouring pieces of content, so that chunking does not matter."""
    out: list[nar.Event[bytes]] = []
    for event in tree:
        if isinstance(event, nar.Data) and out and isinstance(out[-1], nar.Data):
            out[-1] = nar.Data(out[-1].content + event.content)
        else:
            out.append(event)
    return out


def test_a_file_by_hand() -> None:
    assert list(nar.parse([HELLO])) == [nar.File(b"", False, 6), nar.Data(b"world\n")]
    assert b"".join(nar.write(nar.parse([HELLO]))) == HELLO


@given(trees, st.integers(1, 70))
def test_there_and_back_in_any_chunks(tree: Tree, size: int) -> None:
    said = joined(list(events(tree)))
    archive = b"".join(nar.write(iter(said)))
    assert joined(list(nar.parse(chunked(archive, size)))) == said
    assert b"".join(nar.write(nar.parse(chunked(archive, size)))) == archive


@given(archives, st.data())
def test_one_changed_byte_is_refused_or_still_canonical(
    archive: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(archive) - 1))
    changed = bytearray(archive)
    changed[at] ^= data.draw(st.integers(1, 255))
    with suppress(nar.MalformedNar):
        assert b"".join(nar.write(nar.parse([bytes(changed)]))) == changed


@given(archives, st.data())
def test_every_shorter_archive_is_refused(archive: bytes, data: st.DataObject) -> None:
    with pytest.raises(nar.MalformedNar):
        list(nar.parse([archive[: data.draw(st.integers(0, len(archive) - 1))]]))


@given(st.binary(max_size=300))
def test_junk_raises_our_error(junk: bytes) -> None:
    for start in (b"", HELLO[:24], HELLO[:64]):
        with pytest.raises(nar.MalformedNar):
            list(nar.parse([start, junk, b"!"]))


def folder(*entries: bytes) -> bytes:
    """Spell a directory whose entries are given as name and node."""
    string = nar.string
    inside = b"".join(
        string(b"entry") + string(b"(") + string(b"name") + string(name)
        + string(b"node") + HELLO[24:] + string(b")")
        for name in entries
    )  # fmt: skip
    words = string(b"(") + string(b"type") + string(b"directory")
    return HELLO[:24] + words + inside + string(b")")


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (HELLO + b"\0", "behind its end"),
        (HELLO[:-18] + b"\1\0" + HELLO[-16:], "padding"),
        (folder(b"b", b"a"), "does not sort behind b'b'"),
        (folder(b"a", b"a"), "does not sort behind b'a'"),
        (folder(b".."), "'..' is not allowed"),
        (folder(b"a/b"), "'a/b' is not allowed"),
        (folder(b"a\0b"), "NUL"),
        (folder(b""), "a name of 0 bytes"),
        (folder(b"x" * 256), "a name of 256 bytes"),
        (HELLO.replace(b"world", b"worl"), "expected"),
        (b"", "the archive ends"),
    ],
)
def test_what_is_wrong_is_said(archive: bytes, says: str) -> None:
    with pytest.raises(nar.MalformedNar, match=says.replace(".", r"\.")):
        list(nar.parse([archive]))


def test_the_place_inside_is_named() -> None:
    inner = folder(b"good", b"bad").replace(b"world\n\0\0", b"world\n\0\1", 1)
    with pytest.raises(nar.MalformedNar, match="at '/good'"):
        list(nar.parse([inner]))


@pytest.mark.parametrize("depth", [1, 64, 65, 5000])
def test_depth(depth: int) -> None:
    said = [nar.Directory(b"a" if level else b"") for level in range(depth)]
    archive = b"".join(nar.write([*said, *[nar.END] * depth]))
    if depth <= nar.DEEPEST:
        assert len(list(nar.parse([archive]))) == 2 * depth
    else:
        with pytest.raises(nar.MalformedNar, match="deeper than 64"):
            list(nar.parse([archive]))
