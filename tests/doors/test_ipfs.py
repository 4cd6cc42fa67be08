"""The IPFS gateway: forms, headers and statuses as the gateway specifications say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import IpfsDoor, indexpage, negotiation
from narbor.doors.ipfs.withheld import Withheld, hash_of
from narbor.errors import Unavailable
from narbor.formats import car, dagcbor, hamt, ipns, unixfs
from narbor.formats.dagcbor import Link
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid
from narbor.names.peerkey import PeerKey
from tests.fakes.dag import Dag, Symlink

LONG: Final = bytes(range(256)) * 10
NOW: Final = ipns.read_time(b"2026-11-21T12:00:00Z")
KEY: Final = PeerKey(bytes(range(32)))
RAW: Final = "application/vnd.ipld.raw"
CAR: Final = "application/vnd.ipld.car"
RECORD: Final = "application/vnd.ipfs.ipns-record"


@dataclass
class Records:
    """Records of names."""

    kept: dict[Cid, bytes] = field(default_factory=dict)

    def record(self, name: Cid) -> bytes | None:
        """Return what is kept."""
        return self.kept.get(name)


@dataclass
class World:
    """A gateway with some things in it. `root` is a directory, `names` what is where."""

    dag: Dag = field(default_factory=Dag)
    records: Records = field(default_factory=Records)

    def __post_init__(self) -> None:
        dag = self.dag
        self.root, _ = dag.tree(
            {
                b"a": {b"index.html": b"<p>hello", b"x": b"xx"},
                b"many": {b"%d.txt" % n: b"%d" % n for n in range(40)},
                b"file.txt": b"some text\n",
                b"long": LONG,
                b"same": LONG,
                b"link": Symlink(b"file.txt"),
                b"data": b'{"a": [1, 2]}',
                b"pic": b"\x89PNG\r\n\x1a\n" + bytes(40),
                "ü%2C+ =".encode(): {b"z\xff": b"not text\0"},
                b"empty": {},
                b"nothing": b"",
            }
        )
        self.sharded, _ = dag.tree({b"%d.txt" % n: LONG for n in range(300)}, 0)
        hello = dagcbor.encode({"hello": "this is no link"})
        self.leaf = dag.put(hello, cid.DAG_CBOR)
        deep = dagcbor.encode({"to": [Link(self.leaf), Link(self.root)], "x": {"y": 1}})
        self.cbor = dag.put(deep, cid.DAG_CBOR)
        text = f'{{"to":{{"/":"{cid.text(self.cbor)}"}},"n":1}}'
        self.json = dag.put(text.encode(), cid.DAG_JSON)
        self.plain_json = dag.put(b'{"plain": true}', cid.JSON)
        self.plain_cbor = dag.put(b"\x9f\xff", cid.CBOR)
        self.dags = {name: dag for name, dag in vars(self).items() if isinstance(dag, bytes)}

    def at(self, *parts: bytes) -> Cid:
        """The CID at a path below the root."""
        here = self.root
        for part in parts:
            found = hamt.find(self.dag.kept[here], part, self.dag.kept.__getitem__)
            assert found is not None
            here = found.cid
        return here

    def ask(
        self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[Answer, bytes]:
        """Ask the door; `{name}` in the URL is a root's CID."""
        url = url.format(**{name: cidtext.text(value) for name, value in self.dags.items()})
        path, _, query = url.partition("?")
        door = IpfsDoor(self.dag, lambda: NOW, self.records)
        request = Request(method, unquote(path, errors="surrogateescape"), query, headers or {})
        answer = http.ask([door], request)
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        return answer, body


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def text(name: bytes) -> str:
    """A CID's text."""
    return cidtext.text(name)


