"""One CAR in a file as a holder: all that hangs from a root, or what another root lacks of it.

Blocks are written under another name in the order in which they are given. `keep` looks whether all
is there, makes the file durable and moves it into place; FILE.car.json beside it then says what it
is (formats/carfolder.py). Until that stands there, the CAR counts as none.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

from narbor.errors import Refused, Rejected
from narbor.formats import car, carfolder, ipld
from narbor.formats.carfolder import Listed, MalformedManifest, Manifest, Named
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins import Block, Incomplete, digests
from narbor.pins.digests import Digests
from narbor.pins.shelf import Draft, Shelf, content

_PIECE: Final = 1 << 20
_ENOUGH: Final = 10
Blocks = Callable[[], Iterator[Block]]


class OtherRoot(Refused):
    """A CAR of one root is to be that of another."""


class BadBlock(Rejected):
    """Bytes are given under a name that is not theirs."""


class CarFile:
    """A CAR of `root`, without what hangs from `since`; whether that is all is only the giver's
    to know, so with `since` nothing is said to be incomplete."""

    def __init__(self, shelf: Shelf, file: str, root: Cid, since: Cid | None = None) -> None:
        self._shelf = shelf
        self._file = file
        self._root = root
        self._since = since
        self._draft_name = f".{file}.part"
        self._draft: Draft | None = None

    def kept(self, name: str) -> Cid | None:
        """Return the root, where the file is whole, of this root, and written for this name."""
        there = self._there()
        return self._root if there is not None and name in there.names else None

    def _there(self) -> Manifest | None:
        """Return what is said of the file in place, if it is the one that is asked for."""
        text = b"".join(content(self._shelf, f"{self._file}.json"))
        try:
            found = carfolder.parse(text)
        except MalformedManifest:
            return None
        (listed,) = found.cars if len(found.cars) == 1 else (None,)
        if listed is None or (listed.root, listed.since) != (self._root, self._since):
            return None
        return found if self._shelf.size(self._file) == listed.size else None

    def missing(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which are not in it; the whole file is read."""
        return lacking(names, self.inventory())

    def inventory(self) -> Iterator[Cid]:
        """Give the names of all blocks in it, read and checked."""
        if self._draft is not None:
            return (name for name, _ in blocks(self._shelf, self._draft_name))
        if self._there() is not None:
            return (name for name, _ in blocks(self._shelf, self._file))
        return iter(())

    def take(self, blocks: Iterable[Block]) -> None:
        """Write blocks behind those that were taken before."""
        append(self._begun(), blocks, self._shelf.path(self._file))

    def _begun(self) -> Draft:
        if self._draft is None:
            self._shelf.remove(self._draft_name)
            draft = self._shelf.open(self._draft_name)
            draft.append(car.header([self._root]))
            if self._there() is not None:
                # Something in it was lost: what is good is carried over.
                append(draft, blocks(self._shelf, self._file), self._shelf.path(self._file))
            self._draft = draft
        return self._draft

    def keep(self, name: str, root: Cid) -> None:
        """Put the file in its place, if it is whole; raises Incomplete, OtherRoot."""
        shelf = self._shelf
        if root != self._root:
            raise OtherRoot(f"{shelf.path(self._file)} is to be a CAR of {cid.text(self._root)}")
        there = self._there()
        if self._draft is None and there is not None:
            (listed,) = there.cars
        else:
            self._begun().sync()
            listed = self._finish()
        note = Manifest({name: Named(root)}, (listed,))
        put(shelf, f"{self._file}.json", carfolder.write(note))

    def _finish(self) -> Listed:
        shelf, draft, found = self._shelf, self._draft_name, f".{self._file}.digests"
        try:
            digests.write(shelf, found, _digests(blocks(shelf, draft)))
            held = Digests(shelf, found)
            if self._since is None:
                closed(lambda: blocks(shelf, draft), held, self._root, lambda digest: False)
            digest, size = seal(shelf, draft)
            listed = Listed(self._file, 1, self._root, self._since, len(held), size, digest)
        finally:
            shelf.remove(found)
        shelf.remove(f"{self._file}.json")  # from here on nothing is said of what is there
        self._begun().close()
        shelf.move(draft, self._file)
        self._draft = None
        return listed

    def close(self) -> None:
        """Let the file go; what was not put in place is removed."""
        if self._draft is not None:
            self._draft.close()
            self._shelf.remove(self._draft_name)
            self._draft = None
        self._shelf.close()


