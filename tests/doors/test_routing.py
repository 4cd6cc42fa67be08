"""Delegated routing: who has a block, where a peer is, what a name says."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import routing
from narbor.doors.ipfs.routing import RoutingDoor
from narbor.doors.ipfs.withheld import Withheld, hash_of
from narbor.formats import ipns
from narbor.names import cid, cidtext, peerkey, provider
from narbor.names.cid import Cid
from narbor.names.peerkey import PeerKey
from narbor.names.provider import BadAddress
from tests.doors.test_ipfs import CAR, KEY, NOW, RECORD, Records
from tests.fakes.dag import Dag

HERE: Final = "/dns/cache.example/tcp/443/tls/http"
LAN: Final = "/ip4/10.0.0.1/tcp/8642/http"
US: Final = routing.peer_of((HERE, LAN))
ABSENT: Final = cid.text(cid.raw(b"absent"))


class World:
    """A router over a few blocks."""

    def __init__(self, *addresses: str) -> None:
        self.dag = Dag()
        self.leaf = self.dag.put(b"leaf", cid.RAW)
        self.records = Records()
        self.door = RoutingDoor(
            self.dag,
            lambda: NOW,
            addresses,
            address=routing.by_host("http"),
            names=self.records,
        )

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        """Ask."""
        path, _, query = path.partition("?")
        return http.ask([self.door], Request(method, f"/routing/v1/{path}", query, headers or {}))

    def list(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """What a list of records says."""
        answer = self.ask(path, headers)
        assert answer.status == 200
        assert isinstance(answer.body, bytes)
        return json.loads(answer.body)


@pytest.fixture
def world() -> World:
    return World(HERE, LAN)


OURS: Final = {
    "Schema": "peer",
    "ID": peerkey.peer_id(US),
    "Addrs": [HERE, LAN],
    "Protocols": ["transport-ipfs-gateway-http"],
}


def test_who_has_a_block(world: World) -> None:
    for name in (cid.text(world.leaf), "z" + cidtext.base58(world.leaf), "bafkqaaa"):
        assert world.list(f"providers/{name}") == {"Providers": [OURS]}
    assert world.list(f"providers/{ABSENT}") == {"Providers": []}
    assert peerkey.peer_id(US).startswith("12D3KooW")


class Roots:
    """One root."""

    def __init__(self, root: Cid) -> None:
        self._root = root

    def is_root(self, name: Cid) -> bool:
        """Tell whether it is that one."""
        return name == self._root


@pytest.mark.parametrize(
    ("announce", "told"),
    [
        ("roots", ["root"]),
        ("entities", ["root", "node"]),
        ("all", ["root", "node", "leaf", "inline"]),
        ("none", []),
    ],
)
def test_which_blocks_we_own_up_to(
    world: World, announce: provider.Announce, told: list[str]
) -> None:
    blocks = {
        "root": world.dag.put(b"a root that is a leaf", cid.RAW),
        "node": world.dag.put(b"\x0a\x02\x08\x01"),
        "leaf": world.leaf,
        "inline": cidtext.known(cidtext.parse("bafkqaaa")),
    }
    world.door = replace(world.door, announce=announce, roots=Roots(blocks["root"]))
    found = [
        name
        for name, block in blocks.items()
        if world.list(f"providers/{cid.text(block)}")["Providers"]
    ]
    assert found == told
    assert world.list(f"providers/{ABSENT}") == {"Providers": []}


def test_what_is_withheld_is_not_here(world: World) -> None:
    withheld = Withheld(world.dag, frozenset({hash_of(world.leaf)}))
    world.door = replace(world.door, blocks=withheld)
    assert world.list(f"providers/{cid.text(world.leaf)}") == {"Providers": []}


@pytest.mark.parametrize(
    ("said", "address", "host"),
    [
        ("https://a.example", "/dns/a.example/tcp/443/tls/http", "a.example"),
        ("http://[2001:db8::1]:8642", "/ip6/2001:db8::1/tcp/8642/http", "[2001:db8::1]"),
        (HERE, HERE, "cache.example"),
        ("/dns4/a.example/tcp/8443/tls/sni/b.example/http", None, "a.example"),
    ],
)
def test_what_is_told_in_public(said: str, address: str | None, host: str) -> None:
    assert provider.public(said) == (address or said)
    assert provider.host(provider.public(said)) == host


@pytest.mark.parametrize("said", ["/dns/a.example", "/dns/a/udp/1/http", "/x", "a.example", "//"])
def test_what_cannot_be_told(said: str) -> None:
    with pytest.raises(BadAddress):
        provider.public(said)


def test_headers(world: World) -> None:
    answer = world.ask(f"providers/{cid.text(world.leaf)}")
    assert answer.header("content-type") == "application/json"
    assert (answer.header("cache-control") or "").startswith("public, max-age=300")
    assert answer.header("vary") == "Accept"
    assert answer.header("last-modified") == "Sat, 21 Nov 2026 12:00:00 GMT"
    assert answer.header("access-control-allow-origin") == "*"
    absent = world.ask(f"providers/{ABSENT}")
    assert (absent.header("cache-control") or "").startswith("public, max-age=15")


def test_lines(world: World) -> None:
    headers = {"accept": "application/x-ndjson, application/json"}
    answer = world.ask(f"providers/{cid.text(world.leaf)}", headers)
    assert answer.header("content-type") == "application/x-ndjson"
    assert isinstance(answer.body, bytes)
    assert [json.loads(line) for line in answer.body.splitlines()] == [OURS]
    assert world.ask(f"providers/{ABSENT}", headers).body == b""


def test_where_a_peer_is(world: World) -> None:
    for spelling in (peerkey.peer_id(US), peerkey.text(US), cidtext.text(US)):
        assert world.list(f"peers/{spelling}") == {"Peers": [OURS]}
    assert world.list(f"peers/{peerkey.peer_id(KEY.name)}") == {"Peers": []}


FILTERS: Final[dict[str, list[str]]] = {
    "filter-protocols=transport-ipfs-gateway-http": [HERE, LAN],
    "filter-protocols=unknown,transport-bitswap,Transport-IPFS-gateway-http": [HERE, LAN],
    "filter-protocols=transport-bitswap": [],
    "filter-protocols=unknown": [],
    "filter-addrs=tls": [HERE],
    "filter-addrs=TLS,http": [HERE, LAN],
    "filter-addrs=!tls": [LAN],
    "filter-addrs=!ip4%2C!ip6": [HERE],
    "filter-addrs=http,!tls": [LAN],
    "filter-addrs=quic-v1": [],
    "filter-addrs=": [HERE, LAN],
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters(world: World, query: str) -> None:
    found = world.list(f"providers/{cid.text(world.leaf)}?{query}")["Providers"]
    assert [address for each in found for address in each["Addrs"]] == FILTERS[query]
    assert len(found) == bool(FILTERS[query])


def test_without_an_address_that_of_the_request() -> None:
    world = World()
    path = f"providers/{cid.text(world.leaf)}"
    (found,) = world.list(path, {"host": "127.0.0.1:8642"})["Providers"]
    assert found["Addrs"] == ["/ip4/127.0.0.1/tcp/8642/http"]
    there = world.list(f"peers/{found['ID']}", {"host": "127.0.0.1:8642"})
    assert there == {"Peers": [found]}
    assert world.list(f"peers/{found['ID']}") == {"Peers": []}
    assert world.list(path) == {"Providers": []}
    assert world.list(path, {"host": "a/b?c"}) == {"Providers": []}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cache.example", "/dns/cache.example/tcp/443/tls/http"),
        ("https://cache.example:8443/", "/dns/cache.example/tcp/8443/tls/http"),
        ("http://127.0.0.1:8642", "/ip4/127.0.0.1/tcp/8642/http"),
        ("http://[::1]:8642", "/ip6/::1/tcp/8642/http"),
        ("http://10.1.2.3", "/ip4/10.1.2.3/tcp/80/http"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    assert provider.multiaddr(url) == expected


@pytest.mark.parametrize(
    "url", ["ftp://x", "x", "https://", "https://x/y", "https://x:y", "http://["]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadAddress):
        provider.multiaddr(url)


def test_the_record_of_a_name(world: World) -> None:
    text = ipns.create(KEY, b"/ipfs/bafkqaaa", 1, NOW + ipns.HOUR, 30 * ipns.MINUTE)
    world.records.kept[KEY.name] = text
    for accept in (RECORD, "*/*", f"application/json;q=0.1, {RECORD}"):
        answer = world.ask(f"ipns/{peerkey.text(KEY.name)}", {"accept": accept})
        assert (answer.status, answer.body) == (200, text)
        assert answer.header("content-type") == RECORD
        assert answer.header("etag")
        assert answer.header("cache-control") == (
            "public, max-age=1800, stale-while-revalidate=3600, stale-if-error=3600"
        )
    assert world.ask(f"ipns/{peerkey.text(KEY.name)}", {"accept": CAR}).status == 406
    absent = world.ask(f"ipns/{peerkey.text(PeerKey(bytes(32)).name)}")
    assert absent.status == 200
    assert absent.header("content-type") != RECORD
    world.records.kept[KEY.name] = ipns.create(KEY, b"/ipfs/bafkqaaa", 1, NOW)
    expired = world.ask(f"ipns/{peerkey.text(KEY.name)}")
    assert expired.header("content-type") != RECORD


STATUSES: Final = {
    "providers/hello": 422,
    "providers/bafkqaaa?" + "a=b&" * 200: 422,
    "peers/hello": 422,
    "peers/bafkqaaa": 422,
    "ipns/bafkqaaa": 422,
    "dht/closest/peers/x": 501,
}


@pytest.mark.parametrize("path", STATUSES)
def test_statuses(world: World, path: str) -> None:
    assert world.ask(path).status == STATUSES[path]


def test_methods(world: World) -> None:
    path = f"providers/{cid.text(world.leaf)}"
    assert world.ask(path, method="PUT").status == 405
    assert world.ask(path, method="OPTIONS").status == 204
    head = world.ask(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == world.ask(path).header("content-length")
    assert world.door.answer(Request("GET", "/routing/v2/providers/x")) is None


class Keeping:
    """Keeps records, but for the first few times, when another one comes before."""

    def __init__(self, records: Records, others: list[bytes]) -> None:
        self.records = records
        self.others = others

    def keep(self, name: Cid, text: bytes, before: bytes | None) -> bool:
        """Keep it."""
        if self.others:
            self.records.kept[name] = self.others.pop()
            return False
        assert self.records.kept.get(name) == before
        self.records.kept[name] = text
        return True


def put(world: World, text: bytes, name: str = peerkey.text(KEY.name), type: str = RECORD) -> int:
    """Send a record; return the status."""
    request = Request("PUT", f"/routing/v1/ipns/{name}", "", {"content-type": type}, text)
    return http.ask([world.door], request).status


def made(sequence: int, until: int = NOW + ipns.HOUR) -> bytes:
    """A record."""
    return ipns.create(KEY, b"/ipfs/bafkqaaa", sequence, until)


def test_records_are_taken_where_that_is_wanted() -> None:
    world = World(HERE)
    assert put(world, made(1)) == 405
    assert world.door.takes(Request("PUT", "/routing/v1/ipns/x")) == 0
    world.door = replace(world.door, keeper=Keeping(world.records, []))
    assert world.door.takes(Request("PUT", "/routing/v1/ipns/x")) == ipns.LONGEST
    assert world.door.takes(Request("PUT", "/routing/v1/providers/x")) == 0
    assert world.door.takes(Request("POST", "/routing/v1/ipns/x")) == 0
    for text, status in (
        (made(1), 200),
        (made(1), 200),
        (made(0), 409),
        (made(1, NOW + 2 * ipns.HOUR), 200),
        (made(1), 409),
        (made(2), 200),
        (made(3, NOW), 400),
        (made(3)[:-1], 400),
        (ipns.create(PeerKey(bytes(32)), b"/ipfs/bafkqaaa", 9, NOW + ipns.HOUR), 400),
        (b"", 400),
    ):
        assert put(world, text) == status
    assert world.records.kept == {KEY.name: made(2)}
    assert put(world, made(3), type="text/plain") == 406
    assert put(world, made(3), name="nonsense") == 422
    answer = world.ask(f"ipns/{peerkey.text(KEY.name)}", method="OPTIONS")
    assert "PUT" in (answer.header("allow") or "")
    assert world.ask(f"providers/{ABSENT}", method="PUT").status == 405


def test_of_two_records_at_once_the_newer_one_stays() -> None:
    world = World(HERE)
    world.door = replace(world.door, keeper=Keeping(world.records, [made(5)]))
    assert put(world, made(4)) == 409
    world.door = replace(world.door, keeper=Keeping(world.records, [made(6)]))
    assert put(world, made(7)) == 200
    world.door = replace(world.door, keeper=Keeping(world.records, [made(8)] * 9))
    assert put(world, made(9)) == 503