SHA512: Final = cidtext.text(bytes.fromhex("01551340") + bytes(64))
STATUSES: Final[dict[str, tuple[str, dict[str, str], int]]] = {
    "a file": ("/ipfs/{root}/file.txt", {}, 200),
    "nothing called so": ("/ipfs/{root}/absent", {}, 404),
    "below a file": ("/ipfs/{root}/file.txt/x", {}, 404),
    "below a symlink": ("/ipfs/{root}/link/x", {}, 404),
    "below a block": ("/ipfs/{leaf}/x", {}, 404),
    "a directory without a slash": ("/ipfs/{root}/many", {}, 301),
    "a root without a slash": ("/ipfs/{root}", {}, 301),
    "a directory": ("/ipfs/{root}/many/", {}, 200),
    "dots": ("/ipfs/{root}/many/../file.txt", {}, 200),
    "dots above the root": ("/ipfs/{root}/../../file.txt", {}, 200),
    "no CID": ("/ipfs/hello", {}, 400),
    "no CID in the forms of others": ("/ipfs/QmYzfKSE55", {}, 400),
    "a name for a CID": ("/ipfs/" + peerkey.text(KEY.name), {}, 400),
    "a format that is not known": ("/ipfs/{root}?format=zip", {}, 400),
    "a tar of no tree": ("/ipfs/{cbor}?format=tar", {}, 406),
    "a record of a CID": ("/ipfs/{root}?format=ipns-record", {}, 400),
    "dag-json of UnixFS": ("/ipfs/{root}/file.txt?format=dag-json", {}, 406),
    "dag-cbor of UnixFS": ("/ipfs/{root}/many/?format=dag-cbor", {}, 406),
    "JSON of text": ("/ipfs/{root}/file.txt?format=json", {}, 406),
    "JSON of JSON": ("/ipfs/{root}/data?format=json", {}, 200),
    "CBOR of JSON": ("/ipfs/{root}/data?format=cbor", {}, 406),
    "dag-json of DAG-CBOR": ("/ipfs/{cbor}?format=dag-json", {}, 406),
    "dag-cbor of DAG-JSON": ("/ipfs/{json}", {"accept": "application/vnd.ipld.dag-cbor"}, 406),
    "JSON, or else anything": ("/ipfs/{root}/file.txt", {"accept": "application/json, */*"}, 200),
    "inside a document": ("/ipfs/{cbor}/x/y", {}, 501),
    "nothing in a document": ("/ipfs/{cbor}/x/z", {}, 404),
    "past a list": ("/ipfs/{cbor}/to/2", {}, 404),
    "through a list": ("/ipfs/{cbor}/to/0", {}, 200),
    "through documents": ("/ipfs/{json}/to/to/1/file.txt", {}, 200),
    "a query without end": ("/ipfs/{root}/file.txt?" + "a=b&" * 200, {}, 400),
    "a service worker": ("/ipfs/{root}", {"service-worker": "script"}, 400),
    "a service worker below": ("/ipfs/{root}/file.txt", {"service-worker": "script"}, 200),
    "not here": ("/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", {}, 404),
    "not here, raw": ("/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN?format=raw", {}, 404),
    "not here, of a hash that is not kept": ("/ipfs/" + SHA512, {}, 404),
    "not in the cache": (
        "/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN",
        {"cache-control": "only-if-cached"},
        412,
    ),
    "in the cache": ("/ipfs/{root}/file.txt", {"cache-control": "only-if-cached"}, 200),
    "a name without a record": ("/ipns/" + peerkey.text(KEY.name), {}, 502),
    "a domain that is not known": ("/ipns/example.org/x", {}, 502),
    "version 2": ("/ipfs/{root}?format=car&car-version=2", {}, 400),
    "an order that is not known": ("/ipfs/{root}?format=car&car-order=bfs", {}, 400),
    "dups that are not known": ("/ipfs/{root}?format=car&car-dups=maybe", {}, 400),
    "a scope that is not known": ("/ipfs/{root}?format=car&dag-scope=some", {}, 400),
    "a range that is none": ("/ipfs/{root}?format=car&entity-bytes=1", {}, 400),
    "a range backwards": ("/ipfs/{root}?format=car&entity-bytes=9:3", {}, 400),
    "a CAR of nothing": ("/ipfs/{root}/absent?format=car", {}, 404),
}  # fmt: skip


@pytest.mark.parametrize(("url", "headers", "status"), STATUSES.values(), ids=list(STATUSES))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_statuses(
    world: World, url: str, headers: dict[str, str], status: int, method: str
) -> None:
    answer, body = world.ask(url, headers, method)
    assert answer.status == status
    assert answer.header("access-control-allow-origin") == "*"
    if method == "HEAD":
        assert body == b""
        got, _ = world.ask(url, headers)
        lengths = ("content-length",)
        assert {h for h in got.headers if h[0] not in lengths} == {
            h for h in answer.headers if h[0] not in lengths
        }


