"""Sources of a revision: from servers that fail on command, and from the real git."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from narbor.catalogue import Release
from narbor.dag.reach import reach
from narbor.formats import nar, sources
from narbor.formats.mirrors import Mirrors
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names.digest import Digest
from narbor.names.file import File
from narbor.names.tarball import ALGORITHMS, Unfetched
from narbor.net.ftp import Ftp
from narbor.net.http import Http
from narbor.net.wire import Options as HttpOptions
from narbor.tasks import tarballs
from narbor.tasks.keep import collect
from narbor.tasks.keep.repair import Unrepaired, repair
from narbor.tasks.keep.verify import Verified, verify
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.tarballs import Done, Event, Failed, Fetched, Linked, Options, Wanted, checkouts
from narbor.upstream.directory import DirectoryCache
from tests.fakes.faults import Instead, Reset, Status
from tests.fakes.ftp import FakeFtp
from tests.fakes.upstream import FakeCache
from tests.library import store
from tests.peers import registry

OLD, NEW = "a" * 40, "b" * 40
NOW = Options(now=7, jobs=4)
BIG = bytes(range(256)) * 20_000
NOWHERE = Mirrors({})


class Web:
    """Files over HTTP, as they come, without waiting."""

    def __init__(self) -> None:
        self.http = Http(HttpOptions(attempts=3, proxies={}), sleep=lambda seconds: None)
        self.abandoned = self.http.abandoned

    def body(self, url: str) -> Iterator[bytes]:
        """Give what lies there."""
        return self.http.body(url, decoded=False)


def digest(content: bytes, algorithm: str = "sha256") -> Digest:
    """The hash of some bytes."""
    return Digest(algorithm, hashlib.new(algorithm, content).digest())


def entry(
    content: bytes, *urls: str, algorithm: str = "sha256", **more: object
) -> dict[str, object]:
    """An entry of a list."""
    hash = digest(content, algorithm).sri
    return {"name": urls[0].rpartition("/")[2], "hash": hash, "urls": urls} | more


def bring(
    library: Library,
    *entries: dict[str, object],
    revision: str = OLD,
    mirrors: Mirrors = NOWHERE,
    options: Options = NOW,
) -> list[Event]:
    """Fetch a list."""
    listed = sources.parse(json.dumps(entries).encode())
    web = Web()
    try:
        return list(tarballs.fetch(library, web, mirrors, revision, listed, options))
    finally:
        web.http.close()


def failures(events: list[Event]) -> dict[str, str]:
    """What failed, by name; the last event says the same."""
    done = events[-1]
    assert isinstance(done, Done)
    told = [event.source for event in events if isinstance(event, Failed)]
    assert sorted(told, key=lambda each: (each.name, each.what)) == list(done.failed)
    return {each.name: each.reason for each in done.failed}


def content(library: Library, hash: Digest) -> bytes | None:
    """What is kept under a hash."""
    found = library.tarball(hash)
    return None if found is None else b"".join(library.content(found.root))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty store."""
    with store.opened(tmp_path / "store") as library:
        yield library


@pytest.fixture
def server() -> Iterator[FakeCache]:
    """A server with two files."""
    with FakeCache() as fake:
        fake.files |= {"/one.tar": b"one", "/big.tar": BIG}
        yield fake


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_file_is_kept_under_all_its_hashes(
    library: Library, server: FakeCache, algorithm: str
) -> None:
    url = f"{server.url}/big.tar"
    events = bring(library, entry(BIG, url, algorithm=algorithm))
    assert Fetched("big.tar", digest(BIG, algorithm), url, len(BIG)) in events
    assert failures(events) == {}
    for each in ALGORITHMS:
        assert content(library, digest(BIG, each)) == BIG
    assert [name for name, _ in library.tarballs_of(OLD)] == ["big.tar"]


