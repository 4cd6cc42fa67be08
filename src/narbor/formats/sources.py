"""A list of sources with known hashes, as JSON: what has to be fetched to build a nixpkgs.

    [{"name": "hello-2.12.tar.gz", "type": "sha256", "hash": HASH, "url": URL | "urls": [URL, ...]},
     {"name": "source", "hash": SRI, "url": URL, "rev": COMMIT, "outputHashMode": "recursive"}]

The first is what nixpkgs' maintainers/scripts/find-tarballs.nix gives. Read as well are the
attributes under the names that derivations have (`outputHash`, `outputHashAlgo`, `sha256`, ...), so
that a list can be made of `.drv`s. A hash stands in any spelling that Nix knows. One entry that
cannot be read does not spoil the others: it is told, with its reason.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from narbor.errors import Rejected
from narbor.names import digest
from narbor.names.digest import Digest
from narbor.names.tarball import ALGORITHMS, Unfetched

SCHEMES: Final = ("http://", "https://", "ftp://", "mirror://")
LONGEST: Final = 1 << 28

_NAME: Final = re.compile(r"(?!\.)[0-9A-Za-z+\-._?=]{1,211}", re.ASCII)
_FOREIGN: Final = re.compile(r"[^0-9A-Za-z+\-._?=]+", re.ASCII)
_TREES: Final = ("recursive", "nar")
_SYSTEMS: Final = {"fetchgit": "git", "fetchsvn": "svn", "fetchhg": "hg"}
# Whatever of these an entry has changes what lies in the tree, in ways that are not known here.
_SPECIAL: Final = (
    *("leaveDotGit", "deepClone", "sparseCheckout", "fetchLFS", "rootDir", "postFetch"),
    *("ignoreExternals", "ignoreKeywords"),
)


class MalformedList(Rejected):
    """A text is no list of sources at all."""


@dataclass(frozen=True, slots=True)
class File:
    """A file with a known hash. Where it is `made`, what lies at its URLs is not yet the file."""

    names: tuple[str, ...]
    digest: Digest
    urls: tuple[str, ...]
    made: bool = False


@dataclass(frozen=True, slots=True)
class Checkout:
    """A tree out of version control (`system`: git, svn, hg), with the hash of its NAR."""

    name: str
    digest: Digest
    system: str
    url: str
    revision: str
    submodules: bool = False
    special: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """What a list has: files, each hash once, trees, and entries that are neither."""

    files: tuple[File, ...]
    checkouts: tuple[Checkout, ...]
    refused: tuple[Unfetched, ...]


def parse(text: bytes) -> Sources:
    """Read a list; raises MalformedList."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedList(f"a list of sources is JSON: {error}") from error
    if not isinstance(entries, list):
        raise MalformedList("a list of sources is an array")
    files: dict[Digest, File] = {}
    checkouts: dict[tuple[str, Digest], Checkout] = {}
    refused = []
    for entry in entries:
        found = _entry(entry)
        match found:
            case File():
                files[found.digest] = _joined(files.get(found.digest), found)
            case Checkout():
                checkouts[found.name, found.digest] = found
            case _:
                refused.append(found)
    return Sources(tuple(files.values()), tuple(checkouts.values()), tuple(refused))


def _joined(one: File | None, other: File) -> File:
    """Unite two entries for one hash. A file that can be fetched as it is need not be made."""
    if one is None:
        return other
    names = tuple(dict.fromkeys(one.names + other.names))
    kept = [each for each in (one, other) if not each.made] or [one, other]
    urls = tuple(dict.fromkeys(url for each in kept for url in each.urls))
    return File(names, one.digest, urls, one.made and other.made)


