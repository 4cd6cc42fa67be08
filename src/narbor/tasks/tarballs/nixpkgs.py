"""A nixpkgs: brought to a revision by git, its sources listed by Nix, its mirrors read.

The list is what nixpkgs' own maintainers/scripts/find-tarballs.nix makes of all that its release
jobs build. Evaluating it takes gigabytes of memory and many minutes, as it does upstream.
"""

import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from io import RawIOBase
from pathlib import Path
from typing import Final

from narbor.errors import Refused, Unavailable
from narbor.formats import mirrors
from narbor.formats.mirrors import Mirrors
from narbor.tasks.tarballs import checkouts
from narbor.tasks.tarballs.checkouts import NoProgram, ProgramFailed

EVALUATOR: Final = "nix-instantiate"
FINDER: Final = "maintainers/scripts/find-tarballs.nix"
MIRRORS: Final = "pkgs/build-support/fetchurl/mirrors.nix"
_LARGEST: Final = 1 << 20
_EVALUATION_SECONDS: Final = 6 * 3600.0
# Aggregates, and jobs that build nixpkgs itself: they have no sources that others have not.
_WITHOUT: Final = ("unstable", "tarball", "darwin-unstable", "darwin-tested", "manual", "metrics")


class NoNixpkgs(Refused):
    """A folder is no nixpkgs, or does not have what is needed of it."""


class NoEvaluation(Unavailable):
    """Nix could not evaluate the list of sources."""


def can_evaluate() -> bool:
    """Tell whether there is a Nix that evaluates."""
    return shutil.which(EVALUATOR) is not None


def release_expression(folder: Path, systems: Sequence[str]) -> str:
    """Return the expression for all that nixpkgs' release jobs build for `systems`."""
    words = " ".join(_string(system) for system in systems)
    without = " ".join(_string(name) for name in _WITHOUT)
    arguments = f"{{ scrubJobs = false; supportedSystems = [ {words} ]; }}"
    # As a string, since the folder may have blanks in it.
    release = _string(f"{folder.resolve()}/pkgs/top-level/release.nix")
    return f"removeAttrs (import (/. + {release}) {arguments}) [ {without} ]"


def list_sources(folder: Path, expression: str, trees: bool = False) -> bytes:
    """Evaluate the list of the sources that `expression` needs, as JSON.

    With `trees` our own finder is asked (find-sources.nix), which knows trees as well. Raises
    NoNixpkgs, NoEvaluation. There is no second try with less: a list that has only half of the
    sources would pass for the whole.
    """
    words = [EVALUATOR, "--readonly-mode", "--eval", "--strict", "--json"]
    finder = folder.resolve() / FINDER
    if trees:
        own = resources.files("narbor.tasks").joinpath("find-sources.nix").read_text("utf-8")
        words += ["--expr", own]
    elif finder.is_file():
        words += [str(finder)]
    else:
        raise NoNixpkgs(f"{folder} has no {FINDER}")
    words += ["--arg", "expr", expression]
    path = {"NIX_PATH": f"nixpkgs={folder}"}
    try:
        return checkouts.run(words, folder, path, _EVALUATION_SECONDS)
    except (NoProgram, ProgramFailed) as error:
        raise NoEvaluation(f"the sources of {folder} cannot be listed: {error}") from error


def revision_of(folder: Path) -> str | None:
    """Return the git revision of a nixpkgs: a release says it in a file, else git knows it."""
    try:
        return (folder / ".git-revision").read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        pass
    if not (folder / ".git").exists():
        return None
    try:
        return checkouts.git(folder, "rev-parse", "HEAD").decode("ascii").strip()
    except (NoProgram, ProgramFailed):
        return None


def mirrors_of(folder: Path) -> Mirrors:
    """Read the table of mirrors of a nixpkgs; raises NoNixpkgs, MalformedMirrors."""
    try:
        return mirrors.parse((folder / MIRRORS).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise NoNixpkgs(f"{folder / MIRRORS} cannot be read: {error}") from error


def mirrors_in(archive: Iterable[bytes], what: str) -> Mirrors:
    """Read the table of mirrors out of the tar file of a nixpkgs; raises as `mirrors_of` does."""
    try:
        with tarfile.open(fileobj=_Stream(iter(archive)), mode="r|") as tar:
            for member in tar:
                if not member.name.endswith(f"/{MIRRORS}") or not member.isreg():
                    continue
                file = tar.extractfile(member)
                text = b"" if file is None else file.read(_LARGEST)
                return mirrors.parse(text.decode("utf-8", "replace"))
    except tarfile.TarError as error:
        raise NoNixpkgs(f"{what} is no tar file: {error}") from error
    raise NoNixpkgs(f"{what} has no {MIRRORS}")


class _Stream(RawIOBase):
    """Chunks as a file that can be read once, which is what tarfile wants."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Give exactly `size` bytes, fewer only at the end."""
        parts, have = [self._left], len(self._left)
        while size < 0 or have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        cut = len(whole) if size < 0 else size
        self._left = whole[cut:]
        return whole[:cut]


def _string(text: str) -> str:
    """Spell a string in Nix."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'