@pytest.mark.parametrize("bad", [b"other", BIG[:-1], BIG + b"x", b""])
def test_what_has_another_hash_is_not_kept(library: Library, server: FakeCache, bad: bytes) -> None:
    server.fail("/big.tar", Instead(bad))
    seen = digest(bad)
    reasons = failures(bring(library, entry(BIG, f"{server.url}/big.tar")))
    assert str(seen) in reasons["big.tar"] and str(digest(BIG)) in reasons["big.tar"]
    assert library.tarball(digest(BIG)) is library.tarball(seen) is None
    assert library.tarballs_of(OLD) == ()
    assert failures(bring(library, entry(BIG, f"{server.url}/big.tar"))) == {}


def test_mirrors_are_tried_in_turn_then_those_that_know_hashes(
    library: Library, server: FakeCache
) -> None:
    mirrors = Mirrors(
        {"site": (f"{server.url}/absent/", f"{server.url}/lying/", f"{server.url}/good/")},
        (f"{server.url}/hashed/",),
    )
    known = f"/hashed/sha256/{digest(b'known').hex}"
    server.files |= {"/lying/x": b"lie", "/good/x": b"one", known: b"known"}
    events = bring(
        library,
        entry(b"one", "mirror://site/x"),
        entry(b"known", "mirror://site/y", name="known"),
        entry(b"lost", "mirror://nosite/z", name="lost"),
        mirrors=mirrors,
    )
    came = {event.name: event.url for event in events if isinstance(event, Fetched)}
    assert came == {"x": f"{server.url}/good/x", "known": server.url + known}
    asked = [asked.path for asked in server.asked if asked.path.endswith("/x")]
    assert asked == ["/absent/x", "/lying/x", "/good/x"]
    assert "no mirror is known for 'nosite'" in failures(events)["lost"]
    assert f"{server.url}/hashed/sha256/{digest(b'lost').hex}" in failures(events)["lost"]


def test_broken_connections_and_busy_servers_are_tried_again(
    library: Library, server: FakeCache
) -> None:
    server.fail("/big.tar", Status(503), Reset(1_000_000))
    assert failures(bring(library, entry(BIG, f"{server.url}/big.tar"))) == {}
    assert server.count("/big.tar") == 3
    server.fail("/one.tar", Status(500), always=True)
    assert "HTTP 500" in failures(bring(library, entry(b"one", f"{server.url}/one.tar")))["one.tar"]
    assert server.count("/one.tar") == 3


def test_a_file_that_says_it_is_encoded_is_taken_as_it_is(
    library: Library, server: FakeCache
) -> None:
    server.files["/x.tar.gz"] = b"\x1f\x8b and so on"
    server.headers["/x.tar.gz"] = {"Content-Encoding": "x-gzip"}
    url = f"{server.url}/x.tar.gz"
    assert failures(bring(library, entry(server.files["/x.tar.gz"], url))) == {}


def test_what_is_larger_than_allowed_is_given_up(library: Library, server: FakeCache) -> None:
    options = replace(NOW, limit=len(BIG) - 1)
    events = bring(library, entry(BIG, f"{server.url}/big.tar"), options=options)
    assert "at most" in failures(events)["big.tar"]
    assert library.tarball(digest(BIG)) is None


def test_what_is_here_is_linked_into_the_next_revision(library: Library, server: FakeCache) -> None:
    url = f"{server.url}/one.tar"
    bring(library, entry(b"one", url))
    events = bring(library, entry(b"one", url, algorithm="sha1", name="uno"), revision=NEW)
    assert Linked(1) in events and not any(isinstance(event, Fetched) for event in events)
    assert server.count("/one.tar") == 1
    assert [name for name, _ in library.tarballs_of(NEW)] == ["uno"]
    assert [name for name, _ in library.tarballs_of(OLD)] == ["one.tar"]


