"""Kubo as a holder: what is more than every holder promises."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.errors import Unavailable
from narbor.formats import dagcbor
from narbor.formats.dagcbor import Link
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from narbor.net.kubo import Kubo
from narbor.net.kuborpc import Full, Unsupported
from narbor.net.wire import Lost, Options
from narbor.pins import Incomplete
from narbor.pins.kubo import BadName, KuboHolder
from tests.fakes.dag import Dag, Tree
from tests.fakes.kubo import FakeKubo
from tests.peers import ipfs as peer

QUICK = Options(attempts=1)
NAME = "narbor/cache"


@pytest.fixture
def daemon() -> Iterator[FakeKubo]:
    with FakeKubo() as made:
        yield made
        assert made.searched == []


@pytest.fixture
def holder(daemon: FakeKubo) -> Iterator[KuboHolder]:
    made = KuboHolder(Kubo(daemon.url, QUICK), batch=1000)
    yield made
    made.close()


def dag(tree: Tree, largest: int = 1 << 18) -> tuple[Cid, dict[Cid, bytes]]:
    made = Dag()
    root, _ = made.tree(tree, largest)
    return root, made.kept


def cache(*numbers: int) -> Tree:
    """A cache's directory with these items, whose folders are sharded."""
    return {
        b"nix-cache-info": b"StoreDir: /nix/store\n",
        **{b"%032d.narinfo" % number: b"narinfo %d" % number for number in numbers},
        b"nar": {b"%052d.nar" % number: b"nar %d " % number * 100 for number in numbers},
        b"items": {b"%032d-x" % number: {b"bin": b"%d" % number} for number in numbers},
    }


def test_blocks_go_in_cars_of_a_bounded_size(daemon: FakeKubo, holder: KuboHolder) -> None:
    blocks = [(cid.raw(data), data) for data in (b"%d" % n * 100 for n in range(100, 200))]
    holder.take(iter(blocks))
    assert daemon.asked["dag/import"] == 25
    assert holder.missing([name for name, _ in blocks]) == set()


def test_what_is_cut_off_goes_on_with_the_rest(daemon: FakeKubo, holder: KuboHolder) -> None:
    blocks = {cid.raw(data): data for data in (b"%d" % n * 100 for n in range(100, 200))}
    daemon.cut = 10_000
    with pytest.raises(Lost):
        holder.take(blocks.items())
    rest = holder.missing(sorted(blocks))
    assert 0 < len(rest) <= 80
    holder.take((name, blocks[name]) for name in rest)
    assert holder.missing(sorted(blocks)) == set()


def test_a_full_disk(daemon: FakeKubo, holder: KuboHolder) -> None:
    daemon.room = 5000
    with pytest.raises(Full):
        holder.take((cid.raw(data), data) for data in (b"%d" % n * 100 for n in range(100, 200)))


def test_only_what_differs_is_walked(daemon: FakeKubo, holder: KuboHolder) -> None:
    (old, older), (new, newer) = dag(cache(*range(300)), 3000), dag(cache(*range(301)), 3000)
    holder.take(older.items())
    holder.keep(NAME, old)
    assert daemon.walked == [cid.text(old)]
    rest = holder.missing(sorted(newer))
    assert len(rest) < 20
    holder.take((name, newer[name]) for name in rest)
    daemon.walked.clear()
    gets = daemon.asked["block/get"]
    holder.keep(NAME, new)
    assert holder.kept(NAME) == new
    assert 0 < len(daemon.walked) < 10
    assert {cidtext.parse(name) for name in daemon.walked} <= rest
    assert daemon.asked["block/get"] - gets < 30
    assert list(daemon.pins.values()) == [NAME]


def test_a_lack_far_below_is_found(daemon: FakeKubo, holder: KuboHolder) -> None:
    (old, older), (new, newer) = dag(cache(*range(300)), 3000), dag(cache(*range(305)), 3000)
    holder.take(older.items())
    holder.keep(NAME, old)
    holder.take(newer.items())
    for lost in sorted(set(newer) - set(older)):
        daemon.lose(lost)
        with pytest.raises(Incomplete, match=cid.text(lost)):
            holder.keep(NAME, new)
        assert holder.kept(NAME) == old
        holder.take([(lost, newer[lost])])
    holder.keep(NAME, new)
    assert holder.kept(NAME) == new


