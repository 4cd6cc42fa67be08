"""narbor tarballs: a list, a channel, a nixpkgs; what it tells, serves, exports and forgets."""

import hashlib
import io
import json
import lzma
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from narbor import config, wiring
from narbor.catalogue import Release
from narbor.names.digest import Digest
from narbor.names.file import File
from tests.cli.program import Program
from tests.cli.test_release import configure, table
from tests.fakes.channel import NAME, Channel
from tests.fakes.faults import Stall
from tests.fakes.ftp import FakeFtp
from tests.fakes.upstream import FakeCache
from tests.tasks.test_tarballs import git

REVISION = "c" * 40


@pytest.fixture
def server() -> Iterator[FakeCache]:
    """A server with two files, one of them twice."""
    with FakeCache() as fake:
        fake.files |= {"/one.tar": b"one", "/mirror/two.tar": b"two", "/two.tar": b"two"}
        yield fake


def sri(content: bytes) -> str:
    """The SHA-256 of some bytes."""
    return Digest("sha256", hashlib.sha256(content).digest()).sri


def listed(folder: Path, server: FakeCache, *more: dict[str, object]) -> str:
    """A list with two files that are there, one over a mirror."""
    entries = [
        {"name": "one.tar", "hash": sri(b"one"), "url": f"{server.url}/one.tar"},
        {"name": "two.tar", "hash": sri(b"two"), "url": "mirror://ours/two.tar"},
        *more,
    ]
    (folder / "list.json").write_text(json.dumps(entries))
    return str(folder / "list.json")


def mirrors(folder: Path, server: FakeCache) -> str:
    """A table of mirrors."""
    text = f'rec {{ ours = [ "{server.url}/absent/" {server.url}/mirror/ ]; hashedMirrors = []; }}'
    (folder / "mirrors.nix").write_text(text)
    return str(folder / "mirrors.nix")


def lost(server: FakeCache) -> dict[str, object]:
    """A source that nobody has."""
    return {"name": "lost.tar", "hash": sri(b"lost"), "url": f"{server.url}/lost.tar"}


def test_a_list_is_fetched_and_told(narbor: Program, server: FakeCache, tmp_path: Path) -> None:
    words = ("tarballs", "--list", listed(tmp_path, server), "--mirrors", mirrors(tmp_path, server))
    dry = narbor(*words, "--dry-run", "--revision", "r1")
    assert dry.returncode == 0, dry.stderr
    assert [line.split()[1] for line in dry.stdout.splitlines()] == ["one.tar", "two.tar"]
    assert f"{server.url}/mirror/two.tar" in dry.stdout
    assert not narbor.home.exists() and not server.asked
    done = narbor(*words, "--revision", "r1")
    assert done.returncode == 0, done.stderr
    assert "r1: 2 fetched (6 B), 0 were here, 0 failed" in done.stderr
    again = narbor(*words, "--revision", "r2")
    assert "r2: 0 fetched (0 B), 2 were here, 0 failed" in again.stderr
    assert server.count("/one.tar") == 1


def test_what_fails_is_told_by_name(narbor: Program, server: FakeCache, tmp_path: Path) -> None:
    file = listed(tmp_path, server, lost(server))
    words = ("tarballs", "--list", file, "--no-hashed-mirrors", "--mirrors")
    done = narbor("--json", *words, mirrors(tmp_path, server))
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["name"] for event in events if event["event"] == "fetched"} == {
        "one.tar",
        "two.tar",
    }
    (failed,) = [event for event in events if event["event"] == "failed"]
    assert failed["name"] == "lost.tar" and "HTTP 404" in failed["reason"]
    assert events[-1] == {"event": "done", "revision": failed["revision"], "failed": 1}
    assert failed["revision"].startswith("list-")


