"""CARs that `narbor import` is given: one, a folder of them, or one on standard input."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from narbor.cli.out import Bar, Out
from narbor.errors import Rejected, Unavailable
from narbor.formats import carfolder
from narbor.formats.carfolder import MANIFEST, Manifest
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.tasks.replicate import arrive
from narbor.tasks.replicate.arrive import Absent, Bad, Event, KeptRoot, Source, Terms, Took, Unkept
from narbor.tasks.replicate.intake import Admitted, Failed, TakenIn
from narbor.tasks.replicate.releases import Released, Unreleased

_PIECE: Final = 1 << 20
SHOWN: Final = 10


class BadManifest(Rejected):
    """What stands beside CARs cannot be read, or names CARs that are nowhere."""


class Unreadable(Unavailable):
    """A CAR cannot be read from the disk."""


@dataclass(frozen=True, slots=True)
class Box:
    """CARs that belong together, the newest first; `names` of their roots, where they are known."""

    label: str
    sources: tuple[Source, ...]
    names: Mapping[str, Cid] | None
    gone: tuple[str, ...] = ()


def find(source: str) -> Box | None:
    """Return the CARs that a word means; None where it means none. Raises BadManifest."""
    if source == "-":
        return Box("standard input", (Source("-", lambda: _pieces(sys.stdin.buffer)),), None)
    path = Path(source)
    if path.is_file():
        return _single(path)
    if (path / MANIFEST).is_file():
        return _folder(path, _manifest(path / MANIFEST))
    found = sorted(path.glob("*.car")) if path.is_dir() else []
    return Box(source, tuple(map(_source, found)), None) if found else None


def _single(path: Path) -> Box:
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        return Box(str(path), (_source(path),), None)
    found = _manifest(beside)
    listed = next((each for each in found.cars if each.file == path.name), None)
    names = {name: each.root for name, each in found.names.items()}
    return Box(str(path), (Source(str(path), partial(_read, path), listed),), names)


def _folder(path: Path, manifest: Manifest) -> Box:
    sources, gone = [], []
    for each in reversed(manifest.cars):
        if manifest.is_superseded(each):
            continue
        file = path / each.file
        if file.is_file():
            sources.append(Source(str(file), partial(_read, file), each))
        else:
            gone.append(each.file)
    names = {name: each.root for name, each in manifest.names.items()}
    return Box(str(path), tuple(sources), names, tuple(gone))


def _manifest(path: Path) -> Manifest:
    try:
        with path.open("rb") as file:
            return carfolder.parse(file.read(carfolder.LONGEST + 1))
    except Rejected as error:
        raise BadManifest(f"{path}: {error}") from error
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from error


def _source(path: Path) -> Source:
    return Source(str(path), partial(_read, path))


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            yield from _pieces(file)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from error


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    read: Callable[[], bytes] = partial(file.read, _PIECE)
    return iter(read, b"")


def take_in(library: Library, box: Box, terms: Terms, out: Out) -> int:
    """Take CARs in; return how many things were not as they should be."""
    for file in box.gone:
        out.detail(f"{box.label}: {file} is not here (any more)")
    origin = "-" if box.label == "standard input" else Path(box.label).resolve().as_uri()
    bad, shown = 0, 0
    with (
        out.bar(f"import {box.label}") as bar,
        closing(arrive.arrive(library, box.sources, box.names, terms, origin)) as events,
    ):
        for event in events:
            shown += isinstance(event, Absent)
            bad += show(event, shown <= SHOWN, bar, out)
    return bad


def show(event: Event, also_absent: bool, bar: Bar, out: Out) -> int:
    """Tell of an event; return whether it is something bad. `also_absent`: also of a block."""
    facts: dict[str, object]
    match event:
        case Took(blocks, size, _):
            bar.update(blocks, None, size, None, "blocks")
        case Bad(label, reason):
            out.event({"event": "bad", "car": label, "reason": reason}, None)
            out.warn(f"{label}: {reason}")
            return 1
        case Absent(root, name):
            facts = {"event": "absent", "root": cid.text(root), "cid": cid.text(name)}
            out.event(facts, f"{cid.text(name)}  lacks" if also_absent else None)
        case Unkept(name, root, count):
            facts = {"event": "unkept", "name": name, "root": cid.text(root), "absent": count}
            out.event(facts, None)
            out.warn(
                f"{name}: {count:,} blocks lack below {cid.text(root)}, so it is not kept: import "
                "what has them as well (--incomplete keeps it as it is)"
            )
            return 1
        case KeptRoot(name, root, whole):
            facts = {"event": "kept", "name": name, "root": cid.text(root), "whole": whole}
            out.event(facts, f"{name}  {cid.text(root)}")
            return 0 if whole else 1
        case Failed(what, reason):
            out.event({"event": "failed", "what": what, "reason": reason}, None)
            out.warn(f"failed: {what}: {reason}")
            return 1
        case _:
            _tell(event, bar, out)
    return 0


def _tell(event: Event, bar: Bar, out: Out) -> None:
    facts: dict[str, object]
    match event:
        case Admitted(path, size):
            out.detail(f"admitted {path} ({size} bytes)")
        case TakenIn(admitted, known, failed, tops):
            facts = {"event": "takenIn", "admitted": admitted, "known": known, "failed": failed}
            out.event({**facts, "tops": list(tops)}, None)
            bar.say(f"{admitted:,} items came in, {known:,} were here, {failed:,} failed")
        case Released(channel, name, moved):
            out.event({"event": "released", "channel": channel, "release": name}, None)
            out.say(f"release {name} of {channel}{', where it is now' if moved else ''}")
        case Unreleased(channel, name, reason):
            out.say(f"release {name} of {channel} is only kept with the root: {reason}")
