"""A small store with all kinds of shapes in it, published, for peers that read it."""

import sysconfig
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

from narbor.doors import http
from narbor.doors.http import Request
from narbor.doors.ipfs import IpfsDoor
from narbor.formats import car, ipns, nar
from narbor.library import Library
from narbor.library.dags import Dags
from narbor.names import cid, peerkey
from narbor.names.cid import Cid
from narbor.names.item import Item
from narbor.names.peerkey import PeerKey
from narbor.tasks.publish import naming
from narbor.tasks.publish.naming import Lasting
from tests.library.store import believed, file_nar, opened
from tests.peers import servers
from tests.tasks.test_collect import archive, put
from tests.tasks.test_publish import KEY, published, record

# Full of store paths: cut at each of them, so that its archive has more than 1,024 links.
LONG: Final = b"".join(b"%d /nix/store/%032d-x\n" % (n, n) for n in range(9_000))
BIG: Final = Random("big").randbytes(5 << 20)
CROWD: Final = 3000  # items: enough for the directories to be sharded


@dataclass(frozen=True, slots=True)
class Published:
    """A store in `narbor.home`, its root and its name; `archives` are the NARs of `items`.

    `blocks` are all that hang from the root. `items` refer to each other: the last to all.
    """

    narbor: servers.Narbor
    root: str
    name: str
    record: bytes = field(repr=False)
    public_key: str
    items: tuple[Item, ...]
    archives: Mapping[Item, bytes] = field(repr=False)
    blocks: Mapping[Cid, bytes] = field(repr=False)

    @property
    def size(self) -> int:
        """How many bytes all blocks have together."""
        return sum(map(len, self.blocks.values()))

    def serve(self, state: Path, *flags: str) -> servers.Server:
        """Make a server of this store that notes all requests in `state`/access.log."""
        program = Path(sysconfig.get_path("scripts"), "narbor")
        port = servers.free_port()
        argv = (str(program), "--home", str(self.narbor.home), "serve")
        state.mkdir(parents=True, exist_ok=True)
        log = ("--access-log", str(state / "access.log"))
        listen = ("--listen", f"127.0.0.1:{port}")
        return servers.Server((*argv, *listen, *log, *flags), port, state / "server.log")


def make(folder: Path) -> Published:
    """Make the store below `folder`."""
    home = folder / "home"
    folder.mkdir(parents=True, exist_ok=True)
    with opened(home) as library:
        archives = dict(_items(library))
        items = tuple(archives)
        record(library, *_crowd(items[0]))
        root = published(library).root
        key = PeerKey(bytes(32))
        value = f"/ipfs/{cid.text(root)}".encode()
        naming.name(library, key, value, time.time_ns(), Lasting(ipns.HOUR, ipns.MINUTE))
        kept = Dags(library).record(key.name)
        assert kept is not None
        found = car.read(_car(library, root)).blocks
        return Published(
            servers.Narbor(home),
            cid.text(root),
            peerkey.text(key.name),
            kept,
            str(KEY.public),
            items,
            archives,
            {block.cid: block.data for block in found},
        )


def _items(library: Library) -> Iterator[tuple[Item, bytes]]:
    """Admit items of several forms, each with its NAR; the last refers to all."""
    first = put(library, "first", 1)
    yield first, archive("first", 1)
    made = [first]
    for name, whole in (
        ("long", file_nar(LONG)),
        ("big", file_nar(BIG, executable=True)),
        ("empty", file_nar(b"")),
        ("tree", _tree()),
    ):
        claim = believed(name, whole, [item.path.base for item in made])
        item = library.admit(claim, [whole], "test")
        library.commit()
        made.append(item)
        yield item, whole


def _tree() -> bytes:
    """A NAR with folders, links, and names that have to be escaped."""
    events: list[nar.Event[bytes]] = [nar.Directory(b""), *_file(b"100% sure?", b"#")]
    events += [*_file(b"a b", b"blank"), nar.Directory(b"empty"), nar.END]
    events += [nar.Directory(b"z"), nar.Symlink(b"link", b"../a b"), nar.END]
    events += [*_file("ü".encode(), b"two"), nar.END]
    return b"".join(nar.write(events))


def _file(name: bytes, content: bytes) -> list[nar.Event[bytes]]:
    return [nar.File(name, False, len(content)), nar.Data(content)]


def _crowd(item: Item) -> Iterator[Item]:
    """Items that have the blocks of another one: only their narinfos are their own."""
    for number in range(CROWD):
        path = replace(item.path, hash_part=f"{number:032}", name=f"other{number}")
        yield replace(item, path=path)


def _car(library: Library, root: Cid) -> Iterator[bytes]:
    """Give all below a root as the gateway does."""
    door = IpfsDoor(Dags(library), time.time_ns)
    answer = http.ask([door], Request("GET", f"/ipfs/{cid.text(root)}", "format=car"))
    assert isinstance(answer.body, Iterator)
    yield from answer.body
