"""What packages are for: out of a release's `packages.json`, into the index of packages."""

from typing import Final

from narbor.errors import Rejected
from narbor.formats import packagesjson, streams
from narbor.library import Library
from narbor.names.file import File

FILES: Final = {"packages.json.br": "br", "packages.json": "none"}
_LARGEST: Final = 2 << 30


def add(library: Library, channel: str, name: str, file: File) -> str | None:
    """Describe the packages of a release as one of its files does; another file says nothing.

    Returns why a file that should cannot; what it said before that counts. Raises NoRelease.
    """
    compression = FILES.get(file.name)
    if compression is None:
        return None
    found: dict[str, str] = {}
    complaint = None
    try:
        text = streams.decompress(library.content(file.root), compression, _LARGEST)
        found.update(packagesjson.descriptions(text))
    except Rejected as error:
        complaint = f"the packages are not described: {error}"
    library.catalogue.describe_packages(channel, name, found)
    return complaint
