"""The binary cache, asked as Nix asks it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import cast

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.nix import NixDoor
from narbor.formats import narinfo
from narbor.names import cid
from narbor.names.item import Item
from narbor.names.keys import Keyring, SecretKey
from tests.fakes.library import FakeLibrary, Link, Program, Tree, world

KEY = SecretKey("ours-1", bytes(range(32)))
OTHER = SecretKey("theirs-1", bytes(32))


def ask(door: NixDoor, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask a door as the server does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.ask([door], Request(method, path, "", named))


def body(answer: Answer) -> bytes:
    """Return the whole body."""
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def archive_of(library: FakeLibrary, item: Item) -> bytes:
    """Return the true archive."""
    return library.archives[item.seal.digest]


def test_cache_info_has_store_mass_query_and_priority() -> None:
    answer = ask(NixDoor(FakeLibrary("/other/store"), priority=7), "/nix-cache-info")
    assert answer.body == b"StoreDir: /other/store\nWantMassQuery: 1\nPriority: 7\n"
    assert answer.header("content-type") == "text/x-nix-cache-info"


@pytest.mark.parametrize(("prefix", "compression"), [("", "zstd"), ("/plain", "none")])
def test_what_a_narinfo_names_is_there_with_that_hash_and_size(
    prefix: str, compression: str
) -> None:
    library = FakeLibrary()
    for item in world(library).values():
        said = narinfo.parse(body(ask(NixDoor(library), f"{prefix}/{item.path.hash_part}.narinfo")))
        assert (said.path, said.seal, said.compression) == (item.path, item.seal, compression)
        assert said.references == tuple(sorted(item.references))
        answer = ask(NixDoor(library), f"{prefix}/{said.url}")
        got = body(answer)
        assert said.file_hash is not None
        assert sha256(got).digest() == said.file_hash.value
        assert len(got) == said.file_size == int(answer.header("content-length") or "")
        plain = got if compression == "none" else zstandard.decompress(got)
        assert plain == archive_of(library, item)


def test_fields_stand_in_the_order_of_nix() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y", ("0" * 32 + "-ref",), ("k:AAAA",), deriver="1" * 32 + "-x.drv")
    text = body(ask(NixDoor(library, (KEY,)), f"/{item.path.hash_part}.narinfo")).decode()
    names = [line.partition(":")[0] for line in text.splitlines()]
    assert " ".join(names) == (
        "StorePath URL Compression FileHash FileSize NarHash NarSize References Deriver Sig Sig CID"
    )


@pytest.mark.parametrize("prefix", ["", "/plain"])
def test_a_narinfo_names_the_root_of_the_archive_that_is_here(prefix: str) -> None:
    library = FakeLibrary()
    bare = library.add("x", b"y", (), ("k:AAAA",))
    theirs = (("CID", "bafkqaaa"), ("System", "x86_64-linux"), ("CID", "another"))
    item = replace(bare, extra=theirs)
    library.items[item.path.hash_part] = item
    said = narinfo.parse(body(ask(NixDoor(library), f"{prefix}/{item.path.hash_part}.narinfo")))
    assert said.extra == (("System", "x86_64-linux"), ("CID", cid.text(item.archive)))
    assert said.text.endswith(b"\nCID: " + cid.text(item.archive).encode() + b"\n")
    assert said.signatures == item.signatures


def test_an_empty_list_of_references_keeps_its_blank() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y")
    assert b"\nReferences: \n" in body(ask(NixDoor(library), f"/{item.path.hash_part}.narinfo"))


def test_upstream_signatures_stay_in_order_and_ours_follow_once() -> None:
    library = FakeLibrary()
    bare = library.add("x", b"y")
    signed = narinfo.fingerprint(bare.path, bare.seal, ())
    item = library.add("x", b"y", (), ("z:AAAA", OTHER.sign(signed), "a:BBBB"))
    door = NixDoor(library, (KEY, OTHER))
    said = narinfo.parse(body(ask(door, f"/{item.path.hash_part}.narinfo")))
    assert said.signatures == (*item.signatures, KEY.sign(signed))
    ring = Keyring((KEY.public, OTHER.public))
    assert set(ring.signers(signed, said.signatures)) == {"ours-1", "theirs-1"}


@pytest.mark.parametrize("prefix", ["", "/plain"])
@given(data=st.data())
def test_any_range_of_an_archive_is_that_slice(prefix: str, data: st.DataObject) -> None:
    library = FakeLibrary()
    item = library.add("x", {b"f": b"some content " * 400})
    door = NixDoor(library)
    url = narinfo.parse(body(ask(door, f"{prefix}/{item.path.hash_part}.narinfo"))).url
    whole = body(ask(door, f"{prefix}/{url}"))
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first, len(whole) + 10))
    answer = ask(door, f"{prefix}/{url}", range=f"bytes={first}-{last}")
    assert (answer.status, body(answer)) == (206, whole[first : last + 1])
    assert answer.header("accept-ranges") == "bytes"


def test_what_is_not_rendered_as_zstd_is_named_as_it_is() -> None:
    library = FakeLibrary(retired=True)
    item = library.add("hello", b"hello")
    said = narinfo.parse(body(ask(NixDoor(library), f"/{item.path.hash_part}.narinfo")))
    assert (said.compression, said.file_hash, said.file_size) == (
        "none",
        item.seal.digest,
        item.seal.size,
    )
    assert body(ask(NixDoor(library), f"/{said.url}")) == library.archives[item.seal.digest]


def test_archives_are_immutable_and_tagged_by_content() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y" * 3000)
    path = f"/nar/{item.seal.digest.nix32}.nar"
    answer = ask(NixDoor(library), path)
    assert answer.header("etag") == f'"{item.seal.digest.nix32}"'
    assert "immutable" in (answer.header("cache-control") or "")
    assert answer.header("content-encoding") is None
    assert ask(NixDoor(library), path, if_none_match=answer.header("etag") or "").status == 304


def test_head_says_what_get_says() -> None:
    library = FakeLibrary()
    item = world(library)["hello-2.12"]
    library.logs["x.drv"] = b"built"
    for path in (
        "/nix-cache-info",
        f"/{item.path.hash_part}.narinfo",
        f"/nar/{item.seal.digest.nix32}.nar",
        f"/{item.path.hash_part}.ls",
        "/log/x.drv",
        "/nothing",
        f"/{'0' * 32}.narinfo",
    ):
        got, head = ask(NixDoor(library), path), ask(NixDoor(library), path, "HEAD")
        assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
        assert got.header("content-length") == str(len(body(got)))
    assert library.open_bodies == 0


@pytest.mark.parametrize(
    "path",
    [
        f"/{'0' * 32}.narinfo",
        "/short.narinfo",
        f"/{'e' * 32}.narinfo",
        f"/nar/{'0' * 52}.nar",
        f"/nar/{'z' * 52}.nar",
        f"/nar/{'0' * 52}.nar.zst",
        f"/nar/{'0' * 52}.nar.xz",
        f"/{'0' * 32}.ls",
        "/log/none.drv",
        "/realisations/sha256:00!out.doi",
        "/build-trace-v2/x.drv/out.doi",
        "/debuginfo/00ff",
        "/debuginfo/00ff.debug",
        "/",
        "/index.html",
        "/nar/../nix-cache-info",
        "/nix-cache-info/",
        "/nix-cache-info\n",
        "/plain",
        "/plain/plain/nix-cache-info",
        "/\u0660" + "0" * 31 + ".narinfo",
    ],
)
def test_what_is_absent_is_a_quick_404_in_text(path: str) -> None:
    library = FakeLibrary()
    world(library)
    answer = ask(NixDoor(library), path)
    assert answer.status == 404
    assert (answer.header("content-type") or "").startswith("text/plain")
    seconds = (answer.header("cache-control") or "").rpartition("max-age=")[2]
    assert seconds == "no-store" or int(seconds) < 60


def test_a_zstd_url_does_not_name_the_plain_archive_nor_the_other_way() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y")
    file_hash = library.rendering(item, "zstd").digest
    assert ask(NixDoor(library), f"/nar/{item.seal.digest.nix32}.nar.zst").status == 404
    assert ask(NixDoor(library), f"/nar/{file_hash.nix32}.nar").status == 404


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_405_where_something_could_be(method: str) -> None:
    answer = ask(NixDoor(FakeLibrary()), "/nix-cache-info", method)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")
    assert ask(NixDoor(FakeLibrary()), "/else/where", method).status == 404


def test_an_item_of_another_store_is_not_shown() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y", store="/gnu/store")
    assert ask(NixDoor(library), f"/{item.path.hash_part}.narinfo").status == 404
    assert ask(NixDoor(library), f"/{item.path.hash_part}.ls").status == 404


def test_a_store_that_is_away_is_503_not_404() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y")
    library.down = True
    assert ask(NixDoor(library), f"/{item.path.hash_part}.narinfo").status == 503
    assert ask(NixDoor(library), "/log/x").status == 503


def test_only_what_depends_on_the_library_alone_is_ready() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y")
    door = NixDoor(library)
    assert ask(door, f"/{item.path.hash_part}.narinfo").ready
    assert ask(door, f"/{'0' * 32}.narinfo").ready
    nar = f"/nar/{item.seal.digest.nix32}.nar"
    assert ask(door, nar).ready
    assert not ask(door, nar, range="bytes=0-1").ready
    tag = ask(door, f"/{item.path.hash_part}.narinfo").header("etag") or ""
    assert not ask(door, f"/{item.path.hash_part}.narinfo", if_none_match=tag).ready


def listed(node: dict[str, object], archive: bytes) -> Tree:
    """Rebuild a tree from its listing, contents read at narOffset."""
    if node["type"] == "symlink":
        return Link(cast(str, node["target"]).encode())
    if node["type"] == "directory":
        below = cast(dict[str, dict[str, object]], node["entries"])
        return {name.encode(): listed(each, archive) for name, each in below.items()}
    offset, size = cast(int, node.get("narOffset", 0)), cast(int, node["size"])
    content = archive[offset : offset + size]
    return Program(content) if node.get("executable") else content


names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8).map(
    str.encode
).filter(lambda name: name not in (b".", b".."))  # fmt: skip
leaves = st.one_of(
    st.binary(max_size=20),
    st.builds(Program, st.binary(max_size=20)),
    st.builds(Link, names),
)
trees: st.SearchStrategy[Tree] = st.recursive(
    cast("st.SearchStrategy[Tree]", leaves),
    lambda below: st.dictionaries(names, below, max_size=4),
    max_leaves=12,
)


@given(trees)
def test_a_listing_holds_the_tree_and_its_offsets(tree: Tree) -> None:
    library = FakeLibrary()
    item = library.add("x", tree)
    text = json.loads(body(ask(NixDoor(library), f"/{item.path.hash_part}.ls")))
    assert text["version"] == 1
    assert listed(text["root"], archive_of(library, item)) == tree


def test_a_long_listing_is_streamed_with_its_length() -> None:
    library = FakeLibrary()
    item = library.add("x", {f"a rather long name {n}".encode(): b"" for n in range(20000)})
    answer = ask(NixDoor(library), f"/{item.path.hash_part}.ls")
    assert isinstance(answer.body, Iterator)
    text = body(answer)
    assert len(text) > 1 << 20
    assert answer.header("content-length") == str(len(text))
    assert len(json.loads(text)["root"]["entries"]) == 20000


@pytest.mark.parametrize("tree", [{b"\xff": b""}, {b"a": Link(b"\xff")}])
def test_what_json_cannot_say_has_no_listing(tree: Tree) -> None:
    library = FakeLibrary()
    item = library.add("x", tree)
    answer = ask(NixDoor(library), f"/{item.path.hash_part}.ls")
    assert answer.status == 404
    assert b"not UTF-8" in body(answer)


def test_logs_realisations_and_debug_symbols() -> None:
    library = FakeLibrary()
    item = library.add("x-debug", b"y")
    library.logs["abc-x.drv"] = b"built\n"
    library.realisations["sha256:00!out"] = b'{"id":"sha256:00!out"}'
    library.realisations["abc-x.drv/out"] = b'{"outPath":"x"}'
    library.symbols["00ff"] = (item, "lib/debug/.build-id/00/ff.debug")
    door = NixDoor(library)
    assert ask(door, "/log/abc-x.drv").body == b"built\n"
    assert ask(door, "/realisations/sha256:00!out.doi").body == b'{"id":"sha256:00!out"}'
    assert ask(door, "/build-trace-v2/abc-x.drv/out.doi").body == b'{"outPath":"x"}'
    url = narinfo.parse(body(ask(door, f"/{item.path.hash_part}.narinfo"))).url
    for path in ("/debuginfo/00ff", "/debuginfo/00ff.debug"):
        said = json.loads(body(ask(door, path)))
        assert said == {"archive": f"../{url}", "member": "lib/debug/.build-id/00/ff.debug"}


def test_a_query_does_not_matter() -> None:
    library = FakeLibrary()
    item = library.add("x", b"y")
    request = Request("GET", f"/nar/{item.seal.digest.nix32}.nar", "hash=abc")
    assert http.ask([NixDoor(library)], request).status == 200
