"""`narbor ls --from CACHE`: an item of a cache is listed as if it were here."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import brotli
import pytest

from tests.cli.program import Farm, Program
from tests.fakes.upstream import FakeCache
from tests.peers import servers
from tests.peers.servers import Narbor


@pytest.fixture
def fake(filled: Program, farm: Farm, tmp_path: Path) -> Iterator[FakeCache]:
    """A cache with listings as some give them: brotli, and said so."""
    assert filled("export", str(tmp_path / "out"), "--listings").returncode == 0
    with FakeCache() as cache:
        for file in (tmp_path / "out").glob("?*.*[os]"):
            name, content = f"/{file.name}", file.read_bytes()
            if file.suffix == ".ls":
                cache.headers[name] = {"Content-Encoding": "br"}
                content = bytes(brotli.compress(content))
            cache.files[name] = content
        yield cache


@pytest.fixture
def empty(tmp_path: Path) -> Program:
    """A program that has no store at all."""
    return Program(tmp_path / "empty" / "home")


@pytest.mark.parametrize("words", [(), ("-R",), ("--json",), ("-R", "--json")])
def test_it_says_what_a_mirror_would_say(
    filled: Program, empty: Program, farm: Farm, fake: FakeCache, words: tuple[str, ...]
) -> None:
    for name in farm.products:
        for inside in ("", "/bin", "/bin/tool", "/share/text", "/nope"):
            path = farm.path(name) + inside
            here = filled("ls", path, *words)
            there = empty("ls", "--from", fake.url, path, *words)
            assert (there.returncode, there.stdout) == (here.returncode, here.stdout)
            assert (there.stderr == "") == (there.returncode == 0)
    assert not [asked for asked in fake.counts() if not asked.endswith(".ls")]
    assert not empty.home.exists()


def test_our_own_server_is_such_a_cache(filled: Program, empty: Program, farm: Farm) -> None:
    path = farm.path("tool-2.0")
    with Narbor(filled.home).server() as server:
        for address in (server.url, f"{server.url}/plain"):
            there = empty("ls", "-R", "--json", "--from", address, path)
            assert there.stdout == filled("ls", "-R", "--json", path).stdout != ""
        offset = int(there.stdout.partition('"bin/tool"')[2].partition('"narOffset": ')[2][:3])
        # What the offset is for: a file by range, without the rest of the archive.
        nar = farm.products["tool-2.0"].seal.digest.nix32
        part = servers.curl("--range", f"{offset}-{offset + 1}", f"{server.url}/nar/{nar}.nar")
        assert part == b"#!"


def test_a_folder_is_such_a_cache(
    filled: Program, empty: Program, farm: Farm, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    filled("export", str(out), "--listings")
    base = Path(farm.path("top")).name
    for address in (str(out), out.as_uri()):
        # A bare hash does as well as the whole path.
        there = empty("ls", "--from", address, f"{base[:32]}/bin")
        assert there.stdout == filled("ls", f"{base}/bin").stdout != ""


def test_without_a_listing_it_says_what_to_do(empty: Program, farm: Farm, fake: FakeCache) -> None:
    path = farm.path("top")
    del fake.files[f"/{Path(path).name[:32]}.ls"]
    done = empty("ls", "--from", fake.url, path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{fake.url} has {Path(path).name}, but no listing of it: mirror it" in done.stderr
    assert f"`narbor mirror {fake.url} --no-closure {path}`" in done.stderr
    absent = f"/nix/store/{'0' * 32}-absent"
    done = empty("ls", "--from", fake.url, absent)
    assert done.returncode == 3
    assert f"{fake.url} does not have {Path(absent).name}" in done.stderr


def test_what_is_no_listing_is_named(empty: Program, farm: Farm, fake: FakeCache) -> None:
    path = farm.path("top")
    name = f"/{Path(path).name[:32]}.ls"
    del fake.headers[name]
    for wrong in (b"{}", b"junk", sha256(b"noise").digest()):
        fake.files[name] = wrong
        done = empty("ls", "--from", fake.url, path)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"{fake.url}{name}" in done.stderr
    # Brotli that nobody speaks of, as a folder behind a plain server gives it.
    fake.files[name] = bytes(
        brotli.compress(b'{"version":1,"root":{"type":"symlink","target":"x"}}')
    )
    assert "-> x" in empty("ls", "--from", fake.url, path).stdout
