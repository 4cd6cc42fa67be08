"""What every Holder promises, run over each of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from narbor.blocks.index import Index, key_of
from narbor.errors import Rejected, Unavailable
from narbor.formats import ipld, unixfs
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.net.kubo import Kubo
from narbor.pins import MOST_ASKED, Block, Holder, Incomplete
from narbor.pins.carfolder import CarFolder
from narbor.pins.kubo import KuboHolder
from narbor.pins.narbor import NarborHolder
from narbor.pins.shelf import Folder
from tests.fakes.dag import Dag, Tree
from tests.fakes.holder import FakeHolder
from tests.fakes.kubo import FakeKubo
from tests.peers import ipfs as peer
from tests.serve.pushing import pushed


@dataclass(frozen=True, slots=True)
class Held:
    """A holder, and a way to lose one of its blocks behind its back."""

    holder: Holder
    lose: Callable[[Cid], None]


@contextmanager
def memory(_: Path) -> Iterator[Held]:
    """In memory."""
    holder = FakeHolder()
    yield Held(holder, holder.lose)


@contextmanager
def kubo(_: Path) -> Iterator[Held]:
    """A daemon of Kubo that is none, online; it is never made to search."""
    with FakeKubo() as daemon:
        yield Held(KuboHolder(Kubo(daemon.url)), daemon.lose)
        assert daemon.searched == []


@contextmanager
def ipfs(folder: Path) -> Iterator[Held]:
    """A real daemon of Kubo, which is online, but has nobody to ask."""
    with peer.daemon(folder / "ipfs") as daemon:
        holder = KuboHolder(Kubo(daemon.url))
        yield Held(holder, lambda name: daemon.lose(name[2:]))


@contextmanager
def cars(folder: Path) -> Iterator[Held]:
    """A folder of CARs, read through each time it is asked."""

    def lose(name: Cid) -> None:
        for file in folder.glob("cars/*.car"):
            data = file.read_bytes()
            at = data.find(name)
            if at >= 0:
                file.write_bytes(data[: at + 4] + bytes(32) + data[at + len(name) :])

    yield Held(CarFolder(Folder(folder / "cars", whole=True), thorough=True), lose)


@contextmanager
def narbor(folder: Path, tls: bool = False) -> Iterator[Held]:
    """Another narbor, over HTTP."""
    with pushed(folder, tls) as server, server.client() as http:

        def lose(name: Cid) -> None:
            index = Index(server.home / "index.sqlite", True)
            with index.writing() as link:
                link.execute("DELETE FROM block WHERE key = ?", (key_of(name),))
            index.close()

        yield Held(NarborHolder(http, server.url), lose)


@contextmanager
def narbor_tls(folder: Path) -> Iterator[Held]:
    """The same over HTTP/2 and TLS."""
    with narbor(folder, True) as held:
        yield held


Maker = Callable[[Path], AbstractContextManager[Held]]
MAKERS: dict[str, Maker] = {
    "memory": memory,
    "cars": cars,
    "kubo": kubo,
    "ipfs": ipfs,
    "narbor": narbor,
    "narbor, TLS": narbor_tls,
}


@pytest.fixture(params=MAKERS)
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Held]:
    """Give each holder in turn."""
    with MAKERS[request.param](tmp_path) as made:
        yield made
        made.holder.close()


@pytest.fixture
def holder(held: Held) -> Holder:
    """The holder alone."""
    return held.holder


def dag(tree: Tree) -> tuple[Cid, dict[Cid, bytes]]:
    """Make a DAG; return its root and blocks."""
    made = Dag()
    root, _ = made.tree(tree)
    return root, made.kept


FIRST: Tree = {b"a": b"one" * 1000, b"b": {b"c": b"two" * 300}}
SECOND: Tree = {b"a": b"one" * 1000, b"b": {b"c": b"three" * 300}}


def test_what_is_given_is_there(holder: Holder) -> None:
    root, blocks = dag(FIRST)
    names = sorted(blocks)
    assert holder.missing(names) == set(names)
    holder.take(blocks.items())
    assert holder.missing(names) == set()
    other = cid.raw(b"never given")
    assert holder.missing([*names, other, root]) == {other}


def test_nothing_asked_and_nothing_given(holder: Holder) -> None:
    assert holder.missing([]) == set()
    holder.take([])
    assert holder.kept("nothing") is None


def test_the_inventory_has_what_was_given(holder: Holder) -> None:
    blocks = dag(FIRST)[1]
    holder.take(blocks.items())
    found = holder.inventory()
    if found is not None:
        assert {name[2:] for name in blocks} <= {name[-34:] for name in found}


def test_a_root_is_kept_under_its_name(holder: Holder) -> None:
    root, blocks = dag(FIRST)
    holder.take(blocks.items())
    assert holder.kept("narbor/cache") is None
    holder.keep("narbor/cache", root)
    assert holder.kept("narbor/cache") == root
    holder.keep("narbor/cache", root)
    assert holder.kept("narbor/cache") == root
    assert holder.kept("narbor") is None
    assert holder.kept("narbor/cache/") is None


def test_a_new_root_lets_go_of_the_old(holder: Holder) -> None:
    (old, older), (new, newer) = dag(FIRST), dag(SECOND)
    holder.take(older.items())
    holder.keep("name", old)
    rest = holder.missing(sorted(newer))
    assert rest < set(newer)
    holder.take((name, newer[name]) for name in sorted(rest))
    holder.keep("name", new)
    assert holder.kept("name") == new
    assert holder.missing(sorted(newer)) == set()
    holder.take(older.items())
    holder.keep("name", old)
    assert holder.kept("name") == old


def test_names_are_apart(holder: Holder) -> None:
    (one, first), (two, second) = dag(FIRST), dag(SECOND)
    holder.take((first | second).items())
    holder.keep("narbor/one", one)
    holder.keep("narbor/two", two)
    assert (holder.kept("narbor/one"), holder.kept("narbor/two")) == (one, two)
    holder.keep("narbor/one", two)
    assert (holder.kept("narbor/one"), holder.kept("narbor/two")) == (two, two)
    holder.keep("narbor/one", one)
    assert (holder.kept("narbor/one"), holder.kept("narbor/two")) == (one, two)


def test_what_is_incomplete_is_not_kept(holder: Holder) -> None:
    (old, older), (new, newer) = dag(FIRST), dag(SECOND)
    lost = next(name for name in newer if name not in older and cid.codec(name) == cid.RAW)
    holder.take((name, data) for name, data in newer.items() if name != lost)
    with pytest.raises(Incomplete):
        holder.keep("name", new)
    assert holder.kept("name") is None
    holder.take(older.items())
    holder.keep("name", old)
    with pytest.raises(Incomplete):
        holder.keep("name", new)
    assert holder.kept("name") == old
    with pytest.raises(Incomplete):
        holder.keep("name", cid.node(b"never given"))
    assert holder.kept("name") == old
    holder.take([(lost, newer[lost])])
    holder.keep("name", new)
    assert holder.kept("name") == new


def test_a_block_that_is_lost_is_found_to_be(held: Held) -> None:
    root, blocks = dag(FIRST)
    held.holder.take(blocks.items())
    held.holder.keep("name", root)
    lost = next(name for name in blocks if cid.codec(name) == cid.RAW)
    held.lose(lost)
    assert held.holder.missing(sorted(blocks)) == {lost}
    held.holder.take([(lost, blocks[lost])])
    assert held.holder.missing(sorted(blocks)) == set()


def test_bytes_under_a_wrong_name_are_refused(holder: Holder) -> None:
    good, bad = b"good" * 100, cid.raw(b"bad")
    with pytest.raises(Rejected):
        holder.take([(cid.raw(good), good), (bad, b"worse")])
    assert holder.missing([bad]) == {bad}
    holder.take([(cid.raw(good), good)])
    assert holder.missing([cid.raw(good)]) == set()


def test_duplicates_are_one(holder: Holder) -> None:
    root, blocks = dag({b"a": b"x" * 2000, b"b": b"x" * 2000})
    twice = [*blocks.items(), *blocks.items()]
    holder.take(twice)
    holder.take(twice)
    holder.keep("name", root)
    assert holder.kept("name") == root


def test_blocks_of_a_mebibyte(holder: Holder) -> None:
    blocks = [(cid.raw(data), data) for data in (bytes([n]) * (1 << 20) for n in range(5))]
    links = [(name, len(data), len(data)) for name, data in blocks]
    root = unixfs.file_node(links)
    holder.take([*blocks, (cid.node(root), root)])
    holder.keep("big", cid.node(root))
    assert holder.kept("big") == cid.node(root)
    assert holder.missing([name for name, _ in blocks]) == set()


def test_roots_may_be_leaves_and_leaves_empty(holder: Holder) -> None:
    for data in (b"", b"alone"):
        holder.take([(cid.raw(data), data)])
        holder.keep("leaf", cid.raw(data))
        assert holder.kept("leaf") == cid.raw(data)


def test_identity_cids_are_no_blocks(holder: Holder) -> None:
    inside, leaf = cid.inline(b"short"), b"leaf" * 50
    root = unixfs.file_node([(inside, 5, 5), (cid.raw(leaf), len(leaf), len(leaf))])
    assert ipld.inlined(inside) is not None
    holder.take([(inside, b"short"), (cid.node(root), root), (cid.raw(leaf), leaf)])
    assert holder.missing([inside, cid.node(root)]) == set()
    holder.keep("name", cid.node(root))
    assert holder.kept("name") == cid.node(root)


def test_what_breaks_off_goes_on(holder: Holder) -> None:
    root, blocks = dag(FIRST)

    def half() -> Iterator[Block]:
        yield from list(blocks.items())[::2]
        raise Unavailable("here, the blocks end")

    with pytest.raises(Unavailable, match="here, the blocks end"):
        holder.take(half())
    rest = holder.missing(sorted(blocks))
    holder.take((name, blocks[name]) for name in sorted(rest))
    holder.keep("name", root)
    assert holder.kept("name") == root


def test_many_are_asked_for_at_once(holder: Holder) -> None:
    names = [cid.raw(b"%d" % number) for number in range(MOST_ASKED)]
    holder.take((names[number], b"%d" % number) for number in range(0, MOST_ASKED, 7))
    assert holder.missing(names) == set(names) - set(names[::7])
