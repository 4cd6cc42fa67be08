"""File: one file of a release, by its name and its content."""

from dataclasses import dataclass

from narbor.names.cid import Cid
from narbor.names.digest import Seal


@dataclass(frozen=True, slots=True)
class File:
    """A file of a release. `root` is the UnixFS file root of its content, which `seal` describes.

    `modified` is in seconds since 1970: when what it says was made.
    """

    name: str
    root: Cid
    seal: Seal
    modified: int
