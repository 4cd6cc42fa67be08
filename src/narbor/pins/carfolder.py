"""A folder of CARs as a holder: each run adds one, with what the folder does not have yet.

    manifest.json    names and their roots, and the CARs in order (formats/carfolder.py)
    000001.car       CARs, version 1; 000001.digests lists what is in one (pins/digests.py)
    .next.car        blocks that were taken and hang from no kept root yet

A CAR stands before the manifest that lists it, and one that no manifest lists becomes `.next.car`
again: whoever is killed loses nothing that was taken. A CAR that was carried away may be removed;
as long as its list of digests is here, what is in it counts as there.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from narbor.errors import Rejected
from narbor.formats import car, carfolder
from narbor.formats.carfolder import MANIFEST, Listed, Manifest, Named
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins import Block, cars, digests
from narbor.pins.cars import Reached
from narbor.pins.digests import Digests
from narbor.pins.shelf import Draft, Shelf, content

_NEXT: Final = ".next.car"
_OURS: Final = ".ours.car"
_REST: Final = ".rest.car"
_HELD: Final = ".next.digests"
_NOBODY: Final = cid.raw(b"")


class CarFolder:
    """A folder of CARs.

    `root` is the one that will be kept, where it is known: the header of a CAR has it from the
    start. `since`: what hangs from this root is had by whoever reads the CARs. `afresh`: a series
    of its own is begun, which needs none of the CARs that are here. `thorough`: what is in the CARs
    is read and checked each time it is asked for, not only known from lists.
    """

    def __init__(
        self,
        shelf: Shelf,
        root: Cid = _NOBODY,
        since: Cid | None = None,
        afresh: bool = False,
        thorough: bool = False,
    ) -> None:
        self._shelf = shelf
        self._root = root
        self._since = since
        self._thorough = thorough
        self._draft: Draft | None = None
        self._manifest = Manifest()
        text = b"".join(content(shelf, MANIFEST))
        if text:
            self._manifest = carfolder.parse(text)
        self._series = max(1, self._manifest.series + (1 if afresh else 0))
        self._tidy()

    def _tidy(self) -> None:
        """Take a CAR that no manifest lists for what it is: blocks that wait."""
        shelf = self._shelf
        orphan = f"{self._number():06}"
        if shelf.size(f"{orphan}.car") is not None and shelf.size(_NEXT) is None:
            shelf.move(f"{orphan}.car", _NEXT)
            shelf.remove(f"{orphan}.digests")
        if shelf.size(_NEXT) is not None:
            self._mend(shelf.open(_NEXT))

    def _number(self) -> int:
        numbers = (each.file.partition(".")[0] for each in self._manifest.cars)
        return max((int(each) for each in numbers if each.isdigit()), default=0) + 1

    def _mend(self, draft: Draft) -> None:
        """Cut off what a killed writer left half, so that more can be written behind the rest."""
        try:
            found = car.read(content(self._shelf, _NEXT))
            end = len(car.header(found.roots))
            try:
                for block in found.blocks:
                    section = len(block.written) + len(block.data)
                    end += len(cid.varint(section)) + section
            except car.MalformedCar:
                pass
            draft.truncate(end)
        except Rejected:
            draft.truncate(0)
        self._draft = draft

    # --- looking -------------------------------------------------------------------------------

    def kept(self, name: str) -> Cid | None:
        """Return the root that a name stands for, if the CARs of this series have it."""
        found = self._manifest.names.get(name)
        return found.root if found is not None and found.series == self._series else None

    def carried(self) -> tuple[str, ...]:
        """Return the CARs that are not here any more, though what is in them counts as there."""
        gone = (e.file for e in self._listed() if self._shelf.size(e.file) is None)
        return tuple(gone)

    def _listed(self) -> Iterator[Listed]:
        """Give the CARs of this series whose content counts as there."""
        for each in self._manifest.cars:
            if each.series == self._series and self._is_there(each):
                yield each

    def _is_there(self, listed: Listed) -> bool:
        size = self._shelf.size(listed.file)
        if size is None:
            return self._has_list(listed)
        return size == listed.size

    def _has_list(self, listed: Listed) -> bool:
        size = self._shelf.size(_list_of(listed))
        return size == listed.blocks * digests.WIDTH

    def _lists(self) -> list[Digests]:
        """Return the lists of what is in the CARs; one that is lost is made again."""
        found = []
        for each in self._listed():
            if not self._has_list(each):
                here = (digests.of(name) for name, _ in cars.blocks(self._shelf, each.file))
                digests.write(self._shelf, _HELD, (digest for digest in here if digest))
                self._shelf.move(_HELD, _list_of(each))
            found.append(Digests(self._shelf, _list_of(each)))
        return found

    def missing(self, names: Sequence[Cid]) -> set[Cid]:
        """Return which are not there; all lists are gone through."""
        return cars.lacking(names, self.inventory())

    def inventory(self) -> Iterator[Cid]:
        """Give the names of all blocks, in whatever codec."""
        if self._thorough:
            for each in self._listed():
                if self._shelf.size(each.file) is None:
                    yield from map(digests.name, Digests(self._shelf, _list_of(each)))
                else:
                    yield from (name for name, _ in cars.blocks(self._shelf, each.file))
        else:
            for found in self._lists():
                yield from map(digests.name, found)
        yield from (name for name, _ in cars.blocks(self._shelf, _NEXT))

    # --- writing -------------------------------------------------------------------------------

    def take(self, blocks: Iterable[Block]) -> None:
        """Write blocks down; they stay over a kill, in `.next.car`."""
        if self._draft is None:
            self._draft = self._shelf.open(_NEXT)
        if not self._draft.size():
            self._draft.append(car.header([self._root]))
        cars.append(self._draft, blocks, self._shelf.path(_NEXT))

    def keep(self, name: str, root: Cid) -> None:
        """Make a CAR of what hangs from `root` and is new, and write down the name.

        Raises Incomplete; not with `since`, nor where a CAR of this series is lost: then only
        whoever gives the blocks can tell, and all that was taken goes into the CAR.
        """
        lists = self._lists()
        known = len(lists) == sum(e.series == self._series for e in self._manifest.cars)
        sure = known and self._since is None

        def elsewhere(digest: bytes) -> bool:
            return not sure or any(each.find(digest) >= 0 for each in lists)

        added = self._add(root, elsewhere, all_of_it=not known)
        names = {**self._manifest.names, name: Named(root, self._series)}
        manifest = Manifest(names, (*self._manifest.cars, *added))
        cars.put(self._shelf, MANIFEST, carfolder.write(manifest))
        self._manifest = manifest

    def _add(
        self, root: Cid, elsewhere: Callable[[bytes], bool], all_of_it: bool
    ) -> tuple[Listed, ...]:
        """Put a CAR in place with what waits and hangs from `root`; nothing where that is nothing.

        What waits and does not hang from it goes on waiting.
        """
        shelf = self._shelf
        try:
            found = (digests.of(name) for name, _ in cars.blocks(shelf, _NEXT))
            digests.write(shelf, _HELD, (digest for digest in found if digest))
            held = Digests(shelf, _HELD)
            reached = cars.closed(lambda: cars.blocks(shelf, _NEXT), held, root, elsewhere)
            if all_of_it:
                for at in range(len(held)):
                    reached.add(at)
            return (self._place(root, held, reached),) if reached.count else ()
        finally:
            shelf.remove(_HELD)

    def _place(self, root: Cid, held: Digests, reached: Reached) -> Listed:
        shelf, number = self._shelf, self._number()
        file = f"{number:06}.car"
        whole = reached.count == len(held) and self._try_head(root)
        if not whole:
            self._split(root, held, reached)
        if self._draft is not None:
            self._draft.close()
            self._draft = None
        sha256, size = cars.seal(shelf, _NEXT if whole else _OURS)
        listed = Listed(file, self._series, root, self._since, reached.count, size, sha256)
        shelf.move(_NEXT if whole else _OURS, file)
        if not whole:
            shelf.move(_REST, _NEXT)
            self._draft = shelf.open(_NEXT)
        ours = (digest for at, digest in enumerate(held) if at in reached)
        digests.write(shelf, _OURS, ours)
        shelf.move(_OURS, _list_of(listed))
        return listed

    def _try_head(self, root: Cid) -> bool:
        """Write the root into the head of what waits; False where it does not fit."""
        head = car.header([root])
        there = car.header(car.read(content(self._shelf, _NEXT)).roots)
        if self._draft is None or len(head) != len(there):
            return False
        self._draft.patch(head)
        self._draft.sync()
        return True

    def _split(self, root: Cid, held: Digests, reached: Reached) -> None:
        """Write what was reached to one file, and the rest to another."""
        for file, wanted in ((_OURS, True), (_REST, False)):
            self._shelf.remove(file)
            draft = self._shelf.open(file)
            draft.append(car.header([root]))
            part = (
                (name, data)
                for name, data in cars.blocks(self._shelf, _NEXT)
                if (held.find(digests.of(name) or b"") in reached) == wanted
            )
            cars.append(draft, part, self._shelf.path(file))
            draft.close()

    def close(self) -> None:
        """Let the folder go; what waits is there for the next one."""
        if self._draft is not None:
            empty = not self._draft.size()
            self._draft.close()
            self._draft = None
            if empty:
                self._shelf.remove(_NEXT)
        self._shelf.close()


def _list_of(listed: Listed) -> str:
    return f"{listed.file.removesuffix('.car')}.digests"
