"""What we publish, taken by real IPFS peers: over HTTP from us, then from each other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from narbor.dag import cachedir
from narbor.names import cid
from tests.fakes import certificate
from tests.peers import boxo, published, registry, suite
from tests.peers.boxo import Counted, Peer, PeerRefused
from tests.peers.published import Published
from tests.peers.suite import Machine

ABSENT: Final = cid.text(cid.raw(b"nobody has this"))
_LINE: Final = re.compile(r'"(\w+) (\S+) HTTP/(\S+)" (\d+) ')


@pytest.fixture(scope="module", autouse=True)
def _needs_boxo() -> None:
    """Skip all of this where the peer cannot be built."""
    boxo.need()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Publish a small store."""
    return published.make(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def first(store: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Run a peer that took all from us over HTTP, and the record too; we are gone since."""
    state = tmp_path_factory.mktemp("first")
    with store.serve(state) as server, boxo.running(state / "peer", router=server.url) as peer:
        peer.pin(store.root)
        peer.put_name(store.name, store.record)
        server.stop()
        yield peer


def asked(log: Path) -> list[tuple[str, str, str, str]]:
    """Read the access log: method, path, version of HTTP, status."""
    return [(m[1], m[2], m[3], m[4]) for m in _LINE.finditer(log.read_text("utf-8"))]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_peer_that_knows_our_router_pins_the_root(
    store: Published, secure: bool, tmp_path: Path
) -> None:
    pem = certificate.make(tmp_path / "both.pem")
    flags = ("--tls-cert", str(pem), "--tls-key", str(pem)) if secure else ()
    with store.serve(tmp_path, *flags) as server:
        url = server.url.replace("http:", "https:") if secure else server.url
        with boxo.running(tmp_path / "peer", router=url, trust=pem) as peer:
            assert peer.count(store.root) == Counted(0, 0, (store.root,))
            assert peer.pin(store.root) == Counted(len(store.blocks), store.size)
            assert peer.pins() == {store.root}
            said = peer.stats()
            # On a busy machine it may ask twice.
            assert said["peers"] == [] and said["received"] >= len(store.blocks)
    lines = asked(tmp_path / "access.log")
    assert {version for _, _, version, _ in lines} == ({"2"} if secure else {"1.1"})
    # Every answer is one that Kubo takes for a good one: nothing is asked for in vain.
    assert {status for _, _, _, status in lines} == {"200"}
    given = [path for method, path, _, _ in lines if method == "GET" and path.startswith("/ipfs/")]
    assert {f"/ipfs/{cid.text(name)}?format=raw" for name in store.blocks} <= set(given)


def test_what_we_have_not_is_not_waited_for(store: Published, tmp_path: Path) -> None:
    with (
        store.serve(tmp_path) as server,
        boxo.running(tmp_path / "peer", router=server.url) as peer,
    ):
        with pytest.raises(PeerRefused) as refused:
            # It looks for providers when nobody has answered for a second.
            peer.pin(ABSENT, seconds=6)
        assert refused.value.status == 504
        assert peer.pins() == set()
        assert peer.get(f"/ipfs/{ABSENT}").status_code == 404
    looked = [
        status
        for _, path, _, status in asked(tmp_path / "access.log")
        if path.startswith(f"/routing/v1/providers/{ABSENT}?")
    ]
    # Nobody is an empty list, not 404.
    assert set(looked) == {"200"}


def test_a_peer_gets_it_from_the_first_by_bitswap_alone(
    store: Published, first: Peer, tmp_path: Path
) -> None:
    sent = first.stats()["sent"]
    with boxo.running(tmp_path / "peer") as second:
        second.connect(first)
        assert second.pin(store.root) == Counted(len(store.blocks), store.size)
        assert second.stats()["peers"] == [first.id]
        assert second.stats()["received"] >= len(store.blocks)
        assert first.stats()["sent"] - sent >= len(store.blocks)
        for item, archive in store.archives.items():
            path = f"/ipfs/{store.root}/nar/{item.seal.digest.nix32}.nar"
            assert second.get(path).content == archive


def test_a_gateway_fetches_our_name_and_what_it_leads_to(store: Published, tmp_path: Path) -> None:
    with (
        store.serve(tmp_path) as server,
        boxo.running(tmp_path / "peer", router=server.url, fetch=True) as peer,
    ):
        info = peer.get(f"/ipns/{store.name}/nix-cache-info")
        assert (info.status_code, info.content) == (200, cachedir.info("/nix/store", 40))
        long = next(item for item in store.items if item.path.name == "long")
        part = peer.get(
            f"/ipns/{store.name}/nar/{long.seal.digest.nix32}.nar", range="bytes=1000-200000"
        )
        assert (part.status_code, part.content) == (206, store.archives[long][1000:200_001])
        # A part is fetched for a part.
        assert 0 < peer.stats()["received"] < 200
        given = peer.get(f"/ipns/{store.name}?format=ipns-record")
        assert given.content == store.record


@pytest.mark.parametrize("name", list(suite.SUITES))
def test_stock_nix_copies_from_its_gateway(
    store: Published, first: Peer, name: str, tmp_path: Path
) -> None:
    top = store.items[-1]
    for space in (f"ipfs/{store.root}", f"ipns/{store.name}"):
        machine = Machine(suite.need(name), tmp_path / space[:4], {})
        machine.configure(trusted_public_keys=store.public_key, require_sigs="true")
        registry.ran(name, machine.nix_version())
        machine.run("nix", "copy", "--from", f"{first.gateway}/{space}", str(top.path))
        machine.run("nix", "store", "verify", "--recursive", "--sigs-needed", "1", str(top.path))
        here = machine.run("nix-store", "--query", "--requisites", str(top.path)).split()
        assert set(here) == {str(item.path) for item in store.items}
        other = Machine(suite.need(name), tmp_path / f"{space[:4]}-other", {})
        other.configure(trusted_public_keys=f"test-1:{'A' * 43}=", require_sigs="true")
        done = other.attempt("nix", "copy", "--from", f"{first.gateway}/{space}", str(top.path))
        assert done.returncode != 0
        assert "signature" in done.stderr