def test_other_paths_and_methods(world: World) -> None:
    door = IpfsDoor(world.dag, lambda: NOW)
    for path in ("/", "/ipfs", "/ipfs/", "/nix-cache-info", "/ipnsx/a"):
        assert door.answer(Request("GET", path)) is None
    assert world.ask("/ipfs/{root}/", method="POST")[0].status == 405
    answer, body = world.ask("/ipfs/{root}/", method="OPTIONS")
    assert (answer.status, body) == (204, b"")
    assert answer.header("access-control-allow-methods") == "GET, HEAD, OPTIONS"


TYPES: Final = {
    "file.txt": "text/plain; charset=utf-8",
    "long": "application/octet-stream",
    "link": "inode/symlink",
    "data": "application/json",
    "pic": "image/png",
    "a/index.html": "text/html; charset=utf-8",
    "nothing": "text/plain; charset=utf-8",
    "file.txt?filename=x.css": "text/css; charset=utf-8",
}


@pytest.mark.parametrize("name", TYPES)
def test_types(world: World, name: str) -> None:
    assert world.ask("/ipfs/{root}/" + name)[0].header("content-type") == TYPES[name]


def test_a_file(world: World) -> None:
    answer, body = world.ask("/ipfs/{root}/a/x")
    roots = (world.root, world.at(b"a"), world.at(b"a", b"x"))
    assert body == b"xx"
    assert answer.header("x-ipfs-path") == f"/ipfs/{text(world.root)}/a/x"
    assert answer.header("x-ipfs-roots") == ",".join(map(text, roots))
    assert answer.header("etag") == f'"{text(roots[2])}"'
    assert answer.header("cache-control") == "public, max-age=29030400, immutable"
    assert answer.header("accept-ranges") == "bytes"
    assert answer.header("content-disposition") is None
    assert not answer.ready


def test_a_symlink_is_its_target(world: World) -> None:
    assert world.ask("/ipfs/{root}/link")[1] == b"file.txt"


@given(st.integers(0, 2600), st.integers(0, 2600))
def test_ranges_are_slices(one: int, other: int) -> None:
    low, high = sorted((one, other))
    world = WORLD
    answer, body = world.ask("/ipfs/{root}/long", {"range": f"bytes={low}-{high}"})
    if low >= len(LONG):
        assert answer.status == 416
        return
    assert (answer.status, body) == (206, LONG[low : high + 1])
    assert answer.header("content-range") == f"bytes {low}-{min(high, len(LONG) - 1)}/{len(LONG)}"


WORLD: Final = World()


def test_of_several_ranges_the_first(world: World) -> None:
    answer, body = world.ask("/ipfs/{root}/long", {"range": "bytes=5-9,0-1"})
    assert (answer.status, body) == (206, LONG[5:10])


def test_a_range_needs_no_other_block() -> None:
    world = World()
    leaves = [cid.raw(LONG[at : at + 256]) for at in range(0, len(LONG), 256)]
    assert len(set(leaves)) == 1
    content = b"".join(bytes([n]) * 256 for n in range(10))
    root, _ = world.dag.file(content)
    for n in (0, 5, 9):
        world.dag.lose(cid.raw(bytes([n]) * 256))
    answer, body = world.ask(f"/ipfs/{text(root)}", {"range": "bytes=600-700"})
    assert (answer.status, body) == (206, content[600:701])
    with pytest.raises(Unavailable):
        world.ask(f"/ipfs/{text(root)}")


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"x", "y", "{}"', "*"])
@pytest.mark.parametrize("path", ["/a/x", "/a/", "/many/", "/file.txt?format=raw", "?format=car"])
def test_what_is_known_is_not_sent(world: World, form: str, path: str) -> None:
    answer, _ = world.ask("/ipfs/{root}" + path)
    assert answer.status == 200
    tag = (answer.header("etag") or "").removeprefix("W/").strip('"')
    again, body = world.ask("/ipfs/{root}" + path, {"if-none-match": form.format(tag)})
    assert (again.status, body) == (304, b"")
    assert again.header("etag") == answer.header("etag")
    assert again.header("cache-control") == answer.header("cache-control")
    other, _ = world.ask("/ipfs/{root}" + path, {"if-none-match": '"other"'})
    assert other.status == 200


