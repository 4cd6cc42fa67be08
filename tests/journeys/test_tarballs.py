"""Real Nix and the sources narbor keeps: as hashed mirror, as cache for trees, for the list."""

import hashlib
import json
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from narbor.formats import nar, sources
from narbor.formats.sources import Checkout, File
from narbor.names.digest import Digest
from narbor.names.tarball import ALGORITHMS
from tests.cli.program import Program
from tests.fakes.upstream import FakeCache
from tests.peers import registry, servers, suite
from tests.tasks.test_tarballs import changed, git

NOWHERE = "http://127.0.0.1:9/gone"
CONTENT = bytes(range(256)) * 5000
# What a fetchurl of nixpkgs comes to when Nix does it itself.
FETCH = """derivation {
  name = "big.tar"; system = "builtin"; builder = "builtin:fetchurl"; preferLocalBuild = true;
  outputHashMode = "flat"; outputHashAlgo = "%s"; outputHash = "%s";
  url = "%s"; urls = [ "%s" ]; unpack = false; executable = false;
}"""
FINDER = """{ expr }: map (each: {
  inherit (each) name urls; hash = each.outputHash; type = each.outputHashAlgo; isPatch = false;
}) (builtins.attrValues expr)"""
RELEASE = """{ scrubJobs, supportedSystems }: assert !scrubJobs; {
  big = { name = "big.tar"; urls = [ "%s" ]; outputHash = "%s"; outputHashAlgo = null; };
  unstable = throw "an aggregate"; tarball = throw "nixpkgs itself";
}"""
TREES = """let
  drv = more: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // more);
  fixed = more: drv ({ outputHash = "%s"; outputHashMode = "recursive"; } // more);
  file = more: fixed ({ outputHash = "%s"; outputHashAlgo = "sha256"; } // more);
  git = fixed {
    name = "git"; url = "https://a.example/x.git"; rev = "v1";
    fetchSubmodules = true; leaveDotGit = false; deepClone = false; sparseCheckout = "";
  };
  svn = fixed {
    name = "svn"; url = "https://a.example/svn"; rev = 7;
    ignoreExternals = false; ignoreKeywords = true;
  };
  hg = fixed { name = "hg"; url = "https://a.example/hg"; rev = "tip"; subrepoClause = "S"; };
  src = file { name = "src.tar"; urls = [ "https://a.example/src.tar" ]; outputHashMode = "flat"; };
  patch = file {
    name = "fix.patch"; url = "https://a.example/p"; outputHashMode = "flat"; postFetch = "x";
  };
  dependency = drv { name = "dependency"; srcs = [ git [ svn patch ] ]; };
in {
  set.deep = drv { name = "top"; inherit src hg; buildInputs = [ dependency dependency ]; };
  broken = throw "not now";
  half = drv { name = throw "no name"; };
}"""


