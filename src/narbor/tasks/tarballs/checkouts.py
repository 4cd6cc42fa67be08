"""Sources out of version control, by the real git, svn and hg: at a revision, without their data.

They are known by the hash of their NAR, so what comes is checked as everything is, and kept as the
store item that Nix would make of it: its path follows from the hash, and needs no signature. What
lies in a tree is what nixpkgs' fetchgit, fetchsvn and fetchhg would have in it.
"""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from hashlib import new
from pathlib import Path
from typing import Final

from narbor.errors import Rejected, Unavailable
from narbor.formats import nar, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.formats.sources import Checkout
from narbor.formats.streams import Mismatch
from narbor.formats.vouched import Vouched, vouch
from narbor.names import contentaddress
from narbor.names.contentaddress import ARCHIVE, ContentAddress
from narbor.names.digest import Digest, Seal
from narbor.names.keys import Keyring

_PIECE: Final = 1 << 20
_SECONDS: Final = 3600.0
_HEX: Final = frozenset("0123456789abcdef")
_REVISION: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_./+-]{0,199}", re.ASCII)
_SCHEMES: Final = {
    "git": ("http", "https", "git", "file"),
    "svn": ("http", "https", "svn", "file"),
    "hg": ("http", "https", "file"),
}


class NoProgram(Unavailable):
    """A program that is needed is not there."""


class ProgramFailed(Unavailable):
    """A program ended with an error; the message has the end of what it said."""


class NotATree(Rejected):
    """A folder holds something that no store item can."""