def test_index_html_stands_for_its_directory(world: World) -> None:
    answer, body = world.ask("/ipfs/{root}/a/")
    assert body == b"<p>hello"
    assert answer.header("etag") == f'"{text(world.at(b"a"))}"'
    assert answer.header("x-ipfs-roots") == f"{text(world.root)},{text(world.at(b'a'))}"
    assert answer.header("content-type") == "text/html; charset=utf-8"


def test_an_index_html_that_is_no_file_is_an_entry() -> None:
    world = World()
    root, _ = world.dag.tree({b"index.html": {b"x": b"y"}})
    _, body = world.ask(f"/ipfs/{text(root)}/")
    assert b"Index of" in body


def test_to_the_directory_with_its_slash(world: World) -> None:
    answer, _ = world.ask("/ipfs/{root}/%C3%BC%252C+%20=?x=%20y")
    assert answer.status == 301
    assert answer.header("location") == f"/ipfs/{text(world.root)}/%C3%BC%252C+%20=/?x=%20y"


def test_a_page_lists_a_directory_and_reads_none_of_its_children(world: World) -> None:
    world.dag.reads.clear()
    answer, body = world.ask("/ipfs/{root}/many/")
    here = world.at(b"many")
    assert (answer.header("etag") or "").startswith('"DirIndex-')
    assert (answer.header("etag") or "").endswith(f'_CID-{text(here)}"')
    assert answer.header("cache-control") == negotiation.PAGE
    page = body.decode()
    base = f"/ipfs/{text(world.root)}/many"
    assert f'<a href="{base}/..">..</a>' in page
    for n in range(40):
        assert f'<a href="{base}/{n}.txt">{n}.txt</a>' in page
    assert set(world.dag.reads) == {world.root, here}


def test_a_page_of_very_many_entries_reads_no_more_than_it_shows() -> None:
    world = World()
    leaf = world.dag.put(b"x", cid.RAW)
    links = [unixfs.Link(leaf, 1, b"%06d" % n) for n in range(30_000)]
    root, _ = hamt.directory(links, world.dag.put)
    world.dag.reads.clear()
    _, body = world.ask(f"/ipfs/{text(root)}/")
    assert body.count(b'<a href="/ipfs/' + text(root).encode() + b"/0") == indexpage.MOST
    assert b"and more" in body
    assert len(world.dag.reads) < len(world.dag.kept) / 2


def test_names_are_escaped_in_pages() -> None:
    world = World()
    odd = b"<b>&\"'\xff#?%41"
    root, _ = world.dag.tree({odd: b"x"})
    answer, body = world.ask(f"/ipfs/{text(root)}/")
    page = body.decode()
    assert "<b>" not in page
    assert "%3Cb%3E%26%22%27%FF%23%3F%2541" in page
    assert answer.status == 200
    assert "..</a>" not in page
    link = page.partition(f'href="/ipfs/{text(root)}/')[2].partition('"')[0]
    assert world.ask(f"/ipfs/{text(root)}/{link}")[1] == b"x"


def test_a_header_holds_no_line_feed(world: World) -> None:
    answer, _ = world.ask("/ipfs/{root}/many/?filename=a%0d%0ab")
    assert all("\n" not in value and "\r" not in value for _, value in answer.headers)
    answer, _ = world.ask("/ipfs/{root}/%0d%0aset-cookie:x/..")
    assert all("\n" not in value and "\r" not in value for _, value in answer.headers)


SAVED: Final = {
    "file.txt?filename=b.txt": 'inline; filename="b.txt"',
    "file.txt?download=true": 'attachment; filename="file.txt"',
    "file.txt?download=false": None,
    "file.txt?filename=test%D1%82.pdf&download=true": 'attachment; filename="test_.pdf"; '
    "filename*=UTF-8''test%D1%82.pdf",
    "file.txt?filename=a%22b": "inline; filename=\"a_b\"; filename*=UTF-8''a%22b",
    "file.txt?format=raw&filename=c": 'attachment; filename="c"',
}


@pytest.mark.parametrize("name", SAVED)
def test_what_it_is_saved_as(world: World, name: str) -> None:
    assert world.ask("/ipfs/{root}/" + name)[0].header("content-disposition") == SAVED[name]


