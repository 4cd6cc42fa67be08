"""Read everything again, and say what is not what it was.

First every block is read and held against its CID (its frame's checksum is checked on the way).
Then every item is put together again: the NAR against its NarHash, the tree against the NAR piece
by piece, what was advertised against its FileHash. Files of releases and source tarballs are read
against their SHA-256. Findings are given as they are made; which items share what is broken is
known at the end.
"""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from narbor.catalogue import Root
from narbor.dag import splice, walk
from narbor.errors import NarborError, Rejected, Unavailable
from narbor.formats import nar, unixfs
from narbor.formats.streams import checked
from narbor.library import Library, seal_of
from narbor.library.reading import Reader
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.digest import Seal
from narbor.names.item import Item, Rendering
from narbor.tasks.parallel import in_order

_BATCH: Final = 64  # blocks read by one job: at most 64 MiB
_REPORT: Final = 1024  # blocks between two reports
TARBALLS: Final = "tarballs/sha512/"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `done` blocks or items (`what`), and the bytes read for them, uncompressed."""

    what: str
    done: int
    size: int


@dataclass(frozen=True, slots=True)
class BadBlock:
    """A block that is not what its CID says, or cannot be read."""

    name: Cid
    reason: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """An item that cannot be had whole; for a file `base` is a path, as doors have it.

    `faults`: the blocks of it that are lost or bad, none if the DAG itself is wrong.
    `shared`: the base names of other damaged items that have one of them too.
    """

    base: str
    reason: str
    faults: tuple[Cid, ...]
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drifted:
    """A rendering whose bytes are not those that were advertised."""

    base: str
    rendering: Rendering
    now: Seal


@dataclass(frozen=True, slots=True)
class Verified:
    """All was read. `unused`: bad blocks that no item has."""

    blocks: int
    items: int
    damaged: tuple[Damaged, ...]
    drifted: tuple[Drifted, ...]
    unused: tuple[Cid, ...]


Finding = Progress | BadBlock | Damaged | Drifted | Verified


class TreeMismatch(Rejected):
    """An item's tree and its archive do not hold the same."""


def verify(library: Library, pool: Executor) -> Iterator[Finding]:
    """Read every block and every item; the last finding is `Verified`.

    `pool` does the reading. Raises only what makes going on useless.
    """
    bad: dict[Cid, str] = {}
    blocks = 0
    for step in _blocks(library, pool):
        if isinstance(step, BadBlock):
            bad[step.name] = step.reason
        else:
            blocks = step.done
        yield step
    items = 0
    damaged: list[Damaged] = []
    drifted: list[Drifted] = []
    for finding in _items(library, pool):
        if isinstance(finding, Progress):
            items = finding.done
            yield finding
        elif isinstance(finding, Drifted):
            drifted.append(finding)
            yield finding
        elif isinstance(finding, Damaged):
            damaged.append(finding)
    for finding in _files(library, pool):
        if isinstance(finding, Damaged):
            damaged.append(finding)
        else:
            yield finding
    whole = tuple(_with_shares(damaged))
    yield from whole
    used = {fault for each in damaged for fault in each.faults}
    yield Verified(blocks, items, whole, tuple(drifted), tuple(n for n in bad if n not in used))


def _blocks(library: Library, pool: Executor) -> Iterator[Progress | BadBlock]:
    def check(names: list[Cid]) -> tuple[int, int, list[BadBlock]]:
        try:
            blocks = list(library.blocks.get_many(names))
        except Unavailable:
            # One of them is broken: which one shows when they are read one by one.
            found = [check_block(library, name) for name in names]
            return len(names), 0, [each for each in found if each is not None]
        wrong = [
            BadBlock(name, "its content does not hash to its CID")
            for name, block in zip(names, blocks, strict=True)
            if not cid.matches(name, block)
        ]
        return len(names), sum(map(len, blocks)), wrong

    done = size = reported = 0
    for count, read, wrong in in_order(pool, check, _batches(library.blocks.keys())):
        yield from wrong
        done += count
        size += read
        if done - reported >= _REPORT:
            reported = done
            yield Progress("blocks", done, size)
    yield Progress("blocks", done, size)


def _batches(names: Iterator[Cid]) -> Iterator[list[Cid]]:
    while batch := list(islice(names, _BATCH)):
        yield batch


