"""The gateway by host: an origin for each root, web sites of domains, and who is sent where."""

from collections.abc import Mapping
from hashlib import sha512
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import IpfsDoor, hosts, redirects
from narbor.doors.ipfs.hosts import Domains, HostsDoor
from narbor.doors.ipfs.withheld import Denied, Withheld, hash_of
from narbor.formats import ipns
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid
from tests.doors.test_ipfs import KEY, NOW, Records
from tests.fakes.dag import Dag

PARENT: Final = "gateway.example"
RULES: Final = (
    b"/old/* /new/:splat\n/lost /404.html 404\n/page /a/x 200\n/gone /nothing.html 410\n"
    b"/app/* / 200\n"
)


class World:
    """A gateway by host over a directory, with a name and two domains."""

    def __init__(self, rules: bytes = RULES) -> None:
        self.dag = Dag()
        self.root, _ = self.dag.tree(
            {
                b"_redirects": rules,
                b"index.html": b"the index",
                b"404.html": b"not there",
                b"a": {b"x": b"xx", b"b": {b"y": b"yy"}},
                b"ipfs": {b"z": b"zz"},
            }
        )
        self.text = cid.text(self.root)
        self.records = Records()
        value = f"/ipfs/{self.text}/a".encode()
        self.records.kept[KEY.name] = ipns.create(KEY, value, 1, NOW + ipns.HOUR)
        self.name = peerkey.text(KEY.name)
        links = {"my-site.example": f"/ipfs/{self.text}", "key.example": f"/ipns/{self.name}"}
        self.gateway = IpfsDoor(self.dag, lambda: NOW, self.records, links)
        self.door = HostsDoor(self.gateway, hosts.made([PARENT], links, ["us.example"]))

    def ask(
        self, host: str, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        """Ask all doors there are."""
        path, _, query = path.partition("?")
        named = {"host": host, **(headers or {})}
        return http.ask([self.door, self.gateway], Request(method, path, query, named))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def body(answer: Answer) -> bytes:
    """Return the whole body."""
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def test_a_root_at_an_origin_of_its_own(world: World) -> None:
    host = f"{world.text}.ipfs.{PARENT}:8080"
    answer = world.ask(host, "/a/x")
    assert (answer.status, body(answer)) == (200, b"xx")
    assert answer.header("x-ipfs-path") == f"/ipfs/{world.text}/a/x"
    assert answer.header("cache-control") == "public, max-age=29030400, immutable"
    assert body(world.ask(host, "/")) == b"the index"
    assert body(world.ask(host, "/ipfs/z")) == b"zz"
    assert world.ask(host, "/a").header("location") == "/a/"
    assert world.ask(host, "/a?x=1").header("location") == "/a/?x=1"
    assert world.ask(host, f"/ipfs/{world.text}/a/x").status == 404
    assert world.ask(host.upper(), "/a/x").status == 200
    assert world.ask(host, "/a/x", method="POST").status == 405


def test_pages_at_an_origin_lead_to_it_and_to_the_gateway_above(world: World) -> None:
    host = f"{world.text}.ipfs.{PARENT}:8080"
    page = body(world.ask(host, "/a/b/")).decode()
    above = f"//{PARENT}:8080/ipfs/"
    assert '<a href="/a/b/..">..</a>' in page and '<a href="/a/b/y">y</a>' in page
    assert f'<a href="{above}{world.text}/a">a</a>' in page
    assert f'href="{above}{cid.text(cid.raw(b"yy"))}?filename=y"' in page
    page = body(world.ask("my-site.example", "/a/")).decode()
    assert '/ipns/<a href="//my-site.example/">my-site.example</a>' in page
    assert '<a href="/a/x">x</a>' in page


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/ipfs/{root}", "http://{root}.ipfs.{parent}/"),
        ("/ipfs/{root}/a/%?q=1&r=%20", "http://{root}.ipfs.{parent}/a/%25?q=1&r=%20"),
        ("/ipfs/{v0}/a", "http://{root}.ipfs.{parent}/a"),
        ("/ipfs/{base16}/a", "http://{root}.ipfs.{parent}/a"),
        ("/ipns/{name}", "http://{name}.ipns.{parent}/"),
        ("/ipns/{peer}/x", "http://{name}.ipns.{parent}/x"),
        ("/ipns/my-site.example/a/", "http://my--site-example.ipns.{parent}/a/"),
    ],
)
def test_paths_are_sent_to_their_origins(world: World, path: str, location: str) -> None:
    names = {
        "root": world.text,
        "v0": cidtext.base58(world.root[2:]),
        "base16": "f" + world.root.hex(),
        "name": world.name,
        "peer": peerkey.peer_id(KEY.name),
        "parent": PARENT,
    }
    answer = world.ask(PARENT, path.format(**names))
    assert (answer.status, answer.header("location")) == (301, location.format(**names))
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": f"{PARENT}:444"}
    answer = world.ask("inner.example", path.format(**names), forwarded)
    there = location.format(**names).replace("http:", "https:").replace(PARENT, f"{PARENT}:444")
    assert answer.header("location") == there
    assert world.ask("inner.example", path.format(**names)).header("location") != there


