"""Channels and releases, asked as browsers, mirrors and Nix ask for them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urljoin

import brotli
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.catalogue import Release
from narbor.doors import http
from narbor.doors.channels import ChannelsDoor
from narbor.doors.http import Answer, Request
from narbor.doors.nix import NixDoor
from narbor.library import Library
from narbor.names.file import File
from tests.library.store import opened
from tests.tasks.test_collect import put

C = "nixos-25.05"
OLD, NEW, NEXT = (f"nixos-25.05.{n}.650e572363c0" for n in (806273, 806300, 806400))
REVISION = "650e572363c091045cdbc5b36b0f4c1f614d3058"
ISO = "nixos-minimal-25.05.806300.650e572363c0-x86_64-linux.iso"
SOURCE = bytes(range(256)) * 3000
FILES = {
    "git-revision": REVISION.encode(),
    "nixexprs.tar.xz": SOURCE,
    "packages.json.br": bytes(brotli.compress(b"{}")),
    "store-paths.xz": b"xz",
    ISO: b"image",
    f"{ISO}.sha256": b"hash",
    "index.html": b"as exported",
}


@dataclass
class Asked:
    """A door, asked about a library."""

    library: Library
    door: ChannelsDoor

    def __call__(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.ask([self.door], Request(method, path, "", named))

    def follow(self, path: str, **headers: str) -> tuple[str, Answer]:
        """Ask as a client does that follows redirects; return where it ended."""
        for _ in range(3):
            answer = self(path, **headers)
            location = answer.header("location")
            if location is None:
                return path, answer
            path = urljoin(f"http://host{path}", location).removeprefix("http://host")
        raise AssertionError("it goes on and on")

    def publish(self, name: str, files: dict[str, bytes], channel: str = C) -> None:
        """Make a release of these files."""
        catalogue = self.library.catalogue
        source = "https://hydra.example/eval/1?a&b"
        catalogue.record_release(Release(channel, name, 1, source, REVISION, 5), [])
        with self.library.keeping() as keep:
            made = [File(file, *keep([content]), 1_700_000_000) for file, content in files.items()]
            catalogue.record_files(channel, name, made)
        catalogue.publish_release(channel, name, 1_800_000_000)
        catalogue.advance(channel, name, 7)


def body(answer: Answer) -> bytes:
    """Return the whole body."""
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A channel with two releases, and one in the making."""
    with opened(tmp_path_factory.mktemp("store")) as library:
        made = Asked(library, ChannelsDoor(library, NixDoor(library)))
        made.publish(OLD, {"git-revision": b"old"})
        made.publish(NEW, FILES)
        staged = Release(C, NEXT, 1, "source", REVISION, 5)
        library.catalogue.record_release(staged, [])
        with library.keeping() as keep:
            library.catalogue.record_files(C, NEXT, [File("git-revision", *keep([b"x"]), 1)])
        library.catalogue.record_release(Release("empty", NEXT, 1, "source", "r", 5), [])
        yield made


def test_a_channel_leads_to_its_release(asked: Asked) -> None:
    for path in (f"/channels/{C}", f"/channels/{C}/"):
        answer = asked(path)
        assert answer.status == 302
        assert answer.header("cache-control") == "public, max-age=600, stale-while-revalidate=1800"
        at, page = asked.follow(path)
        assert at.rstrip("/") == f"/releases/{C}/{NEW}"
        assert page.status == 200
        # Nix appends names of files to where it ended, and has its own mind about slashes.
        for slash in ("/", "//"):
            assert body(asked(f"{at.rstrip('/')}{slash}nixexprs.tar.xz")) == SOURCE


@pytest.mark.parametrize("file", sorted(FILES))
def test_files_of_a_channel_are_those_of_its_release(asked: Asked, file: str) -> None:
    at, answer = asked.follow(f"/channels/{C}/{file}")
    assert at == f"/releases/{C}/{NEW}/{file}"
    assert body(answer) == FILES[file]
    assert answer.header("content-length") == str(len(FILES[file]))
    assert answer.header("etag") == f'"{sha256(FILES[file]).hexdigest()}"'
    assert "immutable" in (answer.header("cache-control") or "")
    tag = answer.header("etag") or ""
    assert asked(at, if_none_match=tag).status == 304
    head = asked(at, "HEAD")
    assert (head.status, body(head), head.headers) == (200, b"", answer.headers)


def test_the_newest_image_has_a_name_that_stays(asked: Asked) -> None:
    for file in (ISO, f"{ISO}.sha256"):
        stays = "latest-" + file.replace("-25.05.806300.650e572363c0", "")
        assert asked.follow(f"/channels/{C}/{stays}")[0] == f"/releases/{C}/{NEW}/{file}"
    assert asked(f"/channels/{C}/latest-git-revision").status == 404
    assert asked(f"/channels/{C}/latest-").status == 404


def test_types_and_encodings(asked: Asked) -> None:
    at = f"/releases/{C}/{NEW}"
    packages = asked(f"{at}/packages.json.br")
    assert packages.header("content-type") == "application/json"
    assert packages.header("content-encoding") == "br"
    assert brotli.decompress(body(packages)) == b"{}"
    assert asked(f"{at}/git-revision").header("content-type") == "text/plain; charset=utf-8"
    source = asked(f"{at}/nixexprs.tar.xz")
    assert source.header("content-type") == "application/x-xz"
    assert source.header("content-encoding") is None