def _entry(entry: object) -> File | Checkout | Unfetched:
    if not isinstance(entry, dict):
        return Unfetched(json.dumps(entry)[:200], "", "this is no source, but no object either")
    urls = _urls(entry)
    said = entry.get("name")
    name = _name(said if isinstance(said, str) else urls[0] if urls else "")
    try:
        hash = _hash(entry)
    except Rejected as error:
        return Unfetched(urls[0] if urls else name, name, str(error))
    if hash.algorithm not in ALGORITHMS:
        return Unfetched(str(hash), name, f"{hash.algorithm} cannot be checked here")
    if not urls:
        return Unfetched(str(hash), name, "no address is given")
    if _is_tree(entry):
        return _tree(entry, name, hash, urls)
    known = tuple(url for url in urls if url.startswith(SCHEMES))
    if not known:
        return Unfetched(str(hash), name, f"not over http, https, ftp or mirror: {urls[0]}")
    return File((name,), hash, known, bool(entry.get("isPatch") or entry.get("postFetch")))


def _tree(
    entry: Mapping[str, Any], name: str, hash: Digest, urls: tuple[str, ...]
) -> Checkout | Unfetched:
    system, revision = _system(entry, urls[0]), entry.get("rev", entry.get("revision", ""))
    revision = str(revision) if isinstance(revision, str | int) else ""
    if system is None or not revision:
        return Unfetched(
            str(hash), name, f"its hash is that of a tree, not of what lies at {urls[0]}"
        )
    special = tuple(word for word in _SPECIAL if entry.get(word))
    submodules = bool(entry.get("fetchSubmodules") or entry.get("fetchSubrepos"))
    return Checkout(name, hash, system, urls[0], revision, submodules, special)


def _is_tree(entry: Mapping[str, Any]) -> bool:
    mode = entry.get("outputHashMode", entry.get("mode", "flat"))
    return mode in _TREES or entry.get("recursive") is True or entry.get("executable") is True


def _system(entry: Mapping[str, Any], url: str) -> str | None:
    """Return which version control an entry is from; None if it is from none."""
    said = entry.get("fetcher", entry.get("vcs"))
    if isinstance(said, str):
        return _SYSTEMS.get(said, said if said in _SYSTEMS.values() else None)
    for system in _SYSTEMS.values():
        if url.startswith((f"{system}://", f"{system}+")):
            return system
    if url.startswith("svn+") or "/svn/" in url:
        return "svn"
    return (
        "git" if "rev" in entry and ("fetchSubmodules" in entry or url.endswith(".git")) else None
    )


def _urls(entry: Mapping[str, Any]) -> tuple[str, ...]:
    said = entry.get("urls") or [entry.get("url")]
    listed: Iterable[object] = said if isinstance(said, list) else [said]
    return tuple(dict.fromkeys(url.strip() for url in listed if isinstance(url, str) and url))


def _name(text: str) -> str:
    """Make a name of what an entry is called, or of its address: it is a file's as well."""
    last = text.partition("?")[0] if "://" in text else text
    clean = _FOREIGN.sub("-", last.rstrip("/").rpartition("/")[2]).lstrip(".-")[:211]
    return clean if _NAME.fullmatch(clean) else "source"


def _hash(entry: Mapping[str, Any]) -> Digest:
    """Read the hash of an entry, however it is said; raises MalformedDigest."""
    for algorithm, value in _hashes(entry):
        if ":" in value or value.partition("-")[0] in digest.SIZES:
            return digest.parse(value)
        if algorithm is None:
            raise digest.MalformedDigest(f"{value!r} does not name a hash algorithm")
        return digest.parse(f"{algorithm}:{value}")
    raise digest.MalformedDigest("no hash is given")


def _hashes(entry: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    said = entry.get("type", entry.get("outputHashAlgo"))
    algorithm = said.removeprefix("r:") if isinstance(said, str) and said else None
    for key in ("hash", "outputHash"):
        if isinstance(entry.get(key), str) and entry[key]:
            yield algorithm, entry[key]
    for key in ALGORITHMS:
        if isinstance(entry.get(key), str) and entry[key]:
            yield key, entry[key]