def test_who_fetches_blocks_is_sent_nowhere(world: World) -> None:
    for query, accept in (
        ("format=raw", "*/*"),
        ("format=car", "*/*"),
        ("", "application/vnd.ipld.raw"),
    ):
        answer = world.ask(PARENT, f"/ipfs/{world.text}?{query}", {"accept": accept})
        assert answer.status == 200
    assert world.ask(PARENT, "/ipfs/bafkqaaa?format=raw", method="HEAD").status == 200
    assert world.ask(PARENT, f"/ipns/{world.name}?format=ipns-record").status == 200


def test_keys_and_domains_at_origins(world: World) -> None:
    assert body(world.ask(f"{world.name}.ipns.{PARENT}", "/x")) == b"xx"
    odd = Cid(b"\x01\x70" + KEY.name[2:])
    answer = world.ask(f"k{cidtext.base36(odd)}.ipns.{PARENT}", "/x?y")
    assert answer.header("location") == f"http://{world.name}.ipns.{PARENT}/x?y"
    for host in ("my--site-example", "my-site.example"):
        assert body(world.ask(f"{host}.ipns.{PARENT}", "/a/x")) == b"xx"
    assert body(world.ask("my-site.example", "/a/x")) == b"xx"
    assert body(world.ask("key.example:80", "/x")) == b"xx"
    assert world.ask("key.example", "/x").header("cache-control") == "public, max-age=300"


def test_what_has_no_place_in_a_host(world: World) -> None:
    long = Cid(b"\x01\x55\x13\x40" + sha512(b"hello").digest())
    for host, path in (
        (PARENT, f"/ipfs/{cid.text(long)}"),
        (f"{cid.text(long)}.ipfs.{PARENT}", "/"),
    ):
        answer = world.ask(host, path)
        assert answer.status == 400
        assert b"CID incompatible with DNS label length limit of 63" in body(answer)
    answer = world.ask(PARENT, "/ipfs/QmInvalidCID")
    assert answer.status == 400 and b'invalid path "/ipfs/QmInvalidCID"' in body(answer)
    assert world.ask(f"nonsense.ipfs.{PARENT}", "/").status == 400
    assert world.ask(f"unknown.domain.ipns.{PARENT}", "/").status == 502
    assert world.ask(PARENT, f"/ipfs/{world.text}?format=zip").status == 400


def test_other_hosts_are_left_to_other_doors(world: World) -> None:
    for host in ("us.example", "other.example", "", f"x.{PARENT}", f"ipfs.{PARENT}", "[::1]:80"):
        assert world.door.answer(Request("GET", "/a/x", "", {"host": host})) is None
    assert world.door.answer(Request("GET", "/nix-cache-info", "", {"host": PARENT})) is None
    own = hosts.made([PARENT], ["us.example", "other.example"], ["us.example"])
    assert own.domains == {"other.example"}


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/old/thing", 301, b"it is at /new/thing\n"),
        ("/lost", 404, b"not there"),
        ("/page", 200, b"xx"),
        ("/app/any/where", 200, b"the index"),
    ],
)
@pytest.mark.parametrize("host", ["{root}.ipfs.gateway.example", "my-site.example"])
def test_a_site_says_what_becomes_of_paths_it_lacks(
    world: World, host: str, path: str, status: int, content: bytes
) -> None:
    answer = world.ask(host.format(root=world.text), path)
    assert (answer.status, body(answer)) == (status, content)