def blocks(
    shelf: Shelf, file: str, refuse: Callable[[Rejected], None] | None = None
) -> Iterator[Block]:
    """Give the blocks of a CAR that are good, in order, as far as it can be read.

    `refuse` is told what is wrong with it.
    """
    if not shelf.size(file):
        return
    tell = refuse or _pass_over
    try:
        for block in car.read(content(shelf, file), refuse=tell).blocks:
            yield block.cid, block.data
    except car.MalformedCar as error:
        tell(error)


def _pass_over(error: Rejected) -> None:
    """What is not good is not there."""


def append(draft: Draft, blocks: Iterable[Block], where: str) -> None:
    """Write blocks to a CAR, durably; what came before an error is written too."""
    held: list[bytes] = []
    size = 0
    try:
        for name, data in blocks:
            if ipld.inlined(name) is not None:
                continue
            if not cid.matches(name, data):
                raise BadBlock(f"{where}: {cid.text(name)} is not the name of {len(data)} bytes")
            held += (cid.varint(len(name) + len(data)) + name, data)
            size += len(data)
            if size >= _PIECE:
                draft.append(b"".join(held))
                held.clear()
                size = 0
    finally:
        if held:
            draft.append(b"".join(held))
        draft.sync()


def put(shelf: Shelf, file: str, text: bytes) -> None:
    """Put a small file in its place, durably."""
    draft_name = f".{file}.part"
    shelf.remove(draft_name)
    draft = shelf.open(draft_name)
    try:
        draft.append(text)
        draft.sync()
    finally:
        draft.close()
    shelf.move(draft_name, file)


def seal(shelf: Shelf, file: str) -> tuple[bytes, int]:
    """Return the SHA-256 and the length of a file."""
    state, size = sha256(), 0
    for data in content(shelf, file):
        state.update(data)
        size += len(data)
    return state.digest(), size


def lacking(names: Sequence[Cid], there: Iterable[Cid]) -> set[Cid]:
    """Return which of these names are not there, whatever the codec."""
    wanted = {digests.of(name): name for name in names if ipld.inlined(name) is None}
    left = dict(wanted)
    for name in there:
        left.pop(digests.of(name), None)
        if not left:
            break
    return {name for name in names if ipld.inlined(name) is None and digests.of(name) in left}


def _digests(blocks: Iterable[Block]) -> Iterator[bytes]:
    return (digest for name, _ in blocks if (digest := digests.of(name)) is not None)


class Reached:
    """Which digests of a list were reached, as a bitmap over their places."""

    def __init__(self, count: int) -> None:
        self._bits = bytearray(count // 8 + 1)
        self.count = 0

    def add(self, at: int) -> bool:
        """Mark one; tell whether it was not marked before."""
        if at in self:
            return False
        self.count += 1
        self._bits[at >> 3] |= 1 << (at & 7)
        return True

    def __contains__(self, at: int) -> bool:
        return at >= 0 and bool(self._bits[at >> 3] >> (at & 7) & 1)


def closed(blocks: Blocks, held: Digests, root: Cid, elsewhere: Callable[[bytes], bool]) -> Reached:
    """Return which of the blocks, whose digests are `held`, hang from `root`.

    What is not among them must be `elsewhere`, with all below it. Raises Incomplete. One pass does
    where parents come first.
    """
    reached, absent = Reached(len(held)), list[str]()
    passed, again = Reached(len(held)), True

    def meet(name: Cid) -> bool:
        """Mark what is linked to; tell whether it was passed already."""
        digest = digests.of(name)
        at = -1 if digest is None else held.find(digest)
        if at >= 0:
            return reached.add(at) and at in passed
        if (digest is None or not elsewhere(digest)) and len(absent) < _ENOUGH:
            absent.append(cid.text(name))
        return False

    for name in _real([root]):
        meet(name)
    while again and not absent:
        passed, again = Reached(len(held)), False
        for name, data in blocks():
            at = held.find(digests.of(name) or b"")
            if at < 0:
                continue
            passed.add(at)
            if at in reached:
                for target in _real(_targets(name, data)):
                    again |= meet(target)
    if absent:
        raise Incomplete(f"below {cid.text(root)} there lack {', '.join(absent)}")
    return reached


def _real(names: Iterable[Cid]) -> Iterator[Cid]:
    """Give the names of blocks, and in place of identity CIDs what they link to."""
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        content = ipld.inlined(name)
        if content is None:
            yield name
        else:
            ahead.extend(_targets(name, content))


def _targets(name: Cid, data: bytes) -> Sequence[Cid]:
    try:
        return ipld.targets(name, lambda _: data)
    except Rejected:
        return ()  # a block that is not of its codec leads nowhere