def test_the_same_file_under_two_hashes_is_fetched_once(
    library: Library, server: FakeCache
) -> None:
    url = f"{server.url}/one.tar"
    both = [entry(b"one", url, algorithm=each, name=each) for each in ("sha256", "md5")]
    events = bring(library, *both, options=replace(NOW, jobs=1))
    assert failures(events) == {}
    assert server.count("/one.tar") == 1
    assert [name for name, _ in library.tarballs_of(OLD)] == ["md5", "sha256"]


def test_failures_are_those_of_their_revision(library: Library, server: FakeCache) -> None:
    bring(library, entry(b"a", f"{server.url}/a"), entry(b"x", "git://x/y", name="scheme"))
    bring(library, entry(b"b", f"{server.url}/b"), revision=NEW)
    assert [each.name for each in library.unfetched(OLD)] == ["a", "scheme"]
    (failed,) = library.unfetched(NEW)
    assert failed == Unfetched(str(digest(b"b")), "b", f"{server.url}/b: HTTP 404")
    server.files["/a"] = b"a"
    bring(library, entry(b"a", f"{server.url}/a"))
    assert library.unfetched(OLD) == ()
    assert len(library.unfetched(NEW)) == 1


def test_what_is_made_of_a_download_is_only_had_by_its_hash(
    library: Library, server: FakeCache
) -> None:
    patch = entry(b"normal", f"{server.url}/one.tar", isPatch=True, name="fix.patch")
    assert "made of" in failures(bring(library, patch))["fix.patch"]
    assert server.count("/one.tar") == 0
    server.files[f"/sha256/{digest(b'normal').hex}"] = b"normal"
    assert failures(bring(library, patch, mirrors=Mirrors({}, (server.url,)))) == {}


def test_a_dry_run_changes_nothing(library: Library, server: FakeCache) -> None:
    url = f"{server.url}/one.tar"
    bring(library, entry(b"one", url))
    before = library.version()
    mirrors = Mirrors({"m": ("http://a/", "http://b/")}, ("http://hashed/",))
    listed = [entry(b"one", url), entry(b"two", "mirror://m/two")]
    options = replace(NOW, dry_run=True)
    events = bring(library, *listed, revision=NEW, mirrors=mirrors, options=options)
    places = ("http://a/two", "http://b/two", f"http://hashed/sha256/{digest(b'two').hex}")
    assert events == [Wanted("two", digest(b"two"), places), Linked(1), Done(())]
    assert library.version() == before
    assert server.count("/one.tar") == 1


def test_a_full_disk_ends_it_all(library: Library, server: FakeCache) -> None:
    options = replace(NOW, min_free=1 << 62)
    with pytest.raises(DiskFull):
        bring(library, entry(b"one", f"{server.url}/one.tar"), options=options)
    assert library.tarball(digest(b"one")) is None


def test_a_host_that_only_fails_is_asked_last(library: Library, server: FakeCache) -> None:
    mirrors = Mirrors({"m": ("http://127.0.0.1:9/", f"{server.url}/")})
    for number in range(6):
        server.files[f"/{number}"] = b"%d" % number
    entries = [entry(b"%d" % n, f"mirror://m/{n}") for n in range(6)]
    web = Web()
    asked: list[str] = []

    class Counted:
        abandoned = web.abandoned

        def body(self, url: str) -> Iterator[bytes]:
            asked.append(url)
            return web.body(url)

    listed = sources.parse(json.dumps(entries).encode())
    options = replace(NOW, jobs=1)
    events = list(tarballs.fetch(library, Counted(), mirrors, OLD, listed, options))
    web.http.close()
    assert failures(events) == {}
    assert sum(":9/" in url for url in asked) == 3


def test_collections_keep_what_a_revision_has(library: Library, server: FakeCache) -> None:
    bring(library, entry(BIG, f"{server.url}/big.tar"))
    bring(library, entry(b"one", f"{server.url}/one.tar"), revision=NEW)
    at = collect.Circumstances(8, 0, "test", lambda name: True)
    list(collect.collect(library, at))
    assert content(library, digest(BIG)) == BIG
    assert library.catalogue.forget_revision(OLD)
    events = list(collect.collect(library, at))
    ended = events[-1]
    assert isinstance(ended, collect.Collected) and ended.freed > 0
    assert library.tarball(digest(BIG)) is None
    assert content(library, digest(b"one")) == b"one"