def test_a_block(world: World) -> None:
    for url, headers in (
        ("/ipfs/{root}?format=raw", {}),
        ("/ipfs/{root}", {"accept": RAW}),
        ("/ipfs/{root}/", {"accept": f"text/html;q=0.1, {RAW}"}),
        ("/ipfs/{root}?format=raw", {"accept": CAR}),
    ):
        answer, body = world.ask(url, headers)
        assert body == world.dag.kept[world.root]
        name = text(world.root)
        assert answer.header("content-type") == RAW
        assert answer.header("etag") == f'"{name}.raw"'
        assert answer.header("content-disposition") == f'attachment; filename="{name}.bin"'
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("x-ipfs-roots") == name
        assert answer.header("cache-control") == "public, max-age=29030400, immutable"
        # Kubo takes no more than 2 KiB.
        assert sum(len(key) + len(value) + 4 for key, value in answer.headers) < 1500
    answer, body = world.ask("/ipfs/{root}?format=raw", {"range": "bytes=3-5"})
    assert (answer.status, body) == (206, world.dag.kept[world.root][3:6])


def test_head_of_a_block_reads_nothing(world: World) -> None:
    world.dag.reads.clear()
    answer, _ = world.ask("/ipfs/{root}?format=raw", method="HEAD")
    assert answer.header("content-length") == str(len(world.dag.kept[world.root]))
    assert world.dag.reads == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_probe(world: World, method: str) -> None:
    answer, body = world.ask("/ipfs/bafkqaaa?format=raw", {}, method)
    assert (answer.status, body) == (200, b"")
    answer, body = world.ask("/ipfs/bafkqaaa?format=car")
    read = car.read([body])
    assert read.roots == (cid.inline(b""),)
    assert list(read.blocks) == []


def test_where_a_form_is_found_by_itself(world: World) -> None:
    root = text(world.root)
    for url, headers, expected in (
        ("/a/x", {"accept": RAW}, f"/ipfs/{root}/a/x?format=raw"),
        ("/a/x?filename=b", {"accept": RAW}, f"/ipfs/{root}/a/x?filename=b&format=raw"),
        ("/a/x?format=raw", {"accept": CAR}, f"/ipfs/{root}/a/x?format=raw"),
        ("/a/x?format=raw", {}, None),
        ("/a/x", {"accept": "text/html"}, None),
        (
            "",
            {"accept": f"{CAR};version=1;order=dfs;dups=y"},
            f"/ipfs/{root}?car-version=1&car-order=dfs&car-dups=y&format=car",
        ),
        (
            "?format=car&car-dups=n",
            {"accept": f"{CAR};dups=y"},
            f"/ipfs/{root}?format=car&car-dups=n",
        ),
    ):
        assert world.ask("/ipfs/{root}" + url, headers)[0].header("content-location") == expected


def blocks(body: bytes) -> list[Cid]:
    """The CIDs in a CAR, checked."""
    return [block.cid for block in car.read([body]).blocks]


def below(dag: Dag, name: Cid) -> Iterator[Cid]:
    """Everything below a block, depth first, as often as it is met."""
    yield name
    if cid.codec(name) == cid.DAG_PB:
        for link in unixfs.parse(dag.kept[name]).links:
            yield from below(dag, link.cid)


def test_a_car_of_everything(world: World) -> None:
    every = list(below(world.dag, world.root))
    for dups, expected in (("y", every), ("n", list(dict.fromkeys(every)))):
        answer, body = world.ask(f"/ipfs/{{root}}?format=car&car-dups={dups}")
        assert blocks(body) == expected
        assert answer.header("content-type") == f"{CAR};version=1;order=dfs;dups={dups}"
        assert answer.header("accept-ranges") == "none"
        assert answer.header("content-length") is None
        assert (answer.header("etag") or "").startswith(f'W/"{text(world.root)}.car.')
        assert (
            answer.header("content-disposition") == f'attachment; filename="{text(world.root)}.car"'
        )


def test_etags_of_cars_differ(world: World) -> None:
    queries = (
        "",
        "/a",
        "&car-dups=y",
        "&dag-scope=block",
        "&dag-scope=entity",
        "&entity-bytes=0:*",
    )
    tags = set()
    for query in (*queries, "&entity-bytes=1:*", "&entity-bytes=0:1"):
        path = query if query.startswith("/") else ""
        rest = "" if path else query
        answer, _ = world.ask(f"/ipfs/{{root}}{path}?format=car{rest}")
        tags.add(answer.header("etag"))
    assert len(tags) == 8