def test_a_tarball_says_how_it_is_locked(asked: Asked) -> None:
    expected = (
        f"<http://host:80/releases/{C}/{NEW}/nixexprs.tar.xz"
        f'?rev={REVISION}&lastModified=1700000000>; rel="immutable"'
    )
    for path in (f"/channels/{C}/nixexprs.tar.xz", f"/releases/{C}/{NEW}/nixexprs.tar.xz"):
        answer = asked(path, host="host:80")
        assert answer.header("link") == expected
        assert not answer.ready
        assert asked(path).header("link") is None
        assert asked(path, host="<evil>").header("link") is None
        behind = asked(path, host="host:80", x_forwarded_proto="https")
        assert behind.header("link") == expected.replace("http:", "https:")
        told = replace(asked.door, public={C: "https://cache.example/nix/"}, scheme="https")
        found = Asked(asked.library, told)(path, host="host:80").header("link") or ""
        assert found.startswith(f"<https://cache.example/nix/releases/{C}/")
    assert asked(f"/channels/{C}/git-revision", host="host").header("link") is None


def test_what_is_no_commit_is_not_said_to_be_one(asked: Asked) -> None:
    catalogue = asked.library.catalogue
    catalogue.record_release(Release("svn", "x-1", 1, "source", "r12", 5), [])
    with asked.library.keeping() as keep:
        catalogue.record_files("svn", "x-1", [File("a.tar.gz", *keep([b"a"]), 3)])
    catalogue.publish_release("svn", "x-1", 5)
    link = asked("/releases/svn/x-1/a.tar.gz", host="h").header("link")
    assert link == '<http://h/releases/svn/x-1/a.tar.gz?lastModified=3>; rel="immutable"'
    catalogue.remove_release("svn", "x-1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.integers(0, len(SOURCE)), st.integers(0, len(SOURCE)))
def test_ranges_are_slices(asked: Asked, one: int, other: int) -> None:
    start, stop = sorted((one, other))
    answer = asked(f"/releases/{C}/{NEW}/nixexprs.tar.xz", range=f"bytes={start}-{stop}")
    if start == len(SOURCE):
        assert answer.status == 416
        return
    assert answer.status == 206
    assert body(answer) == SOURCE[start : stop + 1]


def links(page: Answer) -> list[str]:
    """Return what a page links to."""
    return re.findall(r"href='([^']*)'", body(page).decode())


def test_pages_lead_to_each_other(asked: Asked) -> None:
    """From the top to every file, by links alone, with and without the last slash."""
    for slash in ("", "/"):
        for top in ("/channels", "/releases"):
            (channel,) = links(asked(top + slash))
            assert urljoin(top + slash, channel).rstrip("/") == f"{top}/{C}"
        here = f"/releases/{C}{slash}"
        releases = [urljoin(here, link) for link in links(asked(here))]
        assert releases == [f"/releases/{C}/{NEW}/", f"/releases/{C}/{OLD}/"]
        here = f"/releases/{C}/{NEW}{slash}"
        page = asked(here)
        assert page.header("content-type") == "text/html; charset=utf-8"
        found = [urljoin(here, link) for link in links(page) if "hydra" not in link]
        assert found == [f"/releases/{C}/{NEW}/{file}" for file in sorted(FILES) if file[0] != "i"]
        for path in found:
            assert body(asked(path)) == FILES[path.rpartition("/")[2]]


def test_a_page_has_what_mirrors_read(asked: Asked) -> None:
    text = body(asked(f"/releases/{C}/{NEW}")).decode()
    assert "<p>Released on 2027-01-15 08:00:00 from Git commit" in text
    assert "https://hydra.example/eval/1?a&amp;b" in text
    row = re.search(rf"<tr><td><a[^>]*>{ISO}</a></td><td[^>]*>(\d+)</td><td>(.*)</td></tr>", text)
    assert row is not None
    assert row[1] == "5"
    assert sha256(b"image").hexdigest() in row[2]


@pytest.mark.parametrize(
    "path",
    [
        "/channels/none",
        "/channels/empty",
        f"/channels/{C}/none",
        f"/channels/{C}/../{C}",
        "/releases/none",
        "/releases/empty",
        f"/releases/{C}/none",
        f"/releases/{C}/{NEXT}",
        f"/releases/{C}/{NEXT}/git-revision",
        f"/releases/{C}/{NEXT}/binary_cache/nix-cache-info",
        f"/releases/{C}/{NEW}/none",
        f"/releases/{C}/{NEW}/a/b",
        f"/releases/{C}/{NEW}/binary_cache/none",
        f"/releases/none/{NEW}/git-revision",
    ],
)
def test_what_is_not_there_is_404(asked: Asked, path: str) -> None:
    """Nothing of a release in the making can be seen."""
    assert asked(path).status == 404


def test_other_paths_and_methods(asked: Asked) -> None:
    for path in ("/", "/channel", "/channelsx", "/releasesx/a", "/nix-cache-info"):
        assert asked.door.answer(Request("GET", path)) is None
    assert asked(f"/channels/{C}", "POST").status == 405


def test_each_release_has_the_binary_cache(asked: Asked, tmp_path: Path) -> None:
    item = put(asked.library, "tool")
    at = f"/releases/{C}/{NEW}/binary_cache"
    same = http.ask([asked.door.cache], Request("GET", f"/{item.path.hash_part}.narinfo"))
    answer = asked(f"{at}/{item.path.hash_part}.narinfo")
    assert (answer.status, answer.body) == (200, same.body)
    assert asked(f"{at}/nix-cache-info").status == 200
