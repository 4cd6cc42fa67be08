"""Caches over HTTP and in a folder: one contract, tried on both."""

import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.farm import PACK
from tests.fakes.faults import Instead, Status
from tests.fakes.upstream import FakeCache

from narbor.errors import Rejected, Unavailable
from narbor.formats import narinfo
from narbor.names import keys
from narbor.net import wire
from narbor.net.http import Gone, Http, WrongAnswer
from narbor.upstream import Cache, CacheInfo, NotACache, parse_info
from narbor.upstream import pathlist as paths
from narbor.upstream.cache import HttpCache
from narbor.upstream.directory import DirectoryCache, NoFolder, NoSuchFile, OutsideFolder, TooLong
from narbor.upstream.known import CACHES, find

HASH = "0" * 32
TEXT = (
    f"StorePath: /nix/store/{HASH}-x\nURL: nar/x.nar\nCompression: none\n"
    f"NarHash: sha256:{'0' * 52}\nNarSize: 5\nReferences: \n"
).encode()
INFO = narinfo.parse(TEXT)
PAGE = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
FILES = {
    "nix-cache-info": b"StoreDir: /gnu/store\nWantMassQuery: 1\nPriority:  30 \nnonsense\n",
    f"{HASH}.narinfo": TEXT,
    "nar/x.nar": b"hello",
    f"{HASH}.ls": b"{a tree}",
    f"log/{HASH}-a?b.drv": b"a log",
    "realisations/sha256:00!out.doi": b"{}",
    f"build-trace-v2/{HASH}-x.drv/out.doi": b"{1}",
    "store-paths.xz": lzma.compress(b"/nix/store/a\n\n/nix/store/b\n" * 2 + b"/nix/store/c"),
}


@pytest.fixture
def fake() -> Iterator[FakeCache]:
    with FakeCache() as cache:
        for name, content in FILES.items():
            cache.files["/" + name.replace("?", "%3F").replace(":", "%3A")] = content
        yield cache


@pytest.fixture
def http() -> Iterator[Http]:
    client = Http(wire.Options(proxies={}, attempts=2), sleep=lambda seconds: None)
    yield client
    client.close()


@pytest.fixture(params=["http", "folder"])
def cache(request: pytest.FixtureRequest, fake: FakeCache, http: Http, tmp_path: Path) -> Cache:
    if request.param == "http":
        return HttpCache(fake.url, http)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return DirectoryCache(f"file://{tmp_path}")


def test_info(cache: Cache) -> None:
    assert cache.info() == CacheInfo("/gnu/store", 30, True)


def test_claims_and_bytes(cache: Cache) -> None:
    assert cache.narinfo(HASH) == TEXT
    assert cache.narinfo("1" * 32) is None
    assert b"".join(cache.archive(INFO)) == b"hello"
    assert cache.address(INFO) == f"{cache.name}/nar/x.nar"


def test_logs_and_realisations(cache: Cache) -> None:
    assert cache.log(f"{HASH}-a?b.drv") == b"a log"
    assert cache.log("nothing") is None
    assert cache.realisation("sha256:00!out") == b"{}"
    assert cache.realisation(f"{HASH}-x.drv/out") == b"{1}"
    assert cache.realisation("sha256:00!dev") is None


def test_listings(cache: Cache) -> None:
    assert cache.listing(HASH) == b"{a tree}"
    assert cache.listing("1" * 32) is None


@pytest.mark.parametrize("encoding", ["br", "gzip", "zstd"])
def test_a_listing_with_a_content_encoding(fake: FakeCache, http: Http, encoding: str) -> None:
    name = f"/{HASH}.ls"
    fake.files[name] = PACK[encoding](b"{another}")
    fake.headers[name] = {"Content-Encoding": encoding}
    assert HttpCache(fake.url, http).listing(HASH) == b"{another}"


def test_lists_of_paths(cache: Cache) -> None:
    found = list(cache.store_paths("store-paths.xz"))
    assert found == ["/nix/store/a", "/nix/store/b"] * 2 + ["/nix/store/c"]


def test_an_archive_that_is_gone(cache: Cache) -> None:
    gone = narinfo.parse(TEXT.replace(b"x.nar", b"y.nar"))
    with pytest.raises(Unavailable, match=r"y\.nar"):
        list(cache.archive(gone))


@pytest.mark.parametrize("url", [b"file:///etc/passwd", b"ftp://h/x", b"//[", b"mailto:x"])
def test_archives_that_lie_elsewhere(cache: Cache, url: bytes) -> None:
    with pytest.raises(Rejected):
        list(cache.archive(narinfo.parse(TEXT.replace(b"nar/x.nar", url))))


def test_archives_on_another_host(fake: FakeCache, http: Http) -> None:
    with FakeCache() as other:
        other.files["/y?z=1"] = b"other"
        claim = narinfo.parse(TEXT.replace(b"nar/x.nar", f"{other.url}/y?z=1".encode()))
        assert b"".join(HttpCache(fake.url, http).archive(claim)) == b"other"


