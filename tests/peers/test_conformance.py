"""The public gateway-conformance suite, wherever its program is on the PATH: all that it tests.

Its fixtures are put into a store of ours as they come, its records and domains too.
"""

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from narbor import wiring
from narbor.config import Config
from narbor.formats import car
from narbor.library import Library
from narbor.names import peerkey
from tests.peers import registry, servers

NAME: Final = "gateway-conformance"
PARENT: Final = "gateway.example"
LEAST: Final = 1000  # tests; fewer would be another suite


@pytest.fixture
def suite() -> str:
    """Find the program."""
    program = shutil.which(NAME)
    if program is None:
        registry.missing(NAME, "it is not on the PATH")
        pytest.skip(f"{NAME}: it is not on the PATH")
    return program


def chunks(file: Path) -> Iterator[bytes]:
    """Read a file."""
    with file.open("rb") as opened:
        while data := opened.read(1 << 16):
            yield data


def fill(library: Library, fixtures: Path) -> None:
    """Put the blocks and records of the fixtures into a store."""
    for file in sorted(fixtures.glob("*.car")):
        # One block is under another hash than we keep.
        read = car.read(chunks(file), refuse=lambda error: None)
        blocks = {block.cid: block.data for block in read.blocks}
        absent = library.blocks.missing(blocks)
        library.blocks.put_many([(name, blocks[name]) for name in absent])
    library.blocks.sync()
    for file in fixtures.glob("*.ipns-record"):
        name = peerkey.parse(re.split("[_.]", file.name)[0])
        before = library.catalogue.record_of(name)
        assert library.catalogue.keep_record(name, file.read_bytes(), before)


def test_the_gateway_is_one(suite: str, tmp_path: Path) -> None:
    fixtures, home = tmp_path / "fixtures", tmp_path / "home"
    fixtures.mkdir()
    extract = (suite, "extract-fixtures", "--directory", str(fixtures))
    subprocess.run(extract, check=True, capture_output=True)
    with closing(wiring.open_library(Config(home=home), write=True)) as library:
        fill(library, fixtures)
    domains = json.loads((fixtures / "dnslinks.json").read_text("utf-8"))["domains"]
    links = "".join(f"{json.dumps(name)} = {json.dumps(to)}\n" for name, to in domains.items())
    said = f'[ipfs]\nsubdomain-hosts = ["{PARENT}"]\n[ipfs.dnslinks]\n{links}'
    (home / "narbor.toml").write_text(said, "utf-8")
    report = tmp_path / "report.json"
    with servers.Narbor(home).server() as server:
        words = ("--gateway-url", server.url, "--subdomain-url", f"http://{PARENT}")
        done = subprocess.run(
            (suite, "test", *words, "--json", str(report)), check=False, capture_output=True
        )
    ended: Counter[str] = Counter()
    failed = []
    for line in report.read_text("utf-8").splitlines():
        event = json.loads(line)
        if "Test" in event and event["Action"] in ("pass", "fail", "skip"):
            ended[event["Action"]] += 1
            failed += [event["Test"]] * (event["Action"] != "pass")
    assert failed == []
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert ended["pass"] >= LEAST
    registry.ran(NAME, f"{ended['pass']} tests")
