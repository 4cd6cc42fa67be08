"""What we publish, read by Helia's exporter from our CARs; and HAMTs changed step by step."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from narbor.dag import cachedir
from narbor.doors import http
from narbor.doors.http import Request
from narbor.doors.ipfs import IpfsDoor
from narbor.formats import car, hamt, unixfs
from narbor.formats.unixfs import Link
from narbor.library import Library
from narbor.library.dags import Dags
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.item import Item
from tests.library.store import believed, file_nar, opened
from tests.peers import npm, registry
from tests.peers.test_helia import MANY, Job, imported
from tests.tasks.test_collect import archive, put
from tests.tasks.test_publish import published, record

LONG = b"".join(b"%d /nix/store/%032d-x\n" % (n, n) for n in range(60_000))


@pytest.fixture(scope="module")
def exporter() -> Path:
    """The folder where Helia's exporter is installed."""
    try:
        home = npm.install(Path(__file__).parent / "exporter")
    except npm.NotInstalled as error:
        registry.missing("helia's exporter", str(error))
        pytest.skip(f"helia's exporter: {error}")
    version = npm.version(home, "ipfs-unixfs-exporter")
    registry.ran("helia's exporter", f"ipfs-unixfs-exporter {version}")
    return home


def export(library: Library, root: Cid, file: Path) -> None:
    """Write a CAR of a root, as the gateway gives it."""
    door = IpfsDoor(Dags(library), lambda: 0)
    answer = http.ask([door], Request("GET", f"/ipfs/{cid.text(root)}", "format=car"))
    assert isinstance(answer.body, Iterator)
    with file.open("wb") as out:
        for chunk in answer.body:
            out.write(chunk)


def read(home: Path, file: Path, *asked: dict[str, object]) -> Any:
    """What Helia finds in a CAR."""
    return npm.run(home, "export.mjs", {"car": str(file), "ask": asked})


def crowd(item: Item, count: int) -> Iterator[Item]:
    """Items that have the blocks of another one."""
    for number in range(count):
        path = replace(item.path, hash_part=f"{number:032}", name=f"other{number}")
        yield replace(item, path=path)


def test_a_published_cache_reads_back(exporter: Path, tmp_path: Path) -> None:
    content = file_nar(LONG)
    with opened(tmp_path / "s") as library:
        small = put(library, "small", 1)
        long = library.admit(believed("long", content), [content], "test")
        library.commit()
        record(library, *crowd(small, 6000))
        root = published(library).root
        export(library, root, tmp_path / "cache.car")
    top = cid.text(root)
    result = read(
        exporter,
        tmp_path / "cache.car",
        {"path": f"{top}/nar/{long.seal.digest.nix32}.nar"},
        {"path": f"{top}/nar/{long.seal.digest.nix32}.nar", "offset": 1000, "length": 999_999},
        {"path": f"{top}/nar/{small.seal.digest.nix32}.nar"},
        {"path": f"{top}/items/{long.path.base}"},
        {"path": f"{top}/items/{small.path.base}"},
        {"path": f"{top}/nix-cache-info"},
        {"path": f"{top}/items"},
    )
    assert result["roots"] == [top]
    nar = archive("small", 1)
    for found, expected in zip(
        result["found"],
        (content, content[1000:1_000_999], nar, LONG, None, None, None),
        strict=True,
    ):
        if expected is not None:
            assert (found["size"], found["sha256"]) == (
                len(expected),
                sha256(expected).hexdigest(),
            )
    assert result["found"][4]["names"] == ["own", "shared"]
    assert result["found"][5]["size"] == len(cachedir.info("/nix/store", 40))
    assert len(result["found"][6]["names"]) == 6002


def test_the_car_is_whole(exporter: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "s") as library:
        put(library, "one")
        export(library, published(library).root, tmp_path / "x.car")
    blocks = list(car.read([(tmp_path / "x.car").read_bytes()]).blocks)
    assert read(exporter, tmp_path / "x.car")["blocks"] == len(blocks)


@pytest.fixture(scope="module")
def importer() -> Path:
    """The folder where Helia's importer is installed."""
    try:
        return npm.install(Path(__file__).parent / "helia")
    except npm.NotInstalled as error:
        registry.missing("helia", str(error))
        pytest.skip(f"helia: {error}")


def test_a_hamt_changed_step_by_step_is_helias(importer: Path) -> None:
    job = Job(MANY)
    root, _ = imported(importer, job.request())
    whole, _ = job.directory(MANY)
    assert whole == root
    links = list(hamt.entries(job.nodes[whole], job.nodes.__getitem__))
    here, _ = hamt.directory([], job.put)
    for at in range(0, len(links), 700):
        some: dict[bytes, Link | None] = {link.name: link for link in links[at : at + 700]}
        some |= {b"x%d" % n: Link(cid.raw(b""), 0, b"") for n in range(at, at + 300)}
        here, _ = hamt.update(job.nodes[here], some, job.nodes.__getitem__, job.put)
    gone: dict[bytes, Link | None] = {b"x%d" % n: None for n in range(len(links) + 700)}
    here, tsize = hamt.update(job.nodes[here], gone, job.nodes.__getitem__, job.put)
    assert here == root
    assert tsize == len(job.nodes[root]) + sum(
        link.tsize for link in unixfs.parse(job.nodes[root]).links
    )