def test_a_car_on_a_path(world: World) -> None:
    a, x = world.at(b"a"), world.at(b"a", b"x")
    _, body = world.ask("/ipfs/{root}/a/x?format=car")
    assert blocks(body) == [world.root, a, x]
    assert car.read([body]).roots == (x,)
    _, body = world.ask("/ipfs/{root}/a?format=car&dag-scope=block")
    assert blocks(body) == [world.root, a]
    _, body = world.ask("/ipfs/{root}/many?format=car&dag-scope=entity&entity-bytes=0:3")
    assert blocks(body) == [world.root, world.at(b"many")]


def test_a_car_through_shards(world: World) -> None:
    met: list[Cid] = []

    def get(name: Cid) -> bytes:
        met.append(name)
        return world.dag.kept[name]

    found = hamt.find(world.dag.kept[world.sharded], b"77.txt", get)
    assert found is not None
    _, body = world.ask("/ipfs/{sharded}/77.txt?format=car&dag-scope=block")
    assert blocks(body) == [world.sharded, *met, found.cid]
    _, body = world.ask("/ipfs/{sharded}?format=car&dag-scope=entity")
    met.clear()
    list(hamt.entries(world.dag.kept[world.sharded], get))
    assert blocks(body) == [world.sharded, *met]


def test_a_car_through_documents(world: World) -> None:
    _, body = world.ask("/ipfs/{json}/to/to/0?format=car")
    assert blocks(body) == [world.json, world.cbor, world.leaf]
    _, body = world.ask("/ipfs/{json}/to?format=car&dag-scope=entity")
    assert blocks(body) == [world.json, world.cbor]
    _, body = world.ask("/ipfs/{cbor}?format=car")
    assert set(blocks(body)) == {world.cbor, world.leaf, *below(world.dag, world.root)}


SPANS: Final = {
    "0:*": range(10),
    "0:0": range(1),
    "255:256": range(2),
    "512:*": range(2, 10),
    "512:1023": range(2, 4),
    "512:-1600": range(2, 4),
    "-5:*": range(9, 10),
    "-9999:*": range(10),
    "-9999:-300": range(9),
    "2304:99999": range(9, 10),
    "2560:*": range(0),
    "99999:*": range(0),
    "-3:-9": None,
}


@pytest.mark.parametrize("span", SPANS)
def test_a_car_of_bytes(span: str) -> None:
    world, expected = WORLD, SPANS[span]
    content = b"".join(bytes([n]) * 256 for n in range(10))
    root, _ = world.dag.file(content, width=4)
    answer, body = world.ask(f"/ipfs/{text(root)}?format=car&entity-bytes={span}")
    if expected is None:
        assert answer.status == 400
        return
    leaves = {cid.raw(bytes([n]) * 256) for n in expected}
    got = blocks(body)
    assert got[0] == root
    assert {name for name in got if cid.codec(name) == cid.RAW} == leaves
    # Nodes without a leaf that is wanted are not there either.
    for name in got[1:]:
        if cid.codec(name) == cid.DAG_PB:
            assert leaves & set(below(world.dag, name))


def test_blocks_beside_the_bytes_need_not_be_here() -> None:
    world = World()
    content = b"".join(bytes([n]) * 256 for n in range(10))
    root, _ = world.dag.file(content, width=100)
    for n in (0, 1, 4):
        world.dag.lose(cid.raw(bytes([n]) * 256))
    _, body = world.ask(f"/ipfs/{text(root)}?format=car&entity-bytes=512:1023")
    assert blocks(body) == [root, cid.raw(b"\2" * 256), cid.raw(b"\3" * 256)]
    with pytest.raises(Unavailable):
        world.ask(f"/ipfs/{text(root)}?format=car")


def test_identity_cids_are_never_sent_but_followed() -> None:
    world = World()
    leaf = world.dag.put(b"far", cid.RAW)
    inner = cid.inline(unixfs.directory_node([unixfs.Link(leaf, 3, b"f")]), cid.DAG_PB)
    root = world.dag.put(unixfs.directory_node([unixfs.Link(inner, 60, b"d")]))
    _, body = world.ask(f"/ipfs/{text(root)}?format=car&car-dups=y")
    assert blocks(body) == [root, leaf]
    _, body = world.ask(f"/ipfs/{text(root)}/d/f?format=car")
    assert blocks(body) == [root, leaf]
    assert world.ask(f"/ipfs/{text(root)}/d/f")[1] == b"far"
    assert world.ask(f"/ipfs/{text(inner)}?format=raw")[1] == inner[4:]


