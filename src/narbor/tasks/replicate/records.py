"""What a name stands for, by all who may know: each is asked, and the latest record counts.

A record proves itself, so it does not matter who gives it; but who gives an old one may not know
better, or may want us not to. The one that is kept here counts too: a name never goes back.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from narbor.catalogue import Catalogue
from narbor.errors import NarborError, Refused, Rejected, Unavailable
from narbor.formats import ipns
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid
from narbor.tasks.parallel import Pool

_DEEPEST: Final = 8
_AT_ONCE: Final = 16
_ATTEMPTS: Final = 5
_PATH: Final = re.compile(r"/(ipfs|ipns)/([^/]+)/?")


class NoRecord(Unavailable):
    """Nobody gives a record of a name that is good now."""


class NoRoot(Refused):
    """What a name says is no root that could be pulled."""


class RecordSource(Protocol):
    """Someone who may have records of names. What it gives is not believed."""

    @property
    def name(self) -> str:
        """The URL, without secrets."""
        ...

    def record(self, name: Cid) -> bytes | None:
        """Return the record of a name; None where it has none. Raises NarborError."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """What one source said of a name: the sequence of a good record, or why there is none."""

    source: str
    name: Cid
    sequence: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a name stands for; `records` are those that led there, by name, to be kept."""

    root: Cid
    records: tuple[tuple[Cid, ipns.Record], ...]
    said: tuple[Said, ...]


def resolve(
    sources: Sequence[RecordSource], name: Cid, kept: Callable[[Cid], bytes | None], now: int
) -> Resolved:
    """Follow a name to a root. `kept` gives the record that is here, `now` is in nanoseconds.

    Raises NoRecord, NoRoot.
    """
    records: list[tuple[Cid, ipns.Record]] = []
    said: list[Said] = []
    here = name
    for _ in range(_DEEPEST):
        record, answers = _latest(sources, here, kept(here), now)
        records.append((here, record))
        said += answers
        space, found = _target(here, record)
        if space == "ipfs":
            return Resolved(found, tuple(records), tuple(said))
        here = found
    raise NoRoot(f"{peerkey.text(name)} leads through more than {_DEEPEST} names")


def keep(catalogue: Catalogue, name: Cid, text: bytes) -> bool:
    """Keep a verified record unless a later one is kept; tell whether it is kept now."""
    for _ in range(_ATTEMPTS):
        before = catalogue.record_of(name)
        if before is not None and ipns.newer(before, text) != text:
            return False
        if before == text or catalogue.keep_record(name, text, before):
            return True
    return False


def _latest(
    sources: Sequence[RecordSource], name: Cid, kept: bytes | None, now: int
) -> tuple[ipns.Record, list[Said]]:
    """Return the latest good record of a name, and what everybody said."""
    best = kept
    said: list[Said] = []
    for text, answer in _asked(sources, name, now):
        said.append(answer)
        if text is not None:
            best = text if best is None else ipns.newer(best, text)
    why = "; ".join(f"{each.source}: {each.reason}" for each in said if each.reason)
    if best is None:
        raise NoRecord(f"there is no record of {peerkey.text(name)} ({why or 'nobody was asked'})")
    try:
        return ipns.verify(best, name, now), said
    except Rejected as error:
        raise NoRecord(
            f"{error}, and no later one is given ({why or 'only such as are older'})"
        ) from error


def _asked(sources: Sequence[RecordSource], name: Cid, now: int) -> list[tuple[bytes | None, Said]]:
    """Ask all at once; return what they said, in their order."""

    def work(number: int, pool: Pool[int, tuple[int, bytes | None, Said]]) -> None:
        source = sources[number]
        try:
            text = source.record(name)
            if text is None:
                pool.emit((number, None, Said(source.name, name, None, "it has no record")))
            else:
                sequence = ipns.verify(text, name, now).sequence
                pool.emit((number, text, Said(source.name, name, sequence)))
        except NarborError as error:
            pool.emit((number, None, Said(source.name, name, None, str(error))))

    with Pool(work, _AT_ONCE) as pool:
        for number in range(len(sources)):
            pool.put(number)
        answers = [each for each in pool.results() if each is not None]
    return [(text, said) for _, text, said in sorted(answers, key=lambda each: each[0])]


def _target(name: Cid, record: ipns.Record) -> tuple[str, Cid]:
    """Return the space and the CID that a record speaks of; raises NoRoot."""
    value = record.value.decode("utf-8", "backslashreplace")
    match = _PATH.fullmatch(value)
    try:
        if match is not None and match[1] == "ipns":
            return match[1], peerkey.parse(match[2])
        if match is not None:
            found = cidtext.known(cidtext.parse(match[2]))
            return ("ipns" if cid.codec(found) == cid.LIBP2P_KEY else "ipfs"), found
    except Rejected as error:
        raise NoRoot(f"{peerkey.text(name)} says {value!r}: {error}") from error
    raise NoRoot(
        f"{peerkey.text(name)} says {value!r}, and only /ipfs/CID and /ipns/KEY are pulled"
    )