@pytest.fixture(params=list(suite.SUITES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> suite.Machine:
    """A machine with nothing but one real Nix."""
    name: str = request.param
    made = suite.Machine(suite.need(name), tmp_path / "machine", {tmp_path: str(tmp_path)})
    made.configure()
    registry.ran(name, made.nix_version())
    return made


@contextmanager
def upstream(tmp_path: Path) -> Iterator[tuple[FakeCache, servers.Narbor]]:
    """A server with a file, and a narbor that has none yet."""
    with FakeCache() as fake:
        fake.files["/big.tar"] = CONTENT
        yield fake, servers.Narbor(tmp_path / "home")


def test_nix_takes_files_by_their_hash(machine: suite.Machine, tmp_path: Path) -> None:
    """The file's own address is dead; only the hashed mirror has it, under every hash."""
    hash = Digest("sha512", hashlib.sha512(CONTENT).digest())
    with upstream(tmp_path) as (fake, narbor):
        entry = {"name": "big.tar", "hash": hash.sri, "url": f"{fake.url}/big.tar"}
        (tmp_path / "list.json").write_text(json.dumps([entry]))
        narbor.run("tarballs", "--list", str(tmp_path / "list.json"), "--no-hashed-mirrors")
    with narbor.server() as server:
        for algorithm in ALGORITHMS:
            wanted = hashlib.new(algorithm, CONTENT).hexdigest()
            text = FETCH % (algorithm, wanted, NOWHERE, NOWHERE)
            machine.configure(hashed_mirrors="", connect_timeout="5", download_attempts="1")
            assert machine.attempt("nix-build", "--no-out-link", "-E", text).returncode
            machine.configure(hashed_mirrors=f"{server.url}/tarballs")
            path = machine.run("nix-build", "--no-out-link", "-E", text).strip()
            inside = machine.state / path.lstrip("/")
            assert inside.read_bytes() == CONTENT


def test_curl_takes_them_as_the_builder_of_nixpkgs_does(tmp_path: Path) -> None:
    """The mirror, a slash, the algorithm (none for SRI), a slash, the hash as it was written."""
    contents = [b"%d" % number for number in range(64)]
    digests = [Digest("sha256", hashlib.sha256(each).digest()) for each in contents]
    assert any("/" in hash.sri for hash in digests) and any("+" in hash.sri for hash in digests)
    with upstream(tmp_path) as (fake, narbor):
        entries = []
        for content, hash in zip(contents, digests, strict=True):
            fake.files[f"/{hash.hex}"] = content
            entries.append({"hash": hash.sri, "url": f"{fake.url}/{hash.hex}"})
        (tmp_path / "list.json").write_text(json.dumps(entries))
        narbor.run("tarballs", "--list", str(tmp_path / "list.json"))
    with narbor.server() as server:
        urls = [f"{server.url}/tarballs//{hash.sri}" for hash in digests]
        urls += [f"{server.url}/tarballs/sha256/{hash.nix32}" for hash in digests]
        assert b"HTTP/1.1 200" in servers.curl("--location", "--head", urls[0])
        assert servers.curl("--location", *urls) == b"".join(contents * 2)


def test_nix_substitutes_a_tree_out_of_git(machine: suite.Machine, tmp_path: Path) -> None:
    """It needs no signature: its path is that of a fixed output, which the content has."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet")
    with changed(repository):
        (repository / "run").write_text("#!/bin/sh\n")
        (repository / "run").chmod(0o755)
    events: list[nar.Event[bytes]] = [nar.Directory(b""), nar.File(b"run", True, 10)]
    events += [nar.Data(b"#!/bin/sh\n"), nar.END]
    hash = Digest("sha256", hashlib.sha256(b"".join(nar.write(events))).digest())
    entry = {"name": "source", "hash": hash.sri, "url": repository.as_uri(), "fetcher": "git"}
    entry |= {"rev": git(repository, "rev-parse", "HEAD"), "outputHashMode": "recursive"}
    (tmp_path / "list.json").write_text(json.dumps([entry]))
    narbor = servers.Narbor(tmp_path / "home")
    narbor.run("tarballs", "--list", str(tmp_path / "list.json"))
    fixed = ("nix-store", "--print-fixed-path", "--recursive", "sha256", hash.nix32, "source")
    path = machine.run(*fixed).strip()
    with narbor.server() as server:
        machine.configure(substituters=server.url, require_sigs="true")
        machine.run("nix-store", "--realise", path)
    assert (machine.state / path.lstrip("/") / "run").read_text() == "#!/bin/sh\n"


def with_nix(machine: suite.Machine, folder: Path) -> str:
    """A PATH on which the Nix of a machine stands first."""
    nix = folder / "nix-instantiate"
    folder.mkdir()
    nix.write_text(f'#!/bin/sh\nexec {shlex.join(machine.command("nix-instantiate"))} "$@"\n')
    nix.chmod(nix.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:{os.environ['PATH']}"


def test_nix_lists_trees_too(machine: suite.Machine, tmp_path: Path) -> None:
    """Behind what is built, and what cannot be evaluated does not count."""
    program = Program(tmp_path / "home")
    nixpkgs = tmp_path / "nixpkgs"
    nixpkgs.mkdir()
    (nixpkgs / "all.nix").write_text(TREES % ("sha256-" + "A" * 43 + "=", "0" * 64))
    path = with_nix(machine, tmp_path / "bin")
    words = ("tarballs", "--nixpkgs", str(nixpkgs), "--revision", "r1", "--print-list", "--trees")
    done = program(*words, "--expr", f"import {nixpkgs}/all.nix", PATH=path)
    assert done.returncode == 0, done.stderr
    found = sources.parse(done.stdout.encode())
    zero = Digest("sha256", bytes(32))
    assert found.files == (File(("src.tar", "fix.patch"), zero, ("https://a.example/src.tar",)),)
    assert set(found.checkouts) == {
        Checkout("git", zero, "git", "https://a.example/x.git", "v1", True),
        Checkout("svn", zero, "svn", "https://a.example/svn", "7", False, ("ignoreKeywords",)),
        Checkout("hg", zero, "hg", "https://a.example/hg", "tip", True),
    }
    assert found.refused == ()


def test_nix_lists_the_sources_of_a_revision(machine: suite.Machine, tmp_path: Path) -> None:
    """A repository with the two files that matter is evaluated at its commit, and fetched."""
    with upstream(tmp_path) as (fake, narbor):
        nixpkgs = tmp_path / "nixpkgs"
        (nixpkgs / "maintainers" / "scripts").mkdir(parents=True)
        (nixpkgs / "pkgs" / "top-level").mkdir(parents=True)
        (nixpkgs / "maintainers" / "scripts" / "find-tarballs.nix").write_text(FINDER)
        release = nixpkgs / "pkgs" / "top-level" / "release.nix"
        hash = Digest("sha256", hashlib.sha256(CONTENT).digest())
        release.write_text(RELEASE % ("mirror://ours/big.tar", hash.sri))
        mirrors = nixpkgs / "pkgs" / "build-support" / "fetchurl"
        mirrors.mkdir(parents=True)
        (mirrors / "mirrors.nix").write_text(f'{{ ours = [ "{fake.url}" ]; hashedMirrors = []; }}')
        git(nixpkgs, "init", "--quiet")
        git(nixpkgs, "add", "--all")
        git(nixpkgs, "commit", "--quiet", "--message", "all")
        program = Program(narbor.home)
        path = with_nix(machine, tmp_path / "bin")
        done = program("tarballs", "--nixpkgs", str(nixpkgs), PATH=path)
        commit = git(nixpkgs, "rev-parse", "HEAD")
        assert done.returncode == 0, done.stderr
        assert f"{commit}: 1 fetched" in done.stderr