def release(home: Path, expressions: bytes | None = None) -> None:
    """Put a channel with a release into a store, with the expressions as a file of it."""
    library = wiring.open_library(config.load(home, None, {}), write=True)
    catalogue = library.catalogue
    catalogue.record_release(Release("c", "nixos-25.05", None, "farm", REVISION, 1), [])
    if expressions is not None:
        with library.keeping() as keep:
            root, seal = keep([expressions])
            file = File("nixexprs.tar.xz", root, seal, 1)
            catalogue.record_files("c", "nixos-25.05", [file])
    catalogue.publish_release("c", "nixos-25.05", 2)
    catalogue.promote("c", "nixos-25.05", 2)
    library.close()


def packed(name: str, content: bytes) -> bytes:
    """A .tar.xz with one file, behind another."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, data in (("nixos-25.05/other", b"x" * 100_000), (name, content)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return lzma.compress(buffer.getvalue())


def test_a_channel_has_its_mirrors_from_its_own_release(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    table = Path(mirrors(tmp_path, server)).read_bytes()
    release(narbor.home, packed("nixos-25.05/pkgs/build-support/fetchurl/mirrors.nix", table))
    done = narbor("tarballs", "c", "--list", listed(tmp_path, server))
    assert done.returncode == 0, done.stderr
    assert f"{REVISION}: 2 fetched" in done.stderr


def test_a_channel_without_nix_and_without_a_list_says_what_to_do(narbor: Program) -> None:
    release(narbor.home)
    done = narbor("tarballs", "c", PATH="/nowhere")
    assert done.returncode == 2 and "--print-list" in done.stderr
    assert "no release here" in narbor("tarballs", "d").stderr
    assert "nothing asked for" in narbor("tarballs").stderr


def test_one_bad_channel_does_not_stop_the_next(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    """The second of two channels is fetched though the first has no release."""
    nixpkgs, path = fake_nixpkgs(tmp_path, server)
    release(narbor.home)
    library = wiring.open_library(config.load(narbor.home, None, {}), write=True)
    commit = git(nixpkgs, "rev-parse", "HEAD")
    library.catalogue.record_release(Release("e", "nixos-25.11", None, "x", commit, 1), [])
    library.catalogue.publish_release("e", "nixos-25.11", 2)
    library.catalogue.promote("e", "nixos-25.11", 2)
    library.close()
    done = narbor("tarballs", "c", "e", "--repo", nixpkgs.as_uri(), PATH=path)
    assert done.returncode == 1
    assert f"{commit}: 1 fetched" in done.stderr
    assert "c: " in done.stderr and REVISION in done.stderr


def fake_nixpkgs(folder: Path, server: FakeCache) -> tuple[Path, str]:
    """A repository that looks like nixpkgs, and a PATH with a program that stands for Nix.

    The program gives the list that lies in the repository, if it is asked as Nix has to be.
    """
    nixpkgs = folder / "with blanks" / "nixpkgs"
    (nixpkgs / "maintainers" / "scripts").mkdir(parents=True)
    finder = nixpkgs / "maintainers" / "scripts" / "find-tarballs.nix"
    entry = {"name": "one.tar", "type": "sha256", "url": f"{server.url}/one.tar"}
    entry["hash"] = hashlib.sha256(b"one").hexdigest()
    finder.write_text(json.dumps([entry]))
    git(nixpkgs, "init", "--quiet")
    git(nixpkgs, "add", "--all")
    git(nixpkgs, "commit", "--quiet", "--message", "all")
    programs = folder / "bin"
    programs.mkdir()
    nix = programs / "nix-instantiate"
    nix.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "*'--eval --strict --json '*find-tarballs.nix' --arg expr '*'/pkgs/top-level/release.nix'*)"
        ' cat "${NIX_PATH#nixpkgs=}/maintainers/scripts/find-tarballs.nix";;\n'
        '*) echo "error: cannot do $*" >&2; exit 1;;\n'
        "esac\n"
    )
    nix.chmod(nix.stat().st_mode | stat.S_IXUSR)
    return nixpkgs, f"{programs}:{os.environ['PATH']}"


def test_a_channel_is_listed_by_nix_at_its_revision(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    nixpkgs, path = fake_nixpkgs(tmp_path, server)
    done = narbor("tarballs", "--nixpkgs", str(nixpkgs), PATH=path)
    assert done.returncode == 0, done.stderr
    commit = git(nixpkgs, "rev-parse", "HEAD")
    assert f"{commit}: 1 fetched" in done.stderr
    shown = narbor("tarballs", "--nixpkgs", str(nixpkgs), "--print-list", PATH=path)
    finder = nixpkgs / "maintainers" / "scripts" / "find-tarballs.nix"
    assert shown.stdout == finder.read_text()
    failed = narbor("tarballs", "--nixpkgs", str(nixpkgs), "--expr", "x", PATH=path)
    assert failed.returncode == 3 and "error: cannot do" in failed.stderr


def test_an_export_is_a_plain_tree_and_goes_with_what_is_forgotten(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    table = ("--mirrors", mirrors(tmp_path, server), "--no-hashed-mirrors")
    narbor("tarballs", "--list", listed(tmp_path, server), *table, "--revision", "r1")
    entries = [{"url": f"{server.url}/one.tar", "hash": sri(b"one"), "name": "uno"}, lost(server)]
    (tmp_path / "other.json").write_text(json.dumps(entries))
    narbor("tarballs", "--list", str(tmp_path / "other.json"), *table, "--revision", "r2")
    folder = tmp_path / "plain"
    done = narbor("--json", "tarballs", "--export", str(folder))
    assert json.loads(done.stdout) == {"files": 2, "written": 2, "removed": 0, "size": 6}
    one = hashlib.sha512(b"one").hexdigest()
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        digest = Digest(algorithm, hashlib.new(algorithm, b"one").digest())
        assert (folder / algorithm / digest.hex).read_bytes() == b"one"
        if algorithm.startswith("sha") and algorithm != "sha1":
            assert (folder / algorithm / digest.nix32).read_bytes() == b"one"
    assert not (folder / "sha512" / one).is_symlink()
    assert (folder / "by-name" / "r1" / "one.tar").read_bytes() == b"one"
    assert (folder / "by-name" / "r2" / "uno").read_bytes() == b"one"
    assert (folder / "revisions" / "r2" / one).resolve() == (folder / "sha512" / one).resolve()
    assert "lost.tar\t" in (folder / "revisions" / "r2" / "log").read_text()
    assert (folder / "revisions" / "r1" / "log").read_text() == ""
    before = (folder / "sha512" / one).stat()
    again = narbor("--json", "tarballs", "--export", str(folder))
    assert json.loads(again.stdout)["written"] == 0
    assert narbor("tarballs", "--forget", "r1").returncode == 0
    assert narbor("tarballs", "--forget", "r1").returncode == 2
    last = narbor("--json", "tarballs", "--export", str(folder))
    assert json.loads(last.stdout)["removed"] > 0
    left = sorted(str(path.relative_to(folder)) for path in (folder / "by-name").rglob("*"))
    assert left == ["by-name/r2", "by-name/r2/uno"]
    assert [path.name for path in (folder / "sha512").iterdir() if not path.is_symlink()] == [one]
    assert (folder / "sha512" / one).stat() == before


def test_an_export_of_everything_has_them_too(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    words = ("--mirrors", mirrors(tmp_path, server), "--revision", "r1")
    narbor("tarballs", "--list", listed(tmp_path, server), *words)
    for _ in range(2):
        done = narbor("export", str(tmp_path / "plain"), "--delete")
        assert done.returncode == 0, done.stderr
        assert (
            tmp_path / "plain" / "tarballs" / "by-name" / "r1" / "one.tar"
        ).read_bytes() == b"one"
    assert (tmp_path / "plain" / "nix-cache-info").exists()


def test_a_channel_with_tarballs_has_them_after_its_release(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    nixpkgs, path = fake_nixpkgs(tmp_path, server)
    commit = git(nixpkgs, "rev-parse", "HEAD")
    with Channel() as farm:
        configure(narbor, table(farm, tarballs=True, repo=nixpkgs.as_uri()))
        farm.evaluate(NAME, commit)
        # Without Nix, the release is made all the same, and the next turn tries again.
        failed = narbor("release", "make", PATH="/nowhere")
        assert failed.returncode == 1
        assert f"{NAME} is published" in failed.stderr and "no Nix here" in failed.stderr
        made = narbor("release", "make", PATH=path)
        assert made.returncode == 0, made.stderr
        assert f"{commit}: 1 fetched" in made.stderr
        assert "fetched" not in narbor("release", "make", PATH=path).stderr
    # Those are the channels that are meant when none is named.
    done = narbor("tarballs", PATH=path)
    assert done.returncode == 0 and f"{commit}: 0 fetched (0 B), 1 were here" in done.stderr


def test_the_table_of_the_configuration_counts(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    narbor.home.mkdir()
    place = f'hashed-mirrors = ["{server.url}/hashed"]\n'
    (narbor.home / "narbor.toml").write_text(f'[tarballs]\nlimit = "1kB"\n{place}')
    content = {name: name.encode() * 600 for name in ("a", "bb")}
    for each in content.values():
        server.files[f"/hashed/sha256/{hashlib.sha256(each).hexdigest()}"] = each
    entries = [
        {"name": name, "hash": sri(each), "url": f"{server.url}/{name}"}
        for name, each in content.items()
    ]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    words = ("tarballs", "--list", str(tmp_path / "list.json"), "--revision", "r1")
    done = narbor(*words)
    assert done.returncode == 1 and "r1: 1 fetched (600 B), 0 were here, 1 failed" in done.stderr
    assert "failed: bb:" in done.stderr and "at most 1000 may" in done.stderr
    assert narbor(*words, "--no-hashed-mirrors", "--limit", "2kB").returncode == 1
    more = {"NARBOR_TARBALLS_HASHED_MIRRORS": f"http://127.0.0.1:9 {server.url}/hashed"}
    assert narbor(*words, "--limit", "2kB", **more).returncode == 0


def test_ftp_is_spoken_too_and_status_counts(narbor: Program, tmp_path: Path) -> None:
    with FakeFtp() as fake:
        fake.files["/pub/one.tar"] = b"one"
        entry = {"url": f"{fake.url}/pub/one.tar", "hash": sri(b"one")}
        (tmp_path / "list.json").write_text(json.dumps([entry]))
        done = narbor("tarballs", "--list", str(tmp_path / "list.json"))
    assert done.returncode == 0, done.stderr
    said = json.loads(narbor("--json", "status").stdout)
    assert (said["tarballs"], said["tarballSize"]) == (1, 3)
    assert "1 sources, 3 B" in narbor("status").stdout


def test_one_that_is_killed_leaves_what_it_had(
    narbor: Program, server: FakeCache, tmp_path: Path
) -> None:
    file, table = listed(tmp_path, server), mirrors(tmp_path, server)
    words = ("tarballs", "--list", file, "--mirrors", table, "--jobs", "1", "--revision", "r1")
    server.fail("/mirror/two.tar", Stall(1))
    with subprocess.Popen(
        [sys.executable, "-m", "narbor", *words],
        env=narbor.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        server.wait_for("/mirror/two.tar")
        process.kill()
    assert narbor("collect").returncode == 0
    again = narbor(*words)
    assert again.returncode == 0 and "r1: 1 fetched (3 B), 1 were here, 0 failed" in again.stderr
    assert narbor("verify").returncode == 0


def test_a_list_that_is_none_is_refused(narbor: Program, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    for words in (("--list", "x"), ("--list", "absent"), ("--list", "x", "--mirrors", "x")):
        paths = [str(tmp_path / word) if not word.startswith("-") else word for word in words]
        done = narbor("tarballs", *paths)
        assert done.returncode in (2, 3), done.stderr
        assert len(done.stderr.splitlines()) == 1
