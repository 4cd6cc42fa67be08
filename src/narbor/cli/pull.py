"""Roots that `narbor import --from URL` is told to bring: what hangs from a CID, or from a name."""

import re
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from narbor.cli import carfiles
from narbor.cli.out import Out
from narbor.errors import Refused, Rejected
from narbor.library import Library
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid
from narbor.tasks.replicate import pull, records
from narbor.tasks.replicate.arrive import Absent, Terms
from narbor.tasks.replicate.pull import Pulled
from narbor.tasks.replicate.records import Resolved
from narbor.wiring.sources import Sources

_SPACED: Final = re.compile(r"/?(ipfs|ipns)(?:/|://)([^/]+)(/.*)?")


class NoRootThere(Refused):
    """A word names no root that could be pulled, or nobody to pull it from."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to bring: a root, or the root that a name stands for."""

    name: Cid
    is_name: bool

    @property
    def label(self) -> str:
        """How it is called here, unless it is given a name."""
        return f"ipns/{peerkey.text(self.name)}" if self.is_name else cid.text(self.name)


def find(word: str) -> Wanted | None:
    """Read `/ipfs/CID`, `ipns://NAME` and the like, or a bare CID; None for any other word.

    Raises NoRootThere for what is one of them, and cannot be pulled.
    """
    match = _SPACED.fullmatch(word)
    try:
        if match is None:
            return _root(word)
        if (match[3] or "/") != "/":
            raise NoRootThere(f"{word}: only whole roots are pulled, /{match[1]}/{match[2]}")
        return Wanted(peerkey.parse(match[2]), True) if match[1] == "ipns" else _root(match[2])
    except Rejected as error:
        if match is None:
            return None
        hint = " (of a domain: what its DNSLink says)" if match[1] == "ipns" else ""
        raise NoRootThere(f"{word} is none that can be pulled{hint}: {error}") from error


def wanted(word: str) -> Wanted:
    """Read a word as `find` does; raises NoRootThere also where it is another word."""
    found = find(word)
    if found is None:
        raise NoRootThere(f"{word!r} is no root: with --from, say /ipfs/CID, /ipns/NAME or a CID")
    return found


def _root(text: str) -> Wanted:
    name = cidtext.known(cidtext.parse(text))
    return Wanted(name, cid.codec(name) == cid.LIBP2P_KEY)


def take_in(library: Library, wanted: Wanted, sources: Sources, terms: Terms, out: Out) -> int:
    """Pull what is wanted; return how many things were not as they should be.

    Raises NoRecord, NoRoot, SourcesAway, and what the library raises.
    """
    name = terms.name or wanted.label
    if not wanted.is_name:
        return _pull(library, wanted.name, name, sources, terms, out)
    kept = library.catalogue.record_of
    resolved = records.resolve(sources.each, wanted.name, kept, time.time_ns())
    _tell(wanted, resolved, out)
    bad = _pull(library, resolved.root, name, sources, terms, out)
    # Not before: whoever asks this node for the name is to find what it says.
    if library.catalogue.kept_root(name) == resolved.root:
        for each, record in resolved.records:
            records.keep(library.catalogue, each, record.text)
    return bad


def _tell(wanted: Wanted, resolved: Resolved, out: Out) -> None:
    """Tell what a name stands for, and who did not know it."""
    for said in resolved.said:
        if said.reason:
            out.detail(f"{said.source}: {said.reason}")
    root, sequence = cid.text(resolved.root), resolved.records[0][1].sequence
    name = peerkey.text(wanted.name)
    facts = {"event": "resolved", "name": name, "root": root, "sequence": sequence}
    out.event(facts, None)
    out.say(f"{name} says {root} (sequence {sequence})")


def _pull(library: Library, root: Cid, name: str, sources: Sources, terms: Terms, out: Out) -> int:
    bad = shown = 0
    last = Pulled(0, 0, 0)
    unnamed = replace(terms, name=None)
    steps = pull.pull(library, sources.gatherer, root, name, unnamed, time.sleep)
    with out.bar(f"pull {name}") as bar, closing(steps) as events:
        for event in events:
            if isinstance(event, Pulled):
                last = event
                bar.update(event.blocks, None, event.size, None, "blocks")
                continue
            shown += isinstance(event, Absent)
            bad += carfiles.show(event, shown <= carfiles.SHOWN, bar, out)
    for lane in sources.gatherer.lanes:
        count = lane.standing.count()
        facts = {"event": "source", "name": lane.standing.name, **count.plain()}
        out.event(facts, None)
        if count.lies:
            out.warn(f"{lane.standing.name} gave bytes that are not what they should be")
    facts = {"event": "pulled", "name": name, "root": cid.text(root)}
    out.event({**facts, "looked": last.looked, "blocks": last.blocks, "bytes": last.size}, None)
    return bad
