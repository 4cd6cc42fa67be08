"""A Kubo daemon on 127.0.0.1: it speaks, keeps, pins and refuses as 0.44 does, and fails as told.

What it says, to the letter, was written down from the real one, against which the same tests run
wherever there is one. Blocks are kept by multihash, and one root has one recursive pin.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from narbor.formats import car, dagpb, ipld
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from tests.fakes.kuborpc import Fail, File, Handler, Late, Query, Refuse
from tests.fakes.server import HttpServer, Running

EMPTY = (cid.node(b"\n\x02\x08\x01"), b"\n\x02\x08\x01")
NOT_THERE = "block was not found locally (offline): ipld: could not find {}"
ONLINE_ONLY = "this command must be run in online mode. Try running 'ipfs daemon' first"


class FakeKubo(Running):
    """A daemon. Set what shall go wrong:

    - `room`: bytes of blocks that its disk still takes;
    - `cut`: bytes of a request's body after which it cuts the connection, once;
    - `late`: by command, what it says behind its values, in the trailer;
    - `secret`: the Authorization without which it answers nothing;
    - `hold`: an event that it waits for before it answers;
    - `instead`: by command, an answer (status, body) as it would never give it.

    An online one notes in `searched` what it would have asked the network for. `walked` are the
    roots whose weight was asked for.
    """

    def __init__(self, version: str = "0.44.0-dev", online: bool = True) -> None:
        self.blocks: dict[bytes, bytes] = {EMPTY[0][2:]: EMPTY[1]}
        self.pins: dict[str, str] = {}
        self.records: dict[str, bytes] = {}
        self.provided: list[str] = []
        self.searched: list[str] = []
        self.walked: list[str] = []
        self.asked: Counter[str] = Counter()
        self.room: int | None = None
        self.cut: int | None = None
        self.late: dict[str, str] = {}
        self.secret: str | None = None
        self.hold: threading.Event | None = None
        self.instead: dict[str, tuple[int, bytes]] = {}
        self.version = version
        self.online = online
        super().__init__(HttpServer(partial(Handler, self)))

    def let_go(self) -> None:
        """End what waits."""
        super().let_go()
        if self.hold is not None:
            self.hold.set()

    def lose(self, name: Cid) -> None:
        """Lose a block."""
        del self.blocks[name[2:]]

    def command(self, name: str) -> Callable[[Query, File], Iterator[Any]] | None:
        """Find a command; None for what this version does not have."""
        late = {"provide/once": (0, 42), "name/put": (0, 40)}
        number = tuple(int(part) for part in re.findall(r"\d+", self.version)[:2])
        if number < late.get(name, ()):
            return None
        return getattr(self, "_" + name.replace("/", "_"), None) if "_" not in name else None

    def _version(self, query: Query, file: File) -> Iterator[Any]:
        yield {
            "Version": self.version, "Commit": "", "Repo": "18", "System": "amd64/linux",
            "Golang": "go1.26.8",
        }  # fmt: skip

    def _dag_import(self, query: Query, file: File) -> Iterator[Any]:
        if file is None:
            raise Refuse(400, "file argument 'path' is required\n")
        count = size = 0
        before = None
        roots: tuple[bytes, ...] = ()
        try:
            read = car.read(file, 64 << 20)
            roots = read.roots
            for block in read.blocks:
                self._store(block, f'import failed at block "{cidtext.text(block.written)}"')
                count, size, before = count + 1, size + len(block.data), block.written
        except car.MalformedCar as error:
            if "without a header" in str(error):
                return  # as the real one, which takes this end of a file for the end of its work
            raise Fail(_complaint(before, str(error))) from error
        if query.get("pin-roots") != ["false"]:
            for root in roots:
                yield self._pin_root(root)
        if query.get("stats") == ["true"]:
            yield {"Stats": {"BlockCount": count, "BlockBytesCount": size}}

    def _store(self, block: car.Block, where: str) -> None:
        if len(block.data) > 2 << 20:
            raise Fail(
                f"{where}: produced block is over 2MiB: big blocks can't be exchanged with other "
                "peers. consider using UnixFS for automatic chunking of bigger files, or pass "
                "--allow-big-block to override"
            )
        if cid.codec(block.cid) == cid.DAG_PB:
            try:
                ipld.links(block.cid, block.data)
            except dagpb.MalformedNode as error:
                raise Fail(f"{where}: protobuf: (PBNode) {error}") from error
        if self.room is not None:
            self.room -= len(block.data)
            if self.room < 0:
                raise Fail(f"{where}: write blocks/temp-1: no space left on device")
        self.blocks[block.cid[2:]] = block.data

    def _pin_root(self, root: bytes) -> Any:
        name = cidtext.text(root)
        try:
            list(self._walk([cidtext.known(root)], offline=True))
        except Fail as error:
            return {"Root": {"Cid": {"/": name}, "PinErrorMsg": str(error)}}
        self.pins[name] = ""
        return {"Root": {"Cid": {"/": name}, "PinErrorMsg": ""}}

    def _refs(self, query: Query, file: File) -> Iterator[Any]:
        depth = int(query.get("max-depth", ["-1"])[0])
        assert query.get("recursive") == ["true"] and depth == 0, "only this is known here"
        for name in _arguments(query, file):
            try:
                self._get(_cid(name), query.get("offline") == ["true"])
            except Fail as error:
                yield {"Ref": "", "Err": str(error)}

    def _refs_local(self, query: Query, file: File) -> Iterator[Any]:
        for digest in list(self.blocks):
            yield {"Ref": cidtext.text(bytes((1, cid.RAW)) + digest), "Err": ""}

    def _block_get(self, query: Query, file: File) -> Iterator[Any]:
        yield self._get(_cid(query["arg"][0]), query.get("offline") == ["true"])

    def _dag_stat(self, query: Query, file: File) -> Iterator[Any]:
        assert query.get("progress") == ["false"], "progress is not known here"
        stats: list[Any] = []
        total, seen = 0, set[Cid]()
        # As the real one, which takes only the first of arguments in a file.
        for name in query.get("arg") or _arguments(query, file)[:1]:
            self.walked.append(name)
            try:
                found = dict(self._walk([_cid(name)], query.get("offline") == ["true"]))
            except Fail as error:
                raise Fail(f"error traversing DAG: {error}") from error
            size = sum(map(len, found.values()))
            stats.append({"Cid": name, "Size": size, "NumBlocks": len(found)})
            total += sum(len(block) for key, block in found.items() if key not in seen)
            seen |= set(found)
        if not total:
            yield Late("json: unsupported value: NaN")
            return
        ratio = sum(each["Size"] for each in stats) / total
        yield {"UniqueBlocks": len(seen), "TotalSize": total, "Ratio": ratio, "DagStats": stats}

    def _pin_ls(self, query: Query, file: File) -> Iterator[Any]:
        assert query.get("type") == ["recursive"] and query.get("stream") == ["true"]
        asked = query.get("arg", [])
        for name in asked:
            if name not in self.pins:
                raise Fail(f"path '{name}' is not pinned")
        part = query.get("name", [""])[0]
        for name, title in list(self.pins.items()):
            if (not asked or name in asked) and part in title:
                said = {"Cid": name, "Name": title, "Type": "recursive"}
                yield {key: value for key, value in said.items() if value}

    def _pin_add(self, query: Query, file: File) -> Iterator[Any]:
        title = query.get("name", [""])[0]
        if len(title.encode()) > 255:
            raise Fail(f"pin name is {len(title.encode())} bytes (max 255 bytes)")
        for name in query["arg"]:
            # As the real one: a pin that it has is gone before the walk, and stays gone.
            self.pins.pop(name, None)
            try:
                found = dict(self._walk([_cid(name)], offline=not self.online))
            except Fail as error:
                raise Fail(f"pin: {error}") from error
            self.pins[name] = title
            if query.get("progress") == ["true"]:
                yield {"Progress": len(found), "Bytes": sum(map(len, found.values()))}
        yield {"Pins": query["arg"]}

    def _pin_update(self, query: Query, file: File) -> Iterator[Any]:
        old, new = query["arg"]
        if old not in self.pins:
            raise Fail("'from' cid was not recursively pinned already")
        if old != new:
            if new in self.pins:
                raise Fail("'to' cid was already recursively pinned")
            known = set(dict(self._walk([_cid(old)], offline=not self.online)))
            list(self._walk([_cid(new)], not self.online, known))
            self.pins[new] = self.pins[old]
            if query.get("unpin") != ["false"]:
                del self.pins[old]
        yield {"Pins": [old, new]}

    def _pin_rm(self, query: Query, file: File) -> Iterator[Any]:
        for name in query["arg"]:
            if self.pins.pop(name, None) is None:
                raise Fail("not pinned or pinned indirectly")
        yield {"Pins": query["arg"]}

    def _name_put(self, query: Query, file: File) -> Iterator[Any]:
        if file is None:
            raise Refuse(400, "file argument 'record' is required\n")
        if not self.online and query.get("allow-offline") != ["true"]:
            raise Fail("this action must be run in online mode, try running 'ipfs daemon' first")
        self.records[query["arg"][0]] = b"".join(file)
        yield {"Name": query["arg"][0], "Value": ""}

    def _provide_once(self, query: Query, file: File) -> Iterator[Any]:
        yield from self._provide(query, file)

    def _routing_provide(self, query: Query, file: File) -> Iterator[Any]:
        list(self._provide(query, file))
        yield from ()

    def _provide(self, query: Query, file: File) -> Iterator[Any]:
        if not self.online:
            raise Fail(ONLINE_ONLY)
        for name in _arguments(query, file):
            if _cid(name)[2:] not in self.blocks:
                raise Fail(f"block {name} not found locally, cannot provide")
            self.provided.append(name)
            yield {"Queued": name}

    def _get(self, name: Cid, offline: bool) -> bytes:
        inside = ipld.inlined(name)
        block = self.blocks.get(name[2:]) if inside is None else inside
        if block is None:
            if not offline and self.online:
                self.searched.append(cid.text(name))
            raise Fail(NOT_THERE.format(cid.text(name)))
        return block

    def _walk(
        self, roots: list[Cid], offline: bool, seen: set[Cid] | None = None
    ) -> Iterator[tuple[Cid, bytes]]:
        seen, ahead = set(seen or ()), list(roots)
        while ahead:
            here = ahead.pop()
            if here in seen:
                continue
            seen.add(here)
            block = self._get(here, offline)
            yield here, block
            ahead.extend(cidtext.known(link) for link in ipld.links(here, block))


def _complaint(before: bytes | None, said: str) -> str:
    """Say of a CAR what the real one says."""
    if "is not known to name these bytes" in said:
        said = f"mismatch in content integrity, expected: {said.split()[0]}, got: another"
    elif "ends in the midst" in said:
        said = "unexpected EOF"
    else:
        return f"invalid header: {said}"
    return (
        f'import failed after block "{cidtext.text(before)}": {said}'
        if before
        else f"import failed: {said}"
    )


def _cid(name: str) -> Cid:
    try:
        return cidtext.known(cidtext.parse(name))
    except cid.MalformedCid as error:
        raise Fail(f'invalid path "{name}": path does not have enough components') from error


def _arguments(query: Query, file: File) -> list[str]:
    said = [*query.get("arg", []), *b"".join(file or ()).decode().splitlines()]
    if not said:
        raise Refuse(400, 'argument "ipfs-path" is required\n')
    return said