def run(
    argv: Iterable[str],
    folder: Path,
    more: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> bytes:
    """Run a program to its end and return what it wrote; raises NoProgram, ProgramFailed.

    `more` is put into its environment. It is never asked anything, and asks nobody.
    """
    words = list(argv)
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise NoProgram(f"the program {words[0]} is not there") from error
    except OSError as error:
        raise NoProgram(f"the program {words[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ProgramFailed(f"{words[0]} did not come to an end in {seconds:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        last = "; ".join(line.strip() for line in said[-3:]) or f"exit code {done.returncode}"
        raise ProgramFailed(f"{' '.join(words[:2])}: {last[:500]}")
    return done.stdout


def git(folder: Path, *words: str) -> bytes:
    """Run git in a folder, with nobody's configuration but the repository's own."""
    alone = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https",
    }
    return run(["git", *words], folder, alone)


def bring(folder: Path, url: str, revision: str) -> None:
    """Bring a repository to a revision (a commit, `refs/...`, or a tag) in `folder`.

    Only that commit is fetched where the server allows it. A repository that is there already is
    used again. Raises NoProgram, ProgramFailed.
    """
    if not (folder / ".git").is_dir():
        git(folder, "init", "--quiet", "--initial-branch=narbor")
    git(folder, "config", "remote.origin.url", url)
    commit = set(revision) <= _HEX and 7 <= len(revision) <= 64
    wanted = revision if commit or revision.startswith("refs/") else f"refs/tags/{revision}"
    try:
        git(folder, "fetch", "--quiet", "--depth", "1", "origin", wanted)
        found = "FETCH_HEAD"
    except ProgramFailed:
        if not commit:
            raise
        # Not every server gives a commit that no branch ends in; then all branches are fetched.
        shallow = ["--unshallow"] if (folder / ".git" / "shallow").exists() else []
        every = "+refs/*:refs/narbor/*"
        git(folder, "fetch", "--quiet", "--tags", *shallow, "origin", every)
        found = wanted
    git(folder, "checkout", "--quiet", "--force", "--detach", found)
    git(folder, "clean", "--quiet", "-ffdx")


def fetch(source: Checkout, store: str, folder: Path) -> Vouched:
    """Fetch a tree into an empty folder; return the claim that it is what was asked for.

    Raises NoProgram, ProgramFailed, and Mismatch or NotATree where it is something else.
    """
    match source.system:
        case "git":
            _git(source, folder)
        case "svn":
            _svn(source, folder)
        case _:
            _hg(source, folder)
    return _claim(source, store, folder)


def obstacle(source: Checkout) -> str | None:
    """Say why a tree cannot be fetched here; None where it can."""
    if source.special:
        words = ", ".join(source.special)
        return f"{words} of {source.system} is not done here: {source.url}"
    if shutil.which(source.system) is None:
        return f"the program {source.system} is not there: {source.url}"
    scheme = source.url.partition("://")[0]
    if scheme not in _SCHEMES[source.system]:
        return f"{source.system} is not asked over {scheme!r} here: {source.url}"
    if _REVISION.fullmatch(source.revision) is None:
        return f"{source.revision!r} is no revision: {source.url}"
    return None


def _git(source: Checkout, folder: Path) -> None:
    bring(folder, source.url, source.revision)
    if source.submodules:
        git(folder, "submodule", "--quiet", "update", "--init", "--recursive")
    _without_git(folder)


def _svn(source: Checkout, folder: Path) -> None:
    words = ["svn", "export", "--quiet", "--force", "--non-interactive", "--no-auth-cache"]
    # A path in the repository may have an @, which would begin a revision: one behind it ends that.
    run([*words, f"--revision={source.revision}", "--", f"{source.url}@", "."], folder)


def _hg(source: Checkout, folder: Path) -> None:
    clone = folder / ".hg-clone"
    quiet = ["hg", "--quiet", "--noninteractive"]
    alone = {"HGPLAIN": "1", "HGRCPATH": ""}
    run([*quiet, "clone", "--noupdate", "--", source.url, str(clone)], folder, alone)
    archive = [*quiet, "--repository", str(clone), "archive", f"--rev={source.revision}"]
    # With submodules (sub-repositories) they are written too.
    more = ["--subrepos"] if source.submodules else []
    run([*archive, *more, "--type=files", "--", str(folder)], folder, alone)
    shutil.rmtree(clone)
    (folder / ".hg_archival.txt").unlink(missing_ok=True)


def path_of(source: Checkout, store: str) -> str:
    """Return the base name of the item that a tree is."""
    address = ContentAddress(ARCHIVE, source.digest)
    return contentaddress.store_path(address, store, source.name, (), False).base


def _claim(source: Checkout, store: str, folder: Path) -> Vouched:
    """Return the claim that a folder is what was asked for; raises Mismatch if it is not."""
    said = new(source.digest.algorithm, usedforsecurity=False)
    seal, size = new("sha256"), 0
    for piece in nar.write(events(folder)):
        said.update(piece)
        seal.update(piece)
        size += len(piece)
    seen = Digest(source.digest.algorithm, said.digest())
    if seen != source.digest:
        raise Mismatch(f"{source.url} at {source.revision} is {seen}, not {source.digest}")
    address = ContentAddress(ARCHIVE, source.digest)
    digest = Digest("sha256", seal.digest())
    made = Narinfo(
        path=contentaddress.store_path(address, store, source.name, (), False),
        url=f"nar/{digest.nix32}.nar",
        compression="none",
        file_hash=digest,
        file_size=size,
        seal=Seal(digest, size),
        references=(),
        deriver=None,
        signatures=(),
        ca=str(address),
        extra=(),
        text=b"",
    )
    return vouch(narinfo.parse(narinfo.write(made)), Keyring(()))


def events(folder: Path, name: bytes = b"") -> Iterator[nar.Event[bytes]]:
    """Give a folder as a NAR has it; raises NotATree for what is no file, folder or symlink."""
    yield nar.Directory(name)
    for entry in sorted(os.scandir(os.fsencode(folder)), key=lambda each: each.name):
        path, found = Path(os.fsdecode(entry.path)), entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            yield nar.Symlink(entry.name, _target(folder, entry.name))
        elif stat.S_ISDIR(found.st_mode):
            yield from events(path, entry.name)
        elif stat.S_ISREG(found.st_mode):
            yield nar.File(entry.name, bool(found.st_mode & stat.S_IXUSR), found.st_size)
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield nar.Data(piece)
        else:
            raise NotATree(f"{path} is no file, folder or symlink")
    yield nar.END


def _target(folder: Path, name: bytes) -> bytes:
    """Return what a symlink says, to the letter: a Path would tidy it up."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return os.readlink(name, dir_fd=here)
    finally:
        os.close(here)


def _without_git(folder: Path) -> None:
    """Take git's own folders away, at any depth; those of submodules are files."""
    for here, folders, files in os.walk(folder):
        if ".git" in files:
            (Path(here) / ".git").unlink()
        if ".git" in folders:
            folders.remove(".git")
            shutil.rmtree(Path(here) / ".git")
