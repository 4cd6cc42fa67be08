"""Mend what `verify` found: fetch damaged items again from the upstreams they came from.

The bad blocks are let go and the item is admitted anew: blocks are named by their content, so
what comes back stands under the same roots. Where a frame cannot be made again byte for byte, what
was advertised of the item is withdrawn, and the narinfo will name the new rendering.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from narbor.catalogue import Claim
from narbor.errors import NarborError, Rejected
from narbor.formats import narinfo
from narbor.formats.narinfo import Narinfo
from narbor.formats.streams import decompress
from narbor.formats.vouched import vouch
from narbor.library import Library
from narbor.names.digest import Digest
from narbor.names.item import Item
from narbor.names.keys import Keyring
from narbor.tasks.keep.verify import (
    TARBALLS,
    Damaged,
    Verified,
    check_block,
    check_item,
    check_renderings,
)
from narbor.upstream import Cache


class SaysOtherwise(Rejected):
    """An upstream has another item now under a path that was admitted before."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """An item is whole again; `upstream` is None when mending another one was enough."""

    base: str
    upstream: str | None


@dataclass(frozen=True, slots=True)
class Unrepaired:
    """An item stays as it is; `reasons` has one for each upstream that was tried."""

    base: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retired:
    """What was advertised of an item is withdrawn, since its bytes cannot be made again."""

    base: str
    compression: str


Mending = Repaired | Unrepaired | Retired


def repair(
    library: Library, found: Verified, open_upstream: Callable[[str], Cache]
) -> Iterator[Mending]:
    """Mend what can be mended; needs a library that is open for writing.

    `open_upstream` turns the name that a claim has its upstream by into the upstream.
    """
    # Nobody has these: once they are gone, nobody will rely on them.
    library.blocks.delete(found.unused)
    for damaged in found.damaged:
        item = library.item(damaged.base)
        if item is not None:
            yield _mend(library, item, damaged, open_upstream)
        elif "/" in damaged.base:
            yield _let_go(library, damaged)
    touched = {each.base for each in found.drifted} | {each.base for each in found.damaged}
    for base in sorted(touched):
        yield from _retire(library, base)


def _let_go(library: Library, damaged: Damaged) -> Unrepaired:
    """Let go of a damaged tarball, so that it is fetched again; a file of a release stays as it is.

    What was fetched for items meanwhile may have made its blocks good, and these stay.
    """
    hex = damaged.base.removeprefix(TARBALLS)
    if hex == damaged.base:
        return Unrepaired(damaged.base, (damaged.reason,))
    faults = [name for name in damaged.faults if check_block(library, name) is not None]
    library.blocks.delete(faults)
    library.catalogue.drop_tarball(Digest("sha512", bytes.fromhex(hex)))
    return Unrepaired(damaged.base, ("let go of: `narbor tarballs` will fetch it again",))


def _mend(
    library: Library, item: Item, damaged: Damaged, open_upstream: Callable[[str], Cache]
) -> Repaired | Unrepaired:
    now = check_item(library, item)
    if now is None:
        return Repaired(item.path.base, None)
    reasons = []
    for claim in library.catalogue.claims(item.path.base):
        try:
            upstream = open_upstream(claim.upstream)
            said = _said(upstream, item, claim)
            library.blocks.delete(now.faults)
            _admit(library, said, upstream, claim.upstream)
        except NarborError as error:
            reasons.append(f"{claim.upstream}: {error}")
            continue
        now = check_item(library, item)
        if now is None:
            return Repaired(item.path.base, claim.upstream)
        reasons.append(f"{claim.upstream}: fetched, and still: {now.reason}")
    return Unrepaired(item.path.base, tuple(reasons) or (damaged.reason,))


def _said(upstream: Cache, item: Item, claim: Claim) -> Narinfo:
    """Return what the upstream says of the item today, or what it said when it was admitted.

    Raises Rejected when it says something else than we know to be true.
    """
    text = upstream.narinfo(item.path.hash_part)
    said = narinfo.parse(claim.text if text is None else text)
    if said.path != item.path or said.seal != item.seal:
        raise SaysOtherwise(
            f"{item.path}: NarHash {said.seal.digest} of {said.path}, "
            f"but it was admitted with {item.seal.digest}"
        )
    return said


def _admit(library: Library, said: Narinfo, upstream: Cache, origin: str) -> None:
    # Believed already: its hash is the one that was vouched for when the item was admitted. What
    # else it says is taken only over an equal fingerprint, by the catalogue.
    vouched = vouch(replace(said, ca=None), Keyring(()), trusted=True)
    packed = upstream.archive(said)
    library.admit(vouched, decompress(packed, said.compression, said.seal.size), origin)
    library.commit()


def _retire(library: Library, base: str) -> Iterator[Retired]:
    item = library.item(base)
    if item is None or check_item(library, item) is not None:
        return
    for drifted in check_renderings(library, item):
        library.catalogue.retire_rendering(base, drifted.rendering.compression)
        # Servers only read: the new one is written down here.
        library.rendering(item, drifted.rendering.compression)
        yield Retired(base, drifted.rendering.compression)
