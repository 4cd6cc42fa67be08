"""Profiles: named, frozen sets of choices that decide an item's CIDs. See docs/formats/profile.md.

Two mirrors that use the same profile arrive at the same roots. A change here is a new name.
"""

from dataclasses import dataclass
from typing import Final

from narbor.errors import Refused


@dataclass(frozen=True, slots=True)
class Profile:
    """How items are cut and laid out.

    `references`: leaves are cut at store references, and stretches between them by content
    (FastCDC `smallest`, `average`, `largest` bytes); otherwise every `largest` bytes.
    `inline`: pieces of at most so many bytes stand in their CID (0: none do).
    `width`: links in one node of a file. `executable`: the UnixFS mode of executable files.
    `inline_executables`: Helia's rule, an executable of one chunk is one dag-pb node with data.
    """

    name: str
    references: bool
    smallest: int
    average: int
    largest: int
    inline: int
    width: int
    executable: int
    inline_executables: bool


NARBOR: Final = Profile(
    name="narbor-v1",
    references=True,
    smallest=64 << 10,
    average=256 << 10,
    largest=1 << 20,
    inline=128,
    width=1024,
    executable=0o555,
    inline_executables=False,
)

UNIXFS: Final = Profile(
    name="unixfs-v1-2025",
    references=False,
    smallest=1 << 20,
    average=1 << 20,
    largest=1 << 20,
    inline=0,
    width=1024,
    executable=0o555,
    inline_executables=True,
)

PROFILES: Final = {profile.name: profile for profile in (NARBOR, UNIXFS)}


class UnknownProfile(Refused):
    """No profile has this name."""


def named(name: str) -> Profile:
    """Return the profile of this name; raises UnknownProfile."""
    if name not in PROFILES:
        raise UnknownProfile(f"no profile is called {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]
