"""Release names: `nixos-25.05.806273.650e572363c0`, `nixpkgs-25.05pre718105.e2dd4e18cc1c`.

A release is named as its build is named in Nix. The version begins behind the first dash that no
letter follows (nix: DrvName, src/libstore/names.cc); versions are compared as Nix compares them
(nix: compareVersions, same file), since that is how a channel knows what is newer. Where a version
ends in `.COUNT.REVISION`, or `preCOUNT.REVISION`, these are the number of commits and the short git
revision, as nixpkgs builds its version suffix.
"""

import re
from dataclasses import dataclass
from typing import Final

from narbor.errors import Refused, Rejected

# The letters of a store path's name: whatever is built has such a name. It is a folder's as well.
_NAME: Final = re.compile(r"(?!\.)[0-9a-zA-Z+\-._?=]{1,211}", re.ASCII)
_VERSION: Final = re.compile(r"-(?![A-Za-z])(?=.)", re.ASCII)
_SUFFIX: Final = re.compile(r"(?:\.|pre|beta|alpha)([0-9]{1,12})\.([0-9a-f]{7,40})\Z", re.ASCII)
_COMPONENT: Final = re.compile(r"[0-9]+|[^0-9.\-]+", re.ASCII)
# Nix reads a component as an `int`; a larger number is a word like any other.
_LARGEST: Final = (1 << 31) - 1

_Part = tuple[int, int, str]
_PRE: Final = (0, 0, "")
_END: Final = (1, 0, "")


class MalformedRelease(Rejected):
    """A text cannot be the name of a release."""


class BackInTime(Refused):
    """A channel would go from a newer release to an older one."""


@dataclass(frozen=True, slots=True)
class ReleaseName:
    """The name of a release. `name` stands before the version: `nixos`, `nixpkgs`."""

    text: str
    name: str
    version: str

    @property
    def commits(self) -> int | None:
        """The number of commits behind it, where the version says it."""
        found = _SUFFIX.search(self.version)
        return int(found[1]) if found else None

    @property
    def short_revision(self) -> str | None:
        """The first letters of the git revision, where the version says them."""
        found = _SUFFIX.search(self.version)
        return found[2] if found else None

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> ReleaseName:
    """Read a name; raises MalformedRelease where it has no version, or is no name of a folder."""
    if _NAME.fullmatch(text) is None:
        raise MalformedRelease(f"{text[:80]!r} is no name of a release")
    found = _VERSION.search(text)
    if found is None or not found.start():
        raise MalformedRelease(f"the release {text!r} has no version (like nixos-25.05)")
    return ReleaseName(text, text[: found.start()], text[found.end() :])


def order(version: str) -> tuple[_Part, ...]:
    """Return a key that sorts versions as Nix's compareVersions does.

    `pre` comes before the end of a version, the end before a word, a word before a number.
    """
    return (*map(_part, _COMPONENT.findall(version)), _END)


def _part(component: str) -> _Part:
    if component == "pre":
        return _PRE
    if component[0].isdigit():
        # Leading zeros do not count; a number of any length has been ruled out by its digits.
        digits = component.lstrip("0") or "0"
        if len(digits) <= 10 and int(digits) <= _LARGEST:
            return (2, int(digits), "")
    return (1, 0, component)


def compare(one: str, other: str) -> int:
    """Compare two versions: -1 if `one` is the older, 0 if neither is, 1 if it is the newer."""
    left, right = order(one), order(other)
    return (left > right) - (left < right)


def newer(one: ReleaseName, other: ReleaseName) -> bool:
    """Tell whether `one` is newer than `other`. Only versions count, as in upstream's channels."""
    return compare(one.version, other.version) > 0


def forward(candidate: ReleaseName, current: ReleaseName | None) -> bool:
    """Tell whether a channel at `current` moves by `candidate`; False if it is there already.

    Raises BackInTime where it would go to an older release.
    """
    if current is None:
        return True
    step = compare(candidate.version, current.version)
    if step < 0:
        raise BackInTime(f"the channel is at {current} already, and {candidate} is older")
    # Equal versions spelt differently (`1.0`, `1.00`) are no way forward either.
    return step > 0