def check_block(library: Library, name: Cid) -> BadBlock | None:
    """Read one block; tell what is wrong with it."""
    try:
        block = library.blocks.get(name)
    except Unavailable as error:
        return BadBlock(name, str(error))
    if block is None:
        return BadBlock(name, "it is not here")
    return None if cid.matches(name, block) else BadBlock(name, "its content does not hash to it")


def _items(library: Library, pool: Executor) -> Iterator[Finding]:
    size = 0
    results = in_order(pool, lambda item: _check(library, item), library.items())
    for done, (read, findings) in enumerate(results, 1):
        size += read
        yield from findings
        yield Progress("items", done, size)


def _check(library: Library, item: Item) -> tuple[int, list[Finding]]:
    damage = check_item(library, item)
    return item.seal.size, [damage] if damage else list(check_renderings(library, item))


def check_item(library: Library, item: Item) -> Damaged | None:
    """Put one item together again, under every profile that it has roots of."""
    base = item.path.base
    for root in library.catalogue.roots(base):
        try:
            _check_root(library, item, root)
        except NarborError as error:
            if library.catalogue.item(base) is None:
                return None  # taken out meanwhile
            return Damaged(base, str(error), tuple(_faults(library, root.tree, root.archive)))
    return None


def _check_root(library: Library, item: Item, root: Root) -> None:
    reader = Reader(library.blocks)
    what = f"the NAR of {item.path} from its blocks"
    for _ in checked(reader.content(root.archive), item.seal, what):
        pass
    # With the archive known to be right, equal pieces make the tree right, leaves unread.
    framed = splice.merged(nar.write(walk.walk(root.tree, reader.node)))
    if not _equal(framed, splice.read(root.archive, reader.node)):
        raise TreeMismatch(f"{item.path}: its tree {cid.text(root.tree)} is not what its NAR holds")


def _equal(one: Iterator[splice.Piece], other: Iterator[splice.Piece]) -> bool:
    end = object()
    return all(piece == next(other, end) for piece in one) and next(other, end) is end


def _files(library: Library, pool: Executor) -> Iterator[Damaged | Progress]:
    size = 0
    results = in_order(pool, lambda each: _check_file(library, *each), _kept_files(library))
    for done, (read, damage) in enumerate(results, 1):
        size += read
        if damage is not None:
            yield damage
        yield Progress("files", done, size)


def _kept_files(library: Library) -> Iterator[tuple[str, Cid, Seal]]:
    """Give the files that are no items: paths, roots and seals."""
    for release in library.catalogue.releases():
        for file in library.files(release.channel, release.name):
            yield f"releases/{release.channel}/{release.name}/{file.name}", file.root, file.seal
    for tarball in library.catalogue.tarballs():
        seal = Seal(tarball.sha256, tarball.size)
        yield f"{TARBALLS}{tarball.sha512.hex}", tarball.root, seal


def _check_file(library: Library, path: str, root: Cid, seal: Seal) -> tuple[int, Damaged | None]:
    try:
        for _ in checked(library.content(root), seal, path):
            pass
    except NarborError as error:
        return seal.size, Damaged(path, str(error), tuple(_faults(library, root)))
    return seal.size, None


def _faults(library: Library, *roots: Cid) -> Iterator[Cid]:
    """Give the blocks under some roots that are lost or bad."""
    seen: set[Cid] = set()
    waiting = list(roots)
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        content = cid.inlined(here)
        if content is None:
            if check_block(library, here) is not None:
                yield here
                continue
            content = library.blocks.get(here)
        if content is not None and cid.codec(here) == cid.DAG_PB:
            try:
                waiting += [link.cid for link in unixfs.parse(content).links]
            except Rejected:
                yield here


def _with_shares(damaged: list[Damaged]) -> Iterator[Damaged]:
    """Name, for each damaged item, the others that have one of its bad blocks."""
    having: defaultdict[Cid, list[str]] = defaultdict(list)
    for each in damaged:
        for fault in each.faults:
            having[fault].append(each.base)
    for each in damaged:
        others = {base for fault in each.faults for base in having[fault]} - {each.base}
        yield Damaged(each.base, each.reason, each.faults, tuple(sorted(others)))


def check_renderings(library: Library, item: Item) -> Iterator[Drifted]:
    """Give what was advertised of an item and can no longer be given byte for byte."""
    for rendering in library.catalogue.renderings(item.path.base):
        seal = Seal(rendering.digest, rendering.size)
        now = Seal(*seal_of(library.rendered(item, rendering)))
        if now != seal:
            yield Drifted(item.path.base, rendering, now)