def test_a_damaged_one_is_found_let_go_of_and_fetched_again(
    library: Library, server: FakeCache
) -> None:
    bring(library, entry(BIG, f"{server.url}/big.tar"), entry(b"one", f"{server.url}/one.tar"))
    assert verified(library).damaged == ()
    whole = library.tarball(digest(BIG))
    assert whole is not None
    leaf = next(each for each in reach(whole.root, Reader(library.blocks).node, lambda _: True))
    library.blocks.delete([leaf])
    found = verified(library)
    (damaged,) = found.damaged
    assert damaged.base == f"tarballs/sha512/{whole.sha512.hex}" and leaf in damaged.faults
    (told,) = repair(library, found, DirectoryCache)
    assert isinstance(told, Unrepaired) and "fetch it again" in told.reasons[0]
    assert verified(library).damaged == ()
    assert [name for name, _ in library.tarballs_of(OLD)] == ["one.tar"]
    assert failures(bring(library, entry(BIG, f"{server.url}/big.tar"))) == {}
    assert content(library, digest(BIG)) == BIG
    assert verified(library).damaged == ()


def test_a_damaged_file_of_a_release_is_found(library: Library) -> None:
    release = Release("c", "nixos-25.05", 1, "source", NEW, 5)
    library.catalogue.record_release(release, [])
    with library.keeping() as keep:
        root, seal = keep([BIG])
        library.catalogue.record_files("c", release.name, [File("big.iso", root, seal, 1)])
    assert verified(library).damaged == ()
    leaf = next(each for each in reach(root, Reader(library.blocks).node, lambda _: True))
    library.blocks.delete([leaf])
    found = verified(library)
    assert [each.base for each in found.damaged] == ["releases/c/nixos-25.05/big.iso"]
    (told,) = repair(library, found, DirectoryCache)
    assert isinstance(told, Unrepaired) and told.reasons == (found.damaged[0].reason,)


def verified(library: Library) -> Verified:
    """Read everything again."""
    with ThreadPoolExecutor(2) as pool:
        found = list(verify(library, pool))[-1]
    assert isinstance(found, Verified)
    return found


