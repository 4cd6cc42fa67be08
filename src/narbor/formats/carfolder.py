"""What stands beside CARs: which there are, what their bytes are, and what they are kept for.

    manifest.json     in a folder of CARs, each of which has what those before it lack
    FILE.car.json     beside a single CAR: the same, of one

A CAR says in no way that it is whole. One that a manifest lists, of this size and SHA-256, is.
See docs/formats/car-folder.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from narbor.errors import Rejected
from narbor.names import cid, cidtext
from narbor.names.cid import Cid

FORMAT: Final = "narbor-cars-1"
MANIFEST: Final = "manifest.json"
LONGEST: Final = 64 << 20

_Number = Annotated[int, Meta(ge=0, le=1 << 62)]
_Text = Annotated[str, Meta(max_length=512)]


class MalformedManifest(Rejected):
    """A text is no list of CARs."""


@dataclass(frozen=True, slots=True)
class Named:
    """The root that a name stands for; its blocks are in the CARs of this series."""

    root: Cid
    series: int = 1


@dataclass(frozen=True, slots=True)
class Listed:
    """A CAR. It has what hangs from `root` but for what the CARs of its series before it have.

    Nor has it what hangs from `since`: whoever reads it is said to have that.
    """

    file: str
    series: int
    root: Cid
    since: Cid | None
    blocks: int
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """All names, and all CARs in the order in which they were written."""

    names: Mapping[str, Named] = field(default_factory=dict)
    cars: tuple[Listed, ...] = ()

    @property
    def series(self) -> int:
        """The newest series; 0 where there is no CAR."""
        return max((each.series for each in self.cars), default=0)

    def is_superseded(self, car: Listed) -> bool:
        """Tell whether no name needs a CAR any more."""
        return car.series < min((each.series for each in self.names.values()), default=0)


class _Name(Struct, frozen=True):
    root: _Text
    series: _Number


class _Car(Struct, frozen=True):
    file: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_+=@%,~ -][^/\x00-\x1f]{0,254}$")]
    series: _Number
    root: _Text
    since: _Text | None
    blocks: _Number
    size: _Number
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    superseded: bool = False


class _Whole(Struct, frozen=True):
    format: str
    names: dict[Annotated[str, Meta(min_length=1, max_length=512)], _Name]
    cars: list[_Car]


def parse(text: bytes) -> Manifest:
    """Read a manifest; raises MalformedManifest."""
    if len(text) > LONGEST:
        raise MalformedManifest(f"a list of CARs of {len(text)} bytes: more than {LONGEST}")
    try:
        said = msgspec.json.decode(text, type=_Whole)
        if said.format != FORMAT:
            raise MalformedManifest(f"a list of CARs of the format {said.format!r}, not {FORMAT}")
        names = {name: Named(_cid(each.root), each.series) for name, each in said.names.items()}
        return Manifest(names, tuple(map(_listed, said.cars)))
    except (msgspec.DecodeError, RecursionError, cid.MalformedCid) as error:
        raise MalformedManifest(f"no list of CARs: {error}") from error


def _listed(car: _Car) -> Listed:
    since = None if car.since is None else _cid(car.since)
    root, digest = _cid(car.root), bytes.fromhex(car.sha256)
    return Listed(car.file, car.series, root, since, car.blocks, car.size, digest)


def _cid(text: str) -> Cid:
    return cidtext.known(cidtext.parse(text))


def write(manifest: Manifest) -> bytes:
    """Write a manifest: JSON for people too."""
    names = {
        name: {"root": cid.text(each.root), "series": each.series}
        for name, each in sorted(manifest.names.items())
    }
    cars = [
        {
            "file": each.file,
            "series": each.series,
            "root": cid.text(each.root),
            "since": None if each.since is None else cid.text(each.since),
            "blocks": each.blocks,
            "size": each.size,
            "sha256": each.sha256.hex(),
            "superseded": manifest.is_superseded(each),
        }
        for each in manifest.cars
    ]
    whole = {"format": FORMAT, "names": names, "cars": cars}
    return json.dumps(whole, indent=1, ensure_ascii=False).encode() + b"\n"
