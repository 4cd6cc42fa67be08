"""Listings as real Nix writes them, read by `narbor ls --from` before and held against a mirror."""

import json
from pathlib import Path

import pytest

from tests.peers import registry, servers, suite

SCRIPT = """
mkdir -p /tmp/thing/bin /tmp/thing/empty/deeper "/tmp/thing/share/two words"
printf '#!/bin/sh\\necho hello\\n' > /tmp/thing/bin/hello
chmod +x /tmp/thing/bin/hello
ln -s hello /tmp/thing/bin/hi
: > "/tmp/thing/share/two words/nothing"
echo text > "/tmp/thing/share/caf\u00e9"
"""


# It keeps bodies as they come, and not what was said of their encoding.
PUT = "dav_methods PUT; create_full_put_path on; client_max_body_size 0;"


@pytest.mark.parametrize(
    ("name", "compression"),
    [*((name, "") for name in suite.SUITES), ("nix 2.34", "&ls-compression=br")],
)
def test_nix_writes_them(name: str, compression: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    machine = suite.Machine(suite.need(name), tmp_path / "machine", {})
    machine.configure()
    registry.ran(name, machine.nix_version())
    machine.run("sh", "-c", SCRIPT)
    path = machine.run("nix-store", "--add", "/tmp/thing").strip()
    narbor = servers.Narbor(tmp_path / "home")
    with servers.nginx(cache, tmp_path / "nginx", PUT) as server:
        to = f"{server.url}?write-nar-listing=1{compression}"
        machine.run("nix", "copy", "--no-check-sigs", "--to", to, path)
        written = (cache / f"{Path(path).name[:32]}.ls").read_bytes()
        assert written.startswith(b"{") == (compression == "")
        words = ("ls", "-R", "--json", path)
        told = [narbor.run(*words, "--from", each) for each in (str(cache), server.url)]
        assert not narbor.home.exists()
        narbor.run("mirror", server.url, path)
    here = narbor.run(*words)
    assert told == [here, here]
    found = {each["path"]: each for each in map(json.loads, here.splitlines())}
    assert found["bin/hello"]["executable"] is True
    assert found["bin/hi"]["target"] == "hello"
    assert found["share/two words/nothing"]["size"] == 0
    assert {"share/caf\u00e9", "empty/deeper"} <= found.keys()
