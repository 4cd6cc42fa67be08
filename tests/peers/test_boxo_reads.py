"""What a real IPFS peer makes of our CARs, and what it serves of them: ours, byte for byte."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx
import pytest

from narbor.formats import car, dagcbor
from narbor.formats.dagcbor import Link
from narbor.names import cid
from narbor.names.cid import Cid
from tests.peers import boxo, published
from tests.peers.boxo import Counted, Peer, PeerRefused
from tests.peers.published import Published


@pytest.fixture(scope="module", autouse=True)
def _needs_boxo() -> None:
    """Skip all of this where the peer cannot be built."""
    boxo.need()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Publish a small store."""
    return published.make(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def ours(store: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve the store."""
    with (
        store.serve(tmp_path_factory.mktemp("serve")) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def whole(store: Published, ours: httpx.Client) -> bytes:
    """Fetch all below the root as one CAR."""
    return ours.get(f"/ipfs/{store.root}?format=car").content


@pytest.fixture(scope="module")
def peer(whole: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Run a peer that began with that CAR. No test takes anything away from it."""
    state = tmp_path_factory.mktemp("peer")
    (state / "whole.car").write_bytes(whole)
    with boxo.running(state, state / "whole.car") as running:
        yield running


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Peer]:
    """Run a peer that has nothing and knows nobody."""
    with boxo.running(tmp_path / "peer") as running:
        yield running


def read(content: bytes) -> dict[Cid, bytes]:
    """Read the blocks of a CAR."""
    return {block.cid: block.data for block in car.read([content]).blocks}


def document(content: bytes) -> Cid:
    """Name a block of DAG-CBOR."""
    return Cid(bytes([1, cid.DAG_CBOR]) + cid.raw(content)[2:])


def places(store: Published) -> dict[str, str]:
    """Return paths below the root to things of every form."""
    names = {item.path.name: item for item in store.items}
    tree = f"/items/{names['tree'].path.base}"
    archives = {f"{name}.nar": f"/nar/{names[name].seal.digest.nix32}.nar" for name in names}
    return archives | {
        "root": "",
        "info": "/nix-cache-info",
        "narinfo": f"/{names['long'].path.hash_part}.narinfo",
        "sharded": "/items",
        "executable": f"/items/{names['big'].path.base}",
        "tree": tree,
        "link": f"{tree}/z/link",
        "odd": f"{tree}/100%25%20sure%3F",
        "letter": f"{tree}/%C3%BC",
        "hollow": f"{tree}/empty",
    }


def test_our_cars_are_whole_for_it(store: Published, peer: Peer) -> None:
    assert peer.count(store.root) == Counted(len(store.blocks), store.size)
    assert peer.pin(store.root, seconds=10) == Counted(len(store.blocks), store.size)
    assert peer.stats()["received"] == 0


def test_a_car_that_is_handed_in(store: Published, whole: bytes, empty: Peer) -> None:
    said = empty.imports([whole])
    assert (said.roots, said.blocks, said.size) == ((store.root,), len(store.blocks), store.size)
    assert empty.pins() == set()
    empty.pin(store.root, seconds=10)
    assert empty.pins() == {store.root}
    empty.unpin(store.root)
    assert empty.pins() == set()


def test_a_removed_block_is_missed(store: Published, whole: bytes, empty: Peer) -> None:
    empty.imports([whole])
    big = next(item for item in store.items if item.path.name == "big")
    path = f"/ipfs/{store.root}/nar/{big.seal.digest.nix32}.nar"
    roots = empty.get(f"{path}?format=raw").headers["x-ipfs-roots"].split(",")
    lost = max(
        (name for name in read(empty.get(f"{path}?format=car").content) if name[1] == cid.RAW),
        key=lambda name: len(store.blocks[name]),
    )
    empty.drop(cid.text(lost))
    assert not empty.has(cid.text(lost))
    assert empty.count(store.root).missing == (cid.text(lost),)
    assert empty.count(roots[-1]).missing == (cid.text(lost),)
    assert empty.get(f"/ipfs/{cid.text(lost)}?format=raw").status_code == 404
    with pytest.raises(PeerRefused):
        empty.pin(store.root, seconds=1)
    # What stands beside it is whole.
    other = next(item for item in store.items if item.path.name == "long")
    beside = empty.get(f"/ipfs/{store.root}/nar/{other.seal.digest.nix32}.nar")
    assert beside.content == store.archives[other]
    empty.imports(car.write([], [(lost, store.blocks[lost])]))
    assert empty.count(store.root) == Counted(len(store.blocks), store.size)


def test_a_lie_in_a_car_is_refused(store: Published, empty: Peer) -> None:
    name, block = next((name, data) for name, data in store.blocks.items() if data)
    with pytest.raises(PeerRefused) as refused:
        empty.imports(car.write([name], [(name, block[:-1] + bytes([block[-1] ^ 1]))]))
    assert refused.value.status == 400
    assert not empty.has(cid.text(name))


def test_raw_blocks_are_ours(store: Published, ours: httpx.Client, peer: Peer) -> None:
    with httpx.Client(base_url=peer.gateway, trust_env=False, timeout=60) as theirs:
        for name in Random(1).sample(sorted(store.blocks), 200):
            path = f"/ipfs/{cid.text(name)}?format=raw"
            here, there = ours.get(path), theirs.get(path)
            assert here.content == there.content == store.blocks[name]
            for header in ("content-type", "etag", "cache-control", "x-ipfs-path", "x-ipfs-roots"):
                assert here.headers[header] == there.headers[header]


@pytest.mark.parametrize(
    "query",
    [
        "dag-scope=block",
        "dag-scope=entity",
        "dag-scope=all",
        "dag-scope=all&car-dups=y",
        # By the specification a range means the entity; boxo wants to be told so.
        "dag-scope=entity&entity-bytes=0:0",
        "dag-scope=entity&entity-bytes=1000:300000",
        "dag-scope=entity&entity-bytes=-5000:*",
    ],
)
def test_cars_are_ours_to_the_byte(
    query: str, store: Published, ours: httpx.Client, peer: Peer
) -> None:
    for what, path in places(store).items():
        if "dups" in query and what in ("root", "sharded"):
            continue  # thousands of items have the same blocks
        asked = f"/ipfs/{store.root}{path}?format=car&{query}"
        here, there = ours.get(asked), peer.get(asked)
        assert (here.status_code, there.status_code) == (200, 200)
        assert there.content == here.content, asked
        blocks = read(there.content)
        assert blocks
        assert all(store.blocks[name] == block for name, block in blocks.items())


def test_files_are_ours(store: Published, ours: httpx.Client, peer: Peer) -> None:
    for what, path in places(store).items():
        if what in ("root", "sharded", "tree", "hollow"):
            continue
        asked = f"/ipfs/{store.root}{path}"
        here, there = ours.get(asked), peer.get(asked)
        assert (there.status_code, there.content) == (200, here.content), what
        assert there.headers["etag"] == here.headers["etag"]
        assert there.headers["x-ipfs-roots"] == here.headers["x-ipfs-roots"]
    for path in (f"/ipfs/{store.root}/nothing", f"/ipfs/{store.root}/items/nothing/below"):
        assert ours.get(path).status_code == peer.get(path).status_code == 404


@pytest.mark.parametrize("name", ["first", "long", "big", "empty", "tree"])
def test_parts_of_files_are_ours(
    name: str, store: Published, ours: httpx.Client, peer: Peer
) -> None:
    item = next(item for item in store.items if item.path.name == name)
    path = f"/ipfs/{store.root}/nar/{item.seal.digest.nix32}.nar"
    whole = store.archives[item]
    chosen, size = Random(name), len(whole)
    ends = [sorted((chosen.randrange(size), chosen.randrange(size))) for _ in range(12)]
    parts = [(f"bytes={first}-{last}", whole[first : last + 1]) for first, last in ends]
    parts += [(f"bytes={first}-", whole[first:]) for first, _ in ends]
    parts += [(f"bytes=-{last + 1}", whole[-last - 1 :]) for _, last in ends]
    # Of an end that lies behind the file's, as much as there is.
    parts.append((f"bytes={size - 5}-{size + 5}", whole[-5:]))
    for asked, part in parts:
        here, there = ours.get(path, headers={"range": asked}), peer.get(path, range=asked)
        assert (here.status_code, there.status_code) == (206, 206), asked
        assert here.content == part, asked
        assert there.content == part, asked
        assert here.headers["content-range"] == there.headers["content-range"]
    behind = f"bytes={size}-"
    assert ours.get(path, headers={"range": behind}).status_code == 416
    assert peer.get(path, range=behind).status_code == 416


def test_documents_of_dag_cbor_and_what_they_link_to(empty: Peer) -> None:
    leaf, lost = cid.raw(b"leaf"), cid.raw(b"lost")
    low = dagcbor.encode({"leaf": Link(leaf), "n": [1, -2, None, True, b"x", "é"]})
    name = document(low)
    top = dagcbor.encode({"all": [Link(name), Link(lost)], "again": Link(name)})
    root = document(top)
    blocks = {root: top, name: low, leaf: b"leaf"}
    said = empty.imports(car.write([root], blocks.items()))
    assert (said.roots, said.blocks) == ((cid.text(root),), 3)
    size = sum(map(len, blocks.values()))
    assert empty.count(cid.text(root)) == Counted(3, size, (cid.text(lost),))
    empty.imports(car.write([], [(lost, b"lost")]))
    assert empty.pin(cid.text(root), seconds=10) == Counted(4, size + 4)
    given = empty.get(f"/ipfs/{cid.text(root)}?format=car")
    assert read(given.content) == blocks | {lost: b"lost"}
    given = empty.get(f"/ipfs/{cid.text(name)}?format=dag-cbor")
    assert given.content == low