NAMES = st.binary(min_size=1, max_size=3)
TREES = st.recursive(
    st.binary(max_size=600),
    lambda below: st.dictionaries(NAMES, below, max_size=6),
    max_leaves=12,
)
FOLDERS = st.dictionaries(NAMES, TREES, min_size=1, max_size=6)


@settings(max_examples=40)
@given(FOLDERS, FOLDERS, st.integers(100, 600), st.data())
def test_no_lack_is_missed(old: Tree, new: Tree, largest: int, data: st.DataObject) -> None:
    (first, older), (second, newer) = dag(old, largest), dag(new, largest)
    with FakeKubo() as daemon:
        holder = KuboHolder(Kubo(daemon.url, QUICK))
        holder.take(older.items())
        holder.keep(NAME, first)
        holder.take(newer.items())
        fresh = sorted(set(newer) - set(older))
        lost = data.draw(st.none() | st.sampled_from(fresh)) if fresh else None
        if lost is None:
            holder.keep(NAME, second)
            assert holder.kept(NAME) == second
        else:
            daemon.lose(lost)
            with pytest.raises(Incomplete):
                holder.keep(NAME, second)
            assert holder.kept(NAME) == first
        assert daemon.searched == []
        holder.close()


@pytest.mark.parametrize("theirs", ["", "mine", "narbor/cache2"])
def test_pins_of_others_are_left_alone(daemon: FakeKubo, holder: KuboHolder, theirs: str) -> None:
    (root, blocks), (new, newer) = dag({b"a": b"one"}), dag({b"a": b"two"})
    holder.take((blocks | newer).items())
    daemon.pins[cid.text(root)] = theirs
    holder.keep(NAME, root)
    assert holder.kept(NAME) == root
    assert daemon.pins[cid.text(root)] == theirs
    (sign,) = (name for name, title in daemon.pins.items() if title == NAME)
    block = daemon.blocks[cidtext.parse(sign)[2:]]
    assert dagcbor.decode(block) == {"kept": Link(root), "name": NAME}
    holder.keep(NAME, root)
    assert len(daemon.pins) == 2
    holder.keep(NAME, new)
    assert daemon.pins == {cid.text(root): theirs, cid.text(new): NAME}


def test_what_others_pinned_may_lack_blocks(daemon: FakeKubo, holder: KuboHolder) -> None:
    root, blocks = dag({b"a": b"one" * 200})
    holder.take(blocks.items())
    daemon.pins[cid.text(root)] = "mine"
    daemon.lose(next(name for name in blocks if cid.codec(name) == cid.RAW))
    with pytest.raises(Incomplete):
        holder.keep(NAME, root)
    assert daemon.pins == {cid.text(root): "mine"}


def test_the_sign_is_as_its_page_says(daemon: FakeKubo, holder: KuboHolder) -> None:
    page = Path(__file__).parents[2] / "docs" / "formats" / "kept-elsewhere.md"
    root, block, sign = re.findall(r"^\| \w+ \| `(\w+)` \|$", page.read_text("utf-8"), re.M)
    daemon.pins[root] = "mine"
    holder.keep(NAME, cid.parse(root))
    assert daemon.pins == {root: "mine", sign: NAME}
    assert daemon.blocks[cid.parse(sign)[2:]].hex() == block


def test_what_an_interrupted_run_left_is_tidied(daemon: FakeKubo, holder: KuboHolder) -> None:
    (old, older), (new, newer) = dag({b"a": b"one"}), dag({b"a": b"two"})
    holder.take((older | newer).items())
    daemon.pins |= {cid.text(old): NAME, cid.text(new): NAME}
    assert holder.kept(NAME) in (old, new)
    holder.keep(NAME, new)
    assert daemon.pins == {cid.text(new): NAME}


def test_a_pin_by_an_old_spelling_is_let_go(daemon: FakeKubo, holder: KuboHolder) -> None:
    (old, older), (new, newer) = dag({b"a": b"one"}), dag({b"a": b"two"})
    holder.take((older | newer).items())
    spelling = cidtext.text(old[2:])
    assert spelling.startswith("Qm")
    daemon.pins[spelling] = NAME
    assert holder.kept(NAME) == old
    holder.keep(NAME, new)
    assert daemon.pins == {cid.text(new): NAME}


