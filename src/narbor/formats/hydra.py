"""What a Hydra answers in JSON: evaluations, builds, their products and outputs.

The fields are those of NixOS/hydra (Hydra::Schema::Result: `as_json` of Builds, `json_hint` of
JobsetEvals, JobsetEvalInputs, BuildProducts, BuildOutputs; hydra-api.yaml says the same, less
exactly). Fields that are not needed are passed over, whatever they hold. Numbers may come as
strings of digits, as Perl is free to write them. What is known only later is null: the status of a
build under way, the path of an output that was not built or is content-addressed, the hash of a
product that is a folder.

The answer to `/eval/ID/builds` is as long as the evaluation: `builds` reads it piece by piece.
All readers raise MalformedHydra, which names the build or evaluation, and the field.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from narbor.errors import Rejected
from narbor.formats import jsonarray
from narbor.names import digest, storepath
from narbor.names.digest import Digest
from narbor.names.storepath import StorePath

T = TypeVar("T")

# Bounds on what is read into memory. An evaluation of nixpkgs names 250,000 builds, 11 bytes each;
# a page of the list of evaluations has twenty such. A build with its products takes 1 to 20 KB.
LARGEST_EVALUATION: Final = 64 << 20
LARGEST_PAGE: Final = 256 << 20
LARGEST_BUILD: Final = 4 << 20
LARGEST_LIST: Final = 256 << 20

SUCCEEDED: Final = 0

_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,4096}")
_NAME: Final = re.compile(r"[0-9A-Za-z+\-._?=]{1,211}", re.ASCII)
_NEXT: Final = re.compile(r"\?page=([0-9]{1,9})", re.ASCII)

_Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class MalformedHydra(Rejected):
    """An answer is not what a Hydra says, or is too large to be read."""


@dataclass(frozen=True, slots=True)
class Input:
    """What an evaluation was made from; `revision` is a git commit, or that of another system."""

    type: str
    uri: str | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of a jobset. `timestamp` is in seconds since 1970.

    `flake` is the locked reference, if the jobset is a flake. `builds` are the ids of its builds,
    in no order; None in a list of evaluations, where they are left out.
    """

    id: int
    timestamp: int
    flake: str | None
    inputs: Mapping[str, Input]
    builds: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list of a jobset's evaluations, the newest first; `next` is a page's number."""

    evaluations: tuple[Evaluation, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a derivation; without a path if it was not built."""

    name: str
    path: StorePath | None


@dataclass(frozen=True, slots=True)
class Product:
    """A file or folder that a build offers. `number` counts from 1.

    It lies inside the item `path`, at `member` (`iso/x.iso`; empty: the item itself). `size` in
    bytes and `digest` are those of a single file; Hydra knows neither of a folder.
    """

    number: int
    type: str
    subtype: str
    name: str
    path: StorePath | None
    member: str
    size: int | None
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Build:
    """One build. `name` is the derivation's (`hello-2.12`), `job` where it stands in the jobset.

    `evaluations` are the ids of all evaluations that it is part of, in no order.
    """

    id: int
    job: str
    system: str
    name: str
    finished: bool
    status: int | None
    evaluations: tuple[int, ...]
    timestamp: int
    derivation: str | None
    outputs: tuple[Output, ...]
    products: tuple[Product, ...]

    @property
    def succeeded(self) -> bool:
        """Whether it has finished and all went well."""
        return self.finished and self.status == SUCCEEDED


class _Input(Struct):
    type: str = ""
    uri: str | None = None
    revision: str | None = None


class _Listed(Struct):
    id: _Number
    timestamp: _Number = 0
    flake: str | None = None
    jobsetevalinputs: dict[str, _Input] = {}


class _Evaluation(_Listed, kw_only=True):
    builds: list[_Number]


class _Page(Struct):
    evals: list[_Listed]
    next: str | None = None


class _Output(Struct):
    path: str | None = None


class _Product(Struct):
    type: str
    subtype: str = ""
    name: str = ""
    path: str | None = None
    filesize: _Number | None = None
    sha256hash: str | None = None


class _Build(Struct):
    id: _Number
    job: str
    system: str
    finished: int | bool
    jobsetevals: list[_Number]
    buildoutputs: dict[str, _Output]
    buildproducts: dict[str, _Product]
    nixname: str | None = None
    buildstatus: int | None = None
    timestamp: _Number | None = None
    drvpath: str | None = None


_READ_BUILD: Final = msgspec.json.Decoder(_Build, strict=False)


def evaluation(text: bytes) -> Evaluation:
    """Read the answer to `/eval/ID`."""
    wire = _read(msgspec.json.Decoder(_Evaluation, strict=False), text, "an evaluation")
    return _evaluation(wire, tuple(wire.builds))


def page(text: bytes) -> Page:
    """Read the answer to `/jobset/PROJECT/JOBSET/evals`."""
    wire = _read(msgspec.json.Decoder(_Page, strict=False), text, "a list of evaluations")
    following = None
    if wire.next is not None:
        found = _NEXT.fullmatch(wire.next)
        if found is None:
            raise MalformedHydra(f"a list of evaluations: next: {wire.next[:80]!r} is no page")
        following = int(found[1])
    return Page(tuple(_evaluation(each, None) for each in wire.evals), following)


