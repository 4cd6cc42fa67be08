"""A binary cache in a folder: `file:///DIR`, as `nix copy --to file:///DIR` writes it."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from narbor.errors import Refused, Rejected, Unavailable
from narbor.formats import listing, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.upstream import (
    LONGEST_INFO,
    LONGEST_LOG,
    LONGEST_REALISATION,
    CacheInfo,
    NotACache,
    NotARealisation,
    build_trace,
    out_path,
    parse_info,
    pathlist,
    realisation_path,
)

_PIECE: Final = 1 << 20


class NoSuchFile(Unavailable):
    """A file that should be in the folder is not, or cannot be read."""


class OutsideFolder(Rejected):
    """A narinfo names an archive that does not lie in its cache's folder."""


class TooLong(Rejected):
    """A file that should be small is not."""


class NoFolder(Refused):
    """A URL names no folder."""


class DirectoryCache:
    """The cache in a folder, named by a `file://` URL or by its path."""

    def __init__(self, url: str) -> None:
        self._folder = _local(url)
        if not self._folder.is_dir():
            raise NoFolder(f"{url} is no folder")
        self._lock = threading.Lock()
        self._realised: dict[str, list[str]] | None = None

    @property
    def name(self) -> str:
        """The folder as a URL."""
        return f"file://{self._folder}"

    def info(self) -> CacheInfo:
        """Read `nix-cache-info`; raises NotACache where there is none."""
        text = self._read("nix-cache-info", LONGEST_INFO)
        if text is None:
            raise NotACache(f"{self.name} has no nix-cache-info: it is no binary cache")
        return parse_info(text, self.name)

    def narinfo(self, hash_part: str) -> bytes | None:
        """Read `HASH.narinfo`."""
        return self._read(f"{hash_part}.narinfo", narinfo.LONGEST)

    def address(self, narinfo: Narinfo) -> str:
        """Return the archive's file as a URL; raises OutsideFolder."""
        return f"file://{self._inside(narinfo.url)}"

    def archive(self, narinfo: Narinfo) -> Iterator[bytes]:
        """Give the archive's file; raises NoSuchFile, OutsideFolder."""
        return _chunks(self._inside(narinfo.url))

    def log(self, name: str) -> bytes | None:
        """Read `log/NAME`."""
        return self._read(f"log/{name}", LONGEST_LOG)

    def listing(self, hash_part: str) -> bytes | None:
        """Read `HASH.ls`, which Nix may have compressed."""
        return self._read(f"{hash_part}.ls", listing.LONGEST)

    def realised(self, narinfo: Narinfo) -> Iterator[str]:
        """Name those of the build trace, and of the older kind those that a listing shows."""
        name = build_trace(narinfo)
        if name is not None:
            yield name
        with self._lock:
            if self._realised is None:
                self._realised = self._listed()
        yield from self._realised.get(narinfo.path.base, ())

    def _listed(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in sorted(self._folder.glob("realisations/*.doi")):
            text = self._read(f"realisations/{path.name}", LONGEST_REALISATION)
            try:
                base = out_path(text or b"")
            except NotARealisation:
                continue
            found.setdefault(base, []).append(path.name.removesuffix(".doi"))
        return found

    def realisation(self, name: str) -> bytes | None:
        """Read `realisations/HASH!OUTPUT.doi` or `build-trace-v2/DERIVATION/OUTPUT.doi`."""
        return self._read(realisation_path(name), LONGEST_REALISATION)

    def store_paths(self, url: str) -> Iterator[str]:
        """Read the list in a file: a `file://` URL, or a path, relative to the folder."""
        path = self._folder / _local(url) if url.startswith("file:") else self._folder / url
        return pathlist.read(_chunks(path), str(path))

    def abandoned(self) -> AbstractContextManager[None]:
        """Nothing is ever waited for."""
        return nullcontext()

    def _read(self, name: str, limit: int) -> bytes | None:
        path = self._folder / name
        if ".." in path.parts or not path.is_file():
            return None
        try:
            with path.open("rb") as file:
                text = file.read(limit + 1)
        except OSError as error:
            raise NoSuchFile(f"{path} cannot be read: {error}") from error
        if len(text) > limit:
            raise TooLong(f"{path} has more than {limit} bytes")
        return text

    def _inside(self, url: str) -> Path:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise OutsideFolder(f"{self.name} says that an archive lies at {url!r}") from error
        path = PurePosixPath(unquote(parts.path))
        if parts.scheme or parts.netloc or path.is_absolute() or ".." in path.parts:
            raise OutsideFolder(f"{self.name} says that an archive lies at {url!r}")
        return self._folder / path


def _local(url: str) -> Path:
    """Read a `file://` URL, or a path; raises NoFolder."""
    parts = urlsplit(url)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise NoFolder(f"{url} names no folder of this machine")
    return Path(unquote(parts.path)) if parts.scheme else Path(url)


def _chunks(path: Path) -> Iterator[bytes]:
    # A named pipe could be waited on for ever.
    if not path.is_file():
        raise NoSuchFile(f"{path} is no file")
    try:
        with path.open("rb") as file:
            while chunk := file.read(_PIECE):
                yield chunk
    except OSError as error:
        raise NoSuchFile(f"{path} cannot be read: {error}") from error
