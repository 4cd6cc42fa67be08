"""The gateway over a real store: the same blocks, whatever they are of."""

from pathlib import Path

import pytest

from narbor.blocks import BlockMissing
from narbor.doors import http
from narbor.doors.http import Request
from narbor.doors.ipfs import IpfsDoor
from narbor.doors.ipfs.contentpath import Blocks
from narbor.formats import car, dagcbor, unixfs
from narbor.formats.dagcbor import Link
from narbor.library import Library
from narbor.library.dags import Dags
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.item import Item
from tests.library.store import believed, file_nar, opened, read_only

CONTENT = b"".join(b"%d," % n for n in range(600_000))


def admit(library: Library, name: str, content: bytes) -> Item:
    """Keep an item of one file."""
    archive = file_nar(content)
    item = library.admit(believed(name, archive), [archive], "test")
    library.commit()
    return item


def ask(dags: Blocks, path: str, **headers: str) -> bytes:
    """Ask a gateway over these blocks."""
    path, _, query = path.partition("?")
    answer = http.ask([IpfsDoor(dags, lambda: 0)], Request("GET", path, query, headers))
    assert answer.status in (200, 206)
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def test_archives_and_trees_of_items(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as library:
        item = admit(library, "long", CONTENT)
    with read_only(tmp_path / "s") as library:
        dags = Dags(library)
        archive = ask(dags, f"/ipfs/{cid.text(item.archive)}")
        assert archive == file_nar(CONTENT)
        assert ask(dags, f"/ipfs/{cid.text(item.tree)}") == CONTENT
        part = ask(dags, f"/ipfs/{cid.text(item.archive)}", range="bytes=1000000-1200000")
        assert part == archive[1_000_000:1_200_001]
        body = ask(dags, f"/ipfs/{cid.text(item.archive)}?format=car")
        read = {block.cid: block.data for block in car.read([body]).blocks}
        assert read[item.archive] == dags.block(item.archive)
        assert b"".join(read[name] for name in read if cid.codec(name) == cid.RAW) == CONTENT


def test_blocks_of_other_codecs_and_other_names(tmp_path: Path) -> None:
    leaf, node = b"a leaf", unixfs.directory_node([])
    document = dagcbor.encode({"to": Link(cid.raw(leaf))})
    named = Cid(b"\1\x71" + cid.raw(document)[2:])
    with opened(tmp_path / "s") as library:
        blocks = [(cid.raw(leaf), leaf), (cid.node(node), node), (named, document)]
        library.blocks.put_many(blocks)
        library.blocks.sync()
        dags = Dags(library)
        for name, block in blocks:
            for codec in (cid.RAW, cid.DAG_PB, cid.DAG_CBOR, cid.JSON):
                other = Cid(b"\1" + cid.varint(codec) + name[2:])
                assert dags.block(other) == block
                assert dags.block_size(other) == len(block)
        assert ask(dags, f"/ipfs/{cid.text(named)}/to") == leaf
        assert dags.block(cid.raw(b"absent")) is None
        assert dags.block_size(cid.raw(b"absent")) is None
        assert dags.block(Cid(bytes.fromhex("01551340") + bytes(64))) is None
        assert dags.block(cid.inline(b"x")) == b"x"
        assert dags.block_size(cid.inline(b"x")) == 1
        found = dags.blocks([cid.raw(leaf), cid.raw(b"absent")])
        assert next(found) == leaf
        with pytest.raises(BlockMissing):
            next(found)
        assert list(dags.blocks([])) == []
        with pytest.raises(BlockMissing):
            list(dags.content(cid.node(b"absent"), 1, 2))