def test_a_name_whose_sign_is_lost_is_kept_anew(daemon: FakeKubo, holder: KuboHolder) -> None:
    root, blocks = dag({b"a": b"one"})
    holder.take(blocks.items())
    daemon.pins[cid.text(root)] = "mine"
    holder.keep(NAME, root)
    (sign,) = (name for name, title in daemon.pins.items() if title == NAME)
    daemon.lose(cidtext.known(cidtext.parse(sign)))
    assert holder.kept(NAME) is None
    holder.keep(NAME, root)
    assert holder.kept(NAME) == root


def test_roots_of_other_codecs(holder: KuboHolder) -> None:
    leaf = cid.raw(b"leaf")
    block = dagcbor.encode({"name": NAME, "kept": 5, "more": [Link(leaf)]})
    root = Cid(bytes((1, cid.DAG_CBOR)) + cid.raw(block)[2:])
    holder.take([(root, block)])
    with pytest.raises(Incomplete):
        holder.keep(NAME, root)
    holder.take([(leaf, b"leaf")])
    holder.keep(NAME, root)
    assert holder.kept(NAME) == root


@pytest.mark.parametrize("name", ["", "x" * 256, "ä" * 128])
def test_names_that_no_pin_can_have(holder: KuboHolder, name: str) -> None:
    with pytest.raises(BadName):
        holder.keep(name, cid.raw(b""))
    with pytest.raises(BadName):
        holder.kept(name)


def test_roots_are_announced_where_it_is_told(daemon: FakeKubo) -> None:
    holder = KuboHolder(Kubo(daemon.url, QUICK), announce=True)
    root, blocks = dag({b"a": b"one"})
    holder.take(blocks.items())
    with pytest.raises(Incomplete):
        holder.keep(NAME, cid.raw(b"lost"))
    assert daemon.provided == []
    holder.keep(NAME, root)
    holder.keep(NAME, root)
    assert daemon.provided == [cid.text(root)]
    holder.close()


def test_a_daemon_that_can_tell_nobody_keeps_the_root() -> None:
    root, blocks = dag({b"a": b"a"})
    with FakeKubo(online=False) as daemon:
        holder = KuboHolder(Kubo(daemon.url, QUICK), announce=True)
        holder.take(blocks.items())
        holder.keep(NAME, root)
        assert holder.kept(NAME) == root
        assert daemon.asked["provide/once"] and daemon.provided == []
        holder.close()


def test_a_daemon_that_is_too_old() -> None:
    with FakeKubo("0.22.0") as daemon:
        kubo = Kubo(daemon.url, QUICK)
        with pytest.raises(Unsupported, match=r"0\.22\.0 is too old"):
            KuboHolder(kubo)
        kubo.close()


def test_a_daemon_with_peers_is_not_made_to_ask_them(tmp_path: Path) -> None:
    (old, older), (new, newer) = dag(cache(*range(20))), dag(cache(*range(21)))
    with peer.daemon(tmp_path / "rich") as rich, peer.daemon(tmp_path / "poor") as poor:
        source, holder = (KuboHolder(Kubo(each.url, QUICK)) for each in (rich, poor))
        source.take((older | newer).items())
        poor.run("swarm", "connect", rich.address())
        holder.take(older.items())
        holder.keep(NAME, old)
        lost = next(name for name in newer if name not in older and cid.codec(name) == cid.RAW)
        for root, known in ((old, older), (new, newer)):
            holder.take((name, block) for name, block in known.items() if name != lost)
            if root == new:
                with pytest.raises(Incomplete):
                    holder.keep(NAME, root)
                with pytest.raises(Incomplete):
                    holder.keep("another name", root)
        assert holder.missing(sorted(newer)) == {lost}
        # They do reach each other: a pin by the daemon's own means fetches what is lost.
        poor.run("pin", "add", cid.text(new))
        assert holder.missing(sorted(newer)) == set()
        source.close()
        holder.close()


def test_the_real_one_says_that_it_is_gone(tmp_path: Path) -> None:
    with peer.daemon(tmp_path / "ipfs") as daemon:
        holder = KuboHolder(Kubo(daemon.url, QUICK))
    with pytest.raises(Unavailable):
        holder.kept(NAME)
    holder.close()