# --- trees ---------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    """Run git as a person does."""
    name = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": os.devnull}
    name |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    allowed = {"GIT_ALLOW_PROTOCOL": "file"}
    done = subprocess.run(
        ["git", *words], cwd=folder, env=os.environ | name | allowed, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@contextmanager
def changed(folder: Path) -> Iterator[None]:
    """Make a commit of what is changed meanwhile."""
    yield
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a tag, and a later commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    with changed(folder):
        (folder / "src").mkdir()
        (folder / "src" / "main").write_bytes(b"#!/bin/sh\n")
        (folder / "src" / "main").chmod(0o755)
        (folder / "src" / "empty").write_bytes(b"")
        (folder / "link").symlink_to("./src//main")
    git(folder, "tag", "v1")
    with changed(folder):
        (folder / "later").write_text("later")
    return folder


def expected(main: bytes = b"#!/bin/sh\n") -> list[nar.Event[bytes]]:
    """The tree at the tag, as a NAR has it."""
    return [
        nar.Directory(b""),
        nar.Symlink(b"link", b"./src//main"),
        nar.Directory(b"src"),
        nar.File(b"empty", False, 0),
        nar.File(b"main", True, len(main)),
        nar.Data(main),
        nar.END,
        nar.END,
    ]


def tree(url: str, revision: str, hash: Digest, **more: object) -> dict[str, object]:
    """An entry for a tree, as fetchgit would have it."""
    mode = {"outputHashMode": "recursive", "fetcher": "git", "name": "source"}
    return {"url": url, "rev": revision, "hash": hash.sri, **mode, **more}


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512"])
@pytest.mark.parametrize("revision", ["v1", "refs/tags/v1", "commit"])
def test_a_tree_out_of_git_becomes_the_item_that_nix_would_make(
    library: Library, repository: Path, revision: str, algorithm: str
) -> None:
    archive = b"".join(nar.write(expected()))
    hash = digest(archive, algorithm)
    revision = git(repository, "rev-parse", "v1") if revision == "commit" else revision
    wanted = tree(repository.as_uri(), revision, hash)
    assert failures(bring(library, wanted)) == {}
    (base,) = library.checkouts_of(OLD)
    item = library.item(base)
    assert item is not None
    assert item.ca == f"fixed:r:{hash}"
    assert b"".join(library.archive(item)) == archive
    assert library.find(item.path.hash_part) == item
    # It is linked, and kept, by another revision as well.
    assert Linked(1) in bring(library, wanted, revision=NEW)
    library.catalogue.forget_revision(OLD)
    list(collect.collect(library, collect.Circumstances(8, 0, "test", lambda name: True)))
    assert library.item(base) is not None
    library.catalogue.forget_revision(NEW)
    list(collect.collect(library, collect.Circumstances(8, 0, "test", lambda name: True)))
    assert library.item(base) is None


def test_a_tree_with_another_hash_is_not_kept(library: Library, repository: Path) -> None:
    archive = b"".join(nar.write(expected()))
    wanted = tree(repository.as_uri(), "main", digest(archive))
    late = tree(repository.as_uri(), git(repository, "rev-parse", "main"), digest(archive))
    assert "main" in failures(bring(library, wanted))["source"]
    assert str(digest(archive)) in failures(bring(library, late))["source"]
    assert list(library.items()) == [] and library.checkouts_of(OLD) == ()


def test_submodules_come_along_when_they_are_asked_for(
    library: Library, repository: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet", "--initial-branch=main")
    with changed(outer):
        git(outer, "submodule", "--quiet", "add", repository.as_uri(), "inner")
        git(outer / "inner", "checkout", "--quiet", "v1")
    listed = (outer / ".gitmodules").read_bytes()
    events: list[nar.Event[bytes]] = [
        nar.Directory(b""),
        nar.File(b".gitmodules", False, len(listed)),
        nar.Data(listed),
        nar.Directory(b"inner"),
        *expected()[1:],
        nar.END,
    ]
    hash = digest(b"".join(nar.write(events)))
    revision = git(outer, "rev-parse", "HEAD")
    wanted = tree(outer.as_uri(), revision, hash, fetchSubmodules=True)
    assert failures(bring(library, wanted)) == {}
    wanted["fetchSubmodules"] = False
    assert str(hash) in failures(bring(library, wanted | {"name": "without"}))["without"]


def need(*programs: str) -> None:
    """Skip the test where one of these is not there."""
    for name in programs:
        if shutil.which(name) is None:
            registry.missing(name, "it is not on the PATH")
            pytest.skip(f"{name} is not there")


def version(program: str) -> str:
    """The version of a program."""
    said = subprocess.run([program, "--version", "--quiet"], check=True, capture_output=True)
    return said.stdout.decode().splitlines()[0].rpartition(" ")[2].rstrip(")")


def run(*words: str | Path) -> None:
    """Run a program that must succeed."""
    subprocess.run(words, check=True, capture_output=True)


def test_a_tree_out_of_subversion(library: Library, tmp_path: Path) -> None:
    need("svn", "svnadmin")
    registry.ran("svn", version("svn"))
    repository, work = tmp_path / "svn", tmp_path / "work@1"
    run("svnadmin", "create", repository)
    work.mkdir()
    (work / "src").mkdir()
    (work / "src" / "main").write_bytes(b"#!/bin/sh\n")
    (work / "src" / "main").chmod(0o755)
    (work / "src" / "empty").write_bytes(b"")
    (work / "link").symlink_to("./src//main")
    url = f"{repository.as_uri()}/trunk@1"
    run("svn", "import", "--quiet", "--message", "one", work, url)
    run("svn", "delete", "--quiet", "--message", "two", f"{url}/link@")
    hash = digest(b"".join(nar.write(expected())))
    wanted = tree(url, "1", hash, fetcher="fetchsvn")
    assert failures(bring(library, wanted)) == {}
    (base,) = library.checkouts_of(OLD)
    item = library.item(base)
    assert item is not None and item.ca == f"fixed:r:{hash}"
    late = failures(bring(library, wanted | {"rev": 2, "name": "late"}))
    assert str(hash) in late["late"]


def test_a_tree_out_of_mercurial(library: Library, tmp_path: Path) -> None:
    need("hg")
    registry.ran("hg", version("hg"))
    repository = tmp_path / "hg"
    (repository / "src").mkdir(parents=True)
    (repository / "src" / "main").write_bytes(b"#!/bin/sh\n")
    (repository / "src" / "main").chmod(0o755)
    (repository / "src" / "empty").write_bytes(b"")
    (repository / "link").symlink_to("./src//main")
    hg = ("hg", "--repository", repository, "--config", "ui.username=a")
    run("hg", "init", repository)
    run(*hg, "commit", "--quiet", "--addremove", "--message", "one", repository)
    (repository / "late").write_text("late")
    run(*hg, "commit", "--quiet", "--addremove", "--message", "two", repository)
    hash = digest(b"".join(nar.write(expected())))
    wanted = tree(repository.as_uri(), "0", hash, fetcher="fetchhg")
    assert failures(bring(library, wanted)) == {}
    assert len(library.checkouts_of(OLD)) == 1
    late = failures(bring(library, wanted | {"rev": "tip", "name": "late"}))
    assert str(hash) in late["late"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"fetcher": "cvs"}, "tree"),
        ({"rev": "--exec=x"}, "no revision"),
        ({"leaveDotGit": True}, "leaveDotGit"),
        ({"url": "ext::sh -c true"}, "ext"),
        ({"url": "ssh://host/x"}, "ssh"),
        ({"url": "--upload-pack=x"}, "--upload-pack"),
        ({"url": "file:///does/not/exist"}, "/does/not/exist"),
    ],
)
def test_other_trees_are_listed_by_name(
    library: Library, repository: Path, more: dict[str, object], why: str
) -> None:
    wanted = tree(repository.as_uri(), "v1", digest(b"x")) | more
    assert why in failures(bring(library, wanted))["source"]


def test_a_repository_goes_on_to_another_revision(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    url = repository.as_uri()
    late = git(repository, "rev-parse", "main")
    checkouts.bring(clone, url, late)
    assert (clone / "later").exists()
    (clone / "rubbish").mkdir()
    (clone / "src" / "main").unlink()
    checkouts.bring(clone, url, "v1")
    assert list(checkouts.events(clone / "src")) == [
        nar.Directory(b""),
        *expected()[3:6],
        nar.END,
    ]
    assert not (clone / "later").exists() and not (clone / "rubbish").exists()
    # A server may refuse to give a commit by its name alone, or know it by a short one.
    checkouts.bring(clone, url, late[:12])
    assert git(clone, "rev-parse", "HEAD") == late


def test_files_come_over_ftp_too(library: Library) -> None:
    with FakeFtp() as fake:
        fake.files["/x.tar"] = b"one"
        listed = sources.parse(json.dumps([entry(b"one", f"{fake.url}/x.tar")]).encode())
        events = list(tarballs.fetch(library, Ftp(), NOWHERE, OLD, listed, NOW))
    assert failures(events) == {}
    assert content(library, digest(b"one")) == b"one"