def build(text: bytes) -> Build:
    """Read the answer to `/build/ID`."""
    wire = _read(_READ_BUILD, text, "a build")
    try:
        return Build(
            wire.id,
            _name("job", wire.job),
            _name("system", wire.system),
            _text("nixname", wire.nixname or ""),
            bool(wire.finished),
            wire.buildstatus,
            tuple(wire.jobsetevals),
            wire.timestamp or 0,
            None if wire.drvpath is None else _path("drvpath", wire.drvpath).base,
            tuple(_output(name, each) for name, each in sorted(wire.buildoutputs.items())),
            tuple(sorted(map(_product, wire.buildproducts.items()), key=lambda each: each.number)),
        )
    except MalformedHydra as error:
        raise MalformedHydra(f"build {wire.id}: {error}") from error


def builds(chunks: Iterable[bytes]) -> Iterator[Build]:
    """Read the answer to `/eval/ID/builds`, build by build, in any number of pieces."""
    try:
        yield from map(build, jsonarray.objects(chunks, LARGEST_BUILD))
    except jsonarray.MalformedArray as error:
        raise MalformedHydra(f"a list of builds: {error}") from error


def store_paths(text: bytes) -> tuple[StorePath, ...]:
    """Read the answer to `/eval/ID/store-paths`. An output without a path (null) is left out."""
    wire = _read(msgspec.json.Decoder(list[str | None]), text, "a list of store paths")
    return tuple(_path("store-paths", each) for each in wire if each)


def _read(decoder: msgspec.json.Decoder[T], text: bytes, what: str) -> T:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedHydra(f"{what}: {error}: {text[:60]!r}") from error


def _evaluation(wire: _Listed, ids: tuple[int, ...] | None) -> Evaluation:
    inputs = {
        name: Input(each.type, each.uri, each.revision)
        for name, each in sorted(wire.jobsetevalinputs.items())
    }
    try:
        for name, each in inputs.items():
            _name("jobsetevalinputs", name)
            for field in ("type", "uri", "revision"):
                _text(f"jobsetevalinputs.{name}.{field}", getattr(each, field) or "")
        flake = None if wire.flake is None else _text("flake", wire.flake)
    except MalformedHydra as error:
        raise MalformedHydra(f"evaluation {wire.id}: {error}") from error
    return Evaluation(wire.id, wire.timestamp, flake or None, inputs, ids)


def _output(name: str, wire: _Output) -> Output:
    if _NAME.fullmatch(name) is None:
        raise MalformedHydra(f"buildoutputs: {name[:80]!r} is no name of an output")
    # Perl may spell an absent path as an empty string.
    return Output(name, _path(f"buildoutputs.{name}.path", wire.path) if wire.path else None)


def _product(entry: tuple[str, _Product]) -> Product:
    key, wire = entry
    field = f"buildproducts.{key[:20]}"
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise MalformedHydra(f"{field}: this is no number")
    path, member = _inside(f"{field}.path", wire.path) if wire.path else (None, "")
    return Product(
        int(key),
        _text(f"{field}.type", wire.type),
        _text(f"{field}.subtype", wire.subtype),
        _text(f"{field}.name", wire.name),
        path,
        member,
        wire.filesize,
        _digest(f"{field}.sha256hash", wire.sha256hash) if wire.sha256hash else None,
    )


def _inside(field: str, text: str) -> tuple[StorePath, str]:
    """Split the path of a product into its store item and what lies inside of that.

    The store directory is not said apart: it ends where the first name of an item begins.
    """
    parts = _text(field, text).split("/")
    for at, part in enumerate(parts[1:], 1):
        if storepath.is_hash_part(part[:32]) and part[32:33] == "-":
            path = _path(field, "/".join(parts[: at + 1]))
            # Build scripts write these paths, and not all of them tidily.
            member = [part for part in parts[at + 1 :] if part not in ("", ".")]
            if ".." not in member:
                return path, "/".join(member)
            break
    raise MalformedHydra(f"{field}: {text[:200]!r} is no path inside a store")


def _path(field: str, text: str) -> StorePath:
    try:
        return storepath.parse(_text(field, text))
    except storepath.MalformedStorePath as error:
        raise MalformedHydra(f"{field}: {error}") from error


def _digest(field: str, text: str) -> Digest:
    try:
        return digest.parse(f"sha256:{text}")
    except digest.MalformedDigest as error:
        raise MalformedHydra(f"{field}: {error}") from error


def _name(field: str, text: str) -> str:
    if not text or "/" in text:
        raise MalformedHydra(f"{field}: {text[:80]!r} is no name")
    return _text(field, text)


def _text(field: str, text: str) -> str:
    if _TEXT.fullmatch(text) is None:
        raise MalformedHydra(f"{field}: {text[:80]!r} has control characters, or is too long")
    return text
