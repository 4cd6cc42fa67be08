"""Source tarballs, asked for as Nix, nixpkgs' builder and people do."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.tarballs import TarballDoor
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.digest import Digest
from narbor.names.tarball import ALGORITHMS, Tarball, Unfetched

REVISION = "a" * 40


@dataclass(slots=True)
class Shelf:
    """Tarballs in memory, all in one revision."""

    contents: dict[str, bytes]
    failed: tuple[Unfetched, ...] = ()
    read: list[tuple[int, int | None]] = field(default_factory=list)

    def tarball(self, digest: Digest, revision: str | None = None) -> Tarball | None:
        """Look through all."""
        if revision not in (None, REVISION):
            return None
        return next((each for _, each in self._all() if digest in each.digests), None)

    def tarball_named(self, revision: str, name: str) -> Tarball | None:
        """Look by name."""
        return dict(self.tarballs_of(revision)).get(name)

    def revisions(self) -> tuple[tuple[str, int], ...]:
        """There is one."""
        return ((REVISION, 7),)

    def tarballs_of(self, revision: str) -> tuple[tuple[str, Tarball], ...]:
        """All are of that one."""
        return tuple(self._all()) if revision == REVISION else ()

    def unfetched(self, revision: str) -> tuple[Unfetched, ...]:
        """What failed."""
        return self.failed

    def content(self, root: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give a part."""
        self.read.append((start, stop))
        found = next(each for each in self.contents.values() if cid.raw(each) == root)
        return iter([found[start:stop]])

    def _all(self) -> Iterator[tuple[str, Tarball]]:
        for name, content in sorted(self.contents.items()):
            yield name, tarball(content)


def tarball(content: bytes) -> Tarball:
    """A tarball with such bytes."""
    return Tarball(
        cid.raw(content),
        len(content),
        *(Digest(each, hashlib.new(each, content).digest()) for each in ALGORITHMS),
    )


def ask(shelf: Shelf, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask the door as the server does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.ask([TarballDoor(shelf)], Request(method, path, "", named))


def body(answer: Answer) -> bytes:
    """Return the whole body."""
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}\.tar", fullmatch=True), st.binary(), min_size=1))
def test_every_hash_in_every_notation_leads_to_the_bytes(contents: dict[str, bytes]) -> None:
    shelf = Shelf(contents)
    for content in contents.values():
        for digest in tarball(content).digests:
            plain = base64.b64encode(digest.value).decode()
            spellings = [f"{digest.algorithm}/{each}" for each in (digest.hex, plain, digest.sri)]
            # As the builder of nixpkgs does it: the mirror, a slash, the algorithm or nothing, ...
            spellings += [f"/{digest.algorithm}/{digest.nix32}", f"/{digest.sri}", digest.sri]
            for spelt in spellings:
                answer = ask(shelf, f"/tarballs/{spelt}")
                assert (answer.status, body(answer)) == (200, content)
                assert answer.header("content-length") == str(len(content))
                assert answer.header("cache-control") == http.IMMUTABLE


@pytest.mark.parametrize(
    "path",
    [
        f"/tarballs/sha256/{'0' * 64}",
        "/tarballs/sha256/zz",
        f"/tarballs/sha1/{tarball(b'one').sha256.hex}",
        f"/tarballs/sha1/{tarball(b'one').sha256.sri}",
        f"/tarballs/blake3/{'0' * 64}",
        f"/tarballs//{tarball(b'one').sha256.hex}",
        "/tarballs//sha256-x",
        "/tarballs/by-name/b/one.tar",
        f"/tarballs/by-name/{REVISION}/two.tar",
        f"/tarballs/revisions/b/{tarball(b'one').sha512.hex}",
        "/tarballs/revisions/b/",
        "/tarballs/revisions/b/log",
        "/tarballs/by-name/b/",
        "/tarballs/other",
    ],
)
def test_what_is_not_here_is_absent(path: str) -> None:
    answer = ask(Shelf({"one.tar": b"one"}), path)
    assert answer.status == 404


def test_ranges_and_conditions_of_what_never_changes() -> None:
    shelf = Shelf({"one.tar": b"0123456789"})
    path = f"/tarballs/sha512/{tarball(b'0123456789').sha512.hex}"
    answer = ask(shelf, path, range="bytes=3-5")
    assert (answer.status, body(answer)) == (206, b"345")
    whole = ask(shelf, path, method="HEAD")
    assert (whole.status, whole.body, whole.header("content-length")) == (200, b"", "10")
    assert ask(shelf, path, if_none_match=whole.header("etag") or "").status == 304
    assert ask(shelf, path, method="PUT").status == 405


def test_by_name_and_by_revision() -> None:
    shelf = Shelf({"one.tar": b"one", "two.tar": b"two"})
    assert body(ask(shelf, f"/tarballs/by-name/{REVISION}/two.tar")) == b"two"
    hex = tarball(b"one").sha512.hex
    assert body(ask(shelf, f"/tarballs/revisions/{REVISION}/{hex}")) == b"one"


def test_the_log_says_what_failed_a_line_each() -> None:
    failed = (Unfetched("sha256:x", "a", "one\nthing"), Unfetched("http://y", "b", "other"))
    answer = ask(Shelf({}, failed), f"/tarballs/revisions/{REVISION}/log")
    assert body(answer) == b"sha256:x\ta\tone thing\nhttp://y\tb\tother\n"
    assert (answer.header("content-type") or "").startswith("text/plain")


def links(answer: Answer) -> list[str]:
    """The links of a page, but the one upwards."""
    text = body(answer).decode()
    found = [part.partition('"')[0] for part in text.split('href="')[1:]]
    assert found[0] == "../"
    return found[1:]


def test_pages_lead_to_everything() -> None:
    shelf = Shelf({"one.tar": b"one", "<b>&?.tar": b"two"})
    top = "/tarballs/"
    assert links(ask(shelf, top)) == ["by-name/", "revisions/"]
    for folder in links(ask(shelf, top)):
        assert links(ask(shelf, top + folder)) == [f"{REVISION}/"]
        for name in links(ask(shelf, f"{top}{folder}{REVISION}/")):
            assert ask(shelf, f"{top}{folder}{REVISION}/{unquote(name)}").status == 200
    assert b"<b>" not in body(ask(shelf, f"{top}by-name/{REVISION}/"))


@pytest.mark.parametrize(
    "path", ["/tarballs", "/tarballs/by-name", f"/tarballs/revisions/{REVISION}"]
)
def test_a_folder_without_its_slash_leads_to_the_one_with_it(path: str) -> None:
    answer = ask(Shelf({}), path)
    assert answer.status == 301
    assert (answer.header("location") or "") == f"{path.rpartition('/')[2]}/"


def test_other_paths_are_none_of_this_door() -> None:
    for path in ("/", "/nix-cache-info", "/tarballsX", "/channels/"):
        assert TarballDoor(Shelf({})).answer(Request("GET", path)) is None