def test_redirects_are_for_origins_and_what_is_lacking_alone(world: World) -> None:
    host = f"{world.text}.ipfs.{PARENT}"
    assert world.gateway.answer(Request("GET", f"/ipfs/{world.text}/lost")) is not None
    path = http.ask([world.gateway], Request("GET", f"/ipfs/{world.text}/old/x"))
    assert path.status == 404
    assert world.ask(host, "/old/x?format=raw").status == 404
    assert world.ask(host, "/gone").status == 404
    assert world.ask(host, "/a/b/y").status == 200
    tag = world.ask(host, "/app/x").header("etag") or ""
    assert world.ask(host, "/app/y", {"if-none-match": tag}).status == 304
    lost = world.ask(host, "/lost", {"if-none-match": "*", "range": "bytes=0-1"})
    assert (lost.status, body(lost)) == (404, b"not there")
    assert world.ask(host, "/lost", method="HEAD").status == 404


@pytest.mark.parametrize("rules", [b"/a /b 999\n", b"#" * (redirects.LARGEST + 1)])
def test_redirects_that_cannot_be_read_are_told_where_they_are_needed(rules: bytes) -> None:
    world = World(rules)
    host = f"{world.text}.ipfs.{PARENT}"
    assert world.ask(host, "/a/x").status == 200
    answer = world.ask(host, "/nowhere")
    assert answer.status == 500 and body(answer).startswith(b"could not parse _redirects: ")


def test_addresses_of_the_ipfs_scheme_are_sent_to_their_paths(world: World) -> None:
    for uri, there in (
        (f"ipfs%3A%2F%2F{world.text}%2Fa%20b%3Fx%3D%0D1", f"/ipfs/{world.text}/a%20b?x=%0D1"),
        ("ipns://my-site.example", "/ipns/my-site.example"),
    ):
        answer = world.ask(PARENT, f"/ipfs/?uri={uri}")
        assert (answer.status, answer.header("location")) == (301, there)
    assert world.ask(PARENT, "/ipfs/?uri=https://x.example").status == 404
    assert world.ask(PARENT, "/ipfs/").status == 404


def test_what_is_withheld_is_gone_under_any_codec(world: World) -> None:
    withheld = Withheld(world.dag, frozenset({hash_of(world.root)}))
    door = IpfsDoor(withheld, lambda: NOW, world.records, world.gateway.dnslinks)
    other = cid.text(Cid(b"\x01\x55" + world.root[2:]))
    for path in (f"/ipfs/{world.text}/a/x", f"/ipfs/{other}", "/ipns/my-site.example/"):
        for query in ("", "format=raw", "format=tar"):
            assert http.ask([door], Request("GET", path, query)).status == 410
    inside = Withheld(world.dag, frozenset({hash_of(cid.raw(b"xx"))}))
    car = http.ask(
        [IpfsDoor(inside, lambda: NOW)], Request("GET", f"/ipfs/{world.text}", "format=car")
    )
    with pytest.raises(Denied):
        body(car)


def test_a_key_that_is_made_later_is_found_then() -> None:
    made: dict[str, str] = {}
    domains = Domains({"a.example": "farm"}, made.get)
    assert domains.get("a.example") is None and domains.get("b.example") is None
    made["farm"] = "/ipns/k51"
    assert domains["a.example"] == "/ipns/k51"
    made.clear()
    assert dict(domains) == {"a.example": "/ipns/k51"} and len(domains) == 1


@given(
    st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,9}(\.[a-z0-9](-?[a-z0-9]){0,9}){1,3}", fullmatch=True)
)
def test_domains_are_one_label_and_back(domain: str) -> None:
    label = hosts.inlined(domain)
    assert "." not in label
    assert hosts.unlined(label) == domain