def test_a_cache_below_a_path(fake: FakeCache, http: Http) -> None:
    fake.files[f"/deep/{HASH}.narinfo"] = TEXT
    fake.files["/deep/nar/x.nar"] = b"deep"
    cache = HttpCache(f"{fake.url.replace('//', '//me:pw@')}/deep/?trusted=1", http)
    assert cache.name == f"{fake.url}/deep"
    assert cache.narinfo(HASH) == TEXT
    assert b"".join(cache.archive(INFO)) == b"deep"
    assert cache.address(INFO) == f"{fake.url}/deep/nar/x.nar"
    assert fake.asked[0].headers["authorization"] == "Basic bWU6cHc="


@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
def test_a_web_page_is_no_narinfo(fake: FakeCache, http: Http, kind: str) -> None:
    fake.fail("*", Instead(PAGE, {"Content-Type": kind}), always=True)
    cache = HttpCache(fake.url, http)
    with pytest.raises(NotACache, match=f"{fake.url}/{HASH}.narinfo"):
        cache.narinfo(HASH)
    with pytest.raises(NotACache):
        cache.info()


def test_a_redirect_to_a_web_page_names_it(fake: FakeCache, http: Http) -> None:
    fake.fail(f"/{HASH}.narinfo", Status(302, {"Location": "/login"}))
    fake.fail("/login", Instead(PAGE, {"Content-Type": "text/html"}))
    with pytest.raises(NotACache, match=f"{fake.url}/login answers with a web page"):
        HttpCache(fake.url, http).narinfo(HASH)


def test_a_narinfo_without_end(fake: FakeCache, http: Http) -> None:
    fake.files[f"/{HASH}.narinfo"] = bytes(narinfo.LONGEST + 1)
    with pytest.raises(WrongAnswer):
        HttpCache(fake.url, http).narinfo(HASH)


def test_no_cache_at_all(fake: FakeCache, http: Http, tmp_path: Path) -> None:
    del fake.files["/nix-cache-info"]
    empty: list[Cache] = [HttpCache(fake.url, http), DirectoryCache(str(tmp_path))]
    for cache in empty:
        with pytest.raises(NotACache, match="has no nix-cache-info"):
            cache.info()


def test_info_as_it_may_come() -> None:
    assert parse_info(b"StoreDir: /nix/store\n", "x") == CacheInfo("/nix/store", 0, False)
    with pytest.raises(NotACache, match="no such file"):
        parse_info(b"hello\n", "x")
    with pytest.raises(NotACache, match="no number"):
        parse_info(b"Priority: high\n", "x")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/x", "file://host/x", "http://h"):
        with pytest.raises(NoFolder):
            DirectoryCache(url)


@pytest.mark.parametrize("url", [b"../x", b"/x", b"nar/%2e%2e/x", b"http://h/x"])
def test_a_folder_keeps_to_itself(tmp_path: Path, url: bytes) -> None:
    claim = narinfo.parse(TEXT.replace(b"nar/x.nar", url))
    with pytest.raises(OutsideFolder):
        DirectoryCache(str(tmp_path)).archive(claim)


def test_a_folder_with_odd_files(tmp_path: Path) -> None:
    cache = DirectoryCache(str(tmp_path))
    (tmp_path / f"{HASH}.narinfo").write_bytes(bytes(narinfo.LONGEST + 1))
    with pytest.raises(TooLong):
        cache.narinfo(HASH)
    (tmp_path / "nar" / "x.nar").mkdir(parents=True)
    with pytest.raises(NoSuchFile):
        list(cache.archive(INFO))


def test_a_folder_with_a_blank_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "a b.nar").write_bytes(b"hello")
    claim = narinfo.parse(TEXT.replace(b"nar/x.nar", b"a%20b.nar?x=y"))
    assert b"".join(DirectoryCache(f"file://localhost{tmp_path}").archive(claim)) == b"hello"


def test_a_list_that_is_none() -> None:
    def read(data: bytes, name: str) -> list[str]:
        return list(paths.read([data], name))

    assert read(b"/a\n/b", "list") == ["/a", "/b"]
    with pytest.raises(paths.NoPathList, match="list: line 2 is no store path"):
        read(b"/a\nb\n", "list")
    with pytest.raises(paths.NoPathList, match=r"list\.xz\?x: xz"):
        read(b"/a\n", "list.xz?x")
    with pytest.raises(paths.NoPathList, match="more than 4096"):
        read(b"/" * 5000, "list")


def test_a_missing_list(fake: FakeCache, http: Http) -> None:
    with pytest.raises(Gone):
        list(HttpCache(fake.url, http).store_paths("nothing.xz"))


def test_known_caches() -> None:
    names = set()
    for cache in CACHES:
        assert cache.url.startswith("https://")
        assert find(cache.url) is cache
        assert cache.keys or cache.guix_keys
        names |= {keys.PublicKey.parse(text).name for text in cache.keys}
        assert all(len(bytes.fromhex(point)) == 32 for point in cache.guix_keys)
    assert "cache.nixos.org-1" in names
    assert find("http://Cache.NixOS.org/?priority=1") is find("https://cache.nixos.org")
    assert find("https://cache.nixos.org/other") is None