def test_version_0_is_answered_in_its_own_form() -> None:
    world = World()
    leaf = unixfs.leaf_node(b"hello")
    world.dag.put(leaf)
    v0 = cid.node(leaf)[2:]
    link = b"\x0a\x22" + v0 + b"\x12\x01f\x18" + cid.varint(len(leaf))
    block = b"\x12" + cid.varint(len(link)) + link + b"\x0a\x02\x08\x01"
    root = world.dag.put(block)[2:]
    answer, body = world.ask(f"/ipfs/{text(root)}/f")
    assert body == b"hello"
    assert text(root).startswith("Qm")
    assert answer.header("x-ipfs-roots") == f"{text(root)},{text(v0)}"
    assert answer.header("etag") == f'"{text(v0)}"'
    _, body = world.ask(f"/ipfs/{text(root)}?format=car")
    assert [block.written for block in car.read([body]).blocks] == [root, v0]


DOCUMENTS: Final = {
    "cbor": ("dag-cbor", "cbor", "attachment"),
    "json": ("dag-json", "json", "inline"),
    "plain_json": ("json", "json", "inline"),
    "plain_cbor": ("cbor", "cbor", "attachment"),
}


@pytest.mark.parametrize("which", DOCUMENTS)
def test_documents_are_given_as_they_are(world: World, which: str) -> None:
    own, plain, kind = DOCUMENTS[which]
    name = text(world.dags[which])
    for query, type in (("", own), (f"?format={own}", own), (f"?format={plain}", plain)):
        answer, body = world.ask(f"/ipfs/{name}{query}")
        assert body == world.dag.kept[Cid(world.dags[which])]
        assert answer.header("content-type") == negotiation.TYPES[type]
        assert answer.header("etag") == f'"{name}.{type}"'
        assert answer.header("content-disposition") == f'{kind}; filename="{name}.{plain}"'
    answer, _ = world.ask(f"/ipfs/{name}?download=true&filename=x")
    assert answer.header("content-disposition") == 'attachment; filename="x"'


@pytest.mark.parametrize("which", ["cbor", "json"])
def test_a_page_shows_a_document(world: World, which: str) -> None:
    answer, body = world.ask(f"/ipfs/{{{which}}}/", {"accept": "text/html, */*;q=0.8"})
    assert (answer.header("etag") or "").startswith('"DagIndex-')
    assert (answer.header("content-type") or "").startswith("text/html")
    assert answer.header("content-disposition") is None
    assert b"</html>" in body
    assert b'<a href="/ipfs/baf' in body


def named(world: World, value: bytes, key: PeerKey = KEY, until: int = NOW + ipns.HOUR) -> str:
    """Keep a record; return the name."""
    world.records.kept[key.name] = ipns.create(key, value, 1, until, 30 * ipns.MINUTE)
    return peerkey.text(key.name)


def test_a_name_leads_to_what_it_says() -> None:
    world = World()
    name = named(world, f"/ipfs/{text(world.root)}/a".encode())
    answer, body = world.ask(f"/ipns/{name}/x?filename=b.txt")
    assert body == b"xx"
    assert answer.header("cache-control") == "public, max-age=1800"
    assert answer.header("x-ipfs-path") == f"/ipns/{name}/x"
    roots = (world.root, world.at(b"a"), world.at(b"a", b"x"))
    assert answer.header("x-ipfs-roots") == ",".join(map(text, roots))
    assert answer.header("etag") == f'"{text(roots[2])}"'
    assert world.ask(f"/ipns/{name}")[0].header("location") == f"/ipns/{name}/"
    page, _ = world.ask(f"/ipns/{name}/../?format=raw")
    assert page.header("cache-control") == "public, max-age=1800"


