"""A peer finds the root at our router, and takes all below it from whoever has the root."""

from pathlib import Path

import httpx

from narbor.names import cid
from tests.peers import boxo, published
from tests.peers.boxo import Counted
from tests.peers.test_boxo import asked


def test_to_own_up_to_roots_is_enough(tmp_path: Path) -> None:
    boxo.need()
    store = published.make(tmp_path / "store")
    (store.narbor.home / "narbor.toml").write_text('[ipfs]\nannounce = "roots"\n')
    ours = (root for each in store.items for root in (each.tree, each.archive))
    # What stands in its CID, everybody has.
    roots = {store.root, *(cid.text(root) for root in ours if cid.inlined(root) is None)}
    with store.serve(tmp_path) as server, boxo.running(tmp_path / "p", router=server.url) as peer:
        assert peer.pin(store.root) == Counted(len(store.blocks), store.size)
        some = {*roots, *map(cid.text, sorted(store.blocks)[:300])}
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            paths = {name: f"/routing/v1/providers/{name}" for name in some}
            told = {n for n, path in paths.items() if client.get(path).json()["Providers"]}
    assert told == roots
    given = {path for _, path, _, _ in asked(tmp_path / "access.log") if path.startswith("/ipfs/")}
    assert {f"/ipfs/{cid.text(name)}?format=raw" for name in store.blocks} <= given