def test_a_name_may_lead_to_a_name_but_not_for_ever() -> None:
    world = World()
    other = PeerKey(bytes(32))
    first = named(world, f"/ipns/{peerkey.text(other.name)}/a".encode())
    named(world, f"/ipfs/{text(world.root)}".encode(), other, NOW + 5 * 10**9)
    answer, body = world.ask(f"/ipns/{first}/x")
    assert body == b"xx"
    assert answer.header("cache-control") == "public, max-age=5"
    named(world, f"/ipns/{first}".encode(), other)
    assert world.ask(f"/ipns/{first}/x")[0].status == 502


@pytest.mark.parametrize("value", [b"", b"hello", b"/ipfs/", b"/ipfs/hello", b"/other/x", b"\xff"])
def test_a_name_that_says_nonsense(value: bytes) -> None:
    world = World()
    assert world.ask(f"/ipns/{named(world, value)}")[0].status in (400, 502)


def test_a_record_that_is_not_good() -> None:
    world = World()
    name = named(world, f"/ipfs/{text(world.root)}".encode(), until=NOW)
    for query in ("/", "?format=ipns-record"):
        assert world.ask(f"/ipns/{name}{query}")[0].status == 502
    world.records.kept[KEY.name] = b"junk"
    assert world.ask(f"/ipns/{name}/")[0].status == 502


def test_the_record_itself() -> None:
    world = World()
    name = named(world, f"/ipfs/{text(world.root)}".encode())
    for query, headers in (("?format=ipns-record", {}), ("", {"accept": RECORD})):
        answer, body = world.ask(f"/ipns/{name}{query}", headers)
        assert body == world.records.kept[KEY.name]
        assert answer.header("content-type") == RECORD
        assert (answer.header("cache-control") or "").startswith("public, max-age=1800")
        assert answer.header("content-disposition") == f'attachment; filename="{name}.ipns-record"'
        assert (answer.header("content-location") is None) == bool(query)
    assert world.ask(f"/ipns/{name}/a?format=ipns-record")[0].status == 400
    assert (
        world.ask(f"/ipns/{peerkey.text(PeerKey(bytes(32)).name)}?format=ipns-record")[0].status
        == 404
    )


def test_names_in_base_58_are_sent_to_their_own_spelling(world: World) -> None:
    answer, _ = world.ask(f"/ipns/{peerkey.peer_id(KEY.name)}/a b?x=1")
    assert answer.status == 302
    assert answer.header("location") == f"/ipns/{peerkey.text(KEY.name)}/a%20b?x=1"


def test_domains_that_are_known(world: World) -> None:
    links = {"example.org": f"/ipfs/{text(world.root)}/a"}
    door = IpfsDoor(world.dag, lambda: NOW, dnslinks=links)
    answer = door.answer(Request("GET", "/ipns/example.org/x"))
    assert answer is not None
    assert answer.status == 200


def test_what_is_denied_is_gone(world: World) -> None:
    for denied in (world.root, world.at(b"a"), world.at(b"a", b"x")):
        door = IpfsDoor(Withheld(world.dag, frozenset({hash_of(denied)})), lambda: NOW)
        for query in ("", "format=raw", "format=car"):
            path = f"/ipfs/{text(world.root)}/a/x"
            answer = door.answer(Request("GET", path, query))
            assert answer is not None
            assert answer.status == 410


def test_junk_under_a_cid_is_our_fault_not_the_askers() -> None:
    world = World()
    for codec in (cid.DAG_PB, cid.DAG_CBOR, cid.DAG_JSON):
        junk = world.dag.put(b"\xffjunk%d" % codec, codec)
        assert world.ask(f"/ipfs/{text(junk)}/x")[0].status == 502
        assert world.ask(f"/ipfs/{text(junk)}?format=raw")[1].startswith(b"\xffjunk")
    odd = world.dag.put(b"whatever", 0x78)
    assert world.ask(f"/ipfs/{text(odd)}")[0].status == 400
    assert world.ask(f"/ipfs/{text(odd)}?format=raw")[1] == b"whatever"


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_nothing_that_is_asked_breaks_it(path: str, query: str, accept: str) -> None:
    url = f"/ipfs/{text(WORLD.root)}/{path}"
    door = IpfsDoor(WORLD.dag, lambda: NOW)
    for asked in (
        Request("GET", url, query, {"accept": accept, "range": accept}),
        Request("GET", f"/ipfs/{path}", query),
        Request("GET", f"/ipns/{path}", query),
    ):
        answer = http.ask([door], asked)
        for name, value in answer.headers:
            assert "\n" not in value, name
