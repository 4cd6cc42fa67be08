"""Real Nix and what stands beside archives: build logs, realisations, debug symbols.

One machine builds, with content addresses, and publishes to a folder as Nix does; narbor mirrors
that; another machine, which builds nothing, takes it all from narbor.
"""

import json
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from narbor import config, wiring
from tests.peers import registry, servers, suite
from tests.serve.test_life import certificate

BUILD_ID = "abcdef0123456789abcdef0123456789abcdef01"
EXPRESSION = """
let
  build = name: text: more: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" text ];
    PATH = "/usr/bin:/bin";
  } // more);
  addressed = {
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  };
in rec {
  below = build "below" "echo building below; mkdir $out; echo hello > $out/text" addressed;
  above = build "above" "echo building above; mkdir $out; ln -s ${below} $out/below" addressed;
  symbols = build "symbols" ''
    folder=$out/lib/debug/.build-id/@FOLDER@
    echo building symbols; mkdir -p $folder; echo symbols > $folder/@FILE@.debug
  '' { };
}
"""
FEATURES = {"experimental_features": "nix-command ca-derivations"}


@dataclass(frozen=True, slots=True)
class Published:
    """What the building machine published, and a narbor that has mirrored it."""

    narbor: servers.Narbor
    cache: Path
    source: Path
    root: Path
    key: str
    derivations: dict[str, str]
    outputs: dict[str, str]


@pytest.fixture(scope="module", params=list(suite.SUITES))
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    """Build, publish, mirror."""
    root, folder = suite.need(request.param), tmp_path_factory.mktemp("extras")
    source, cache = folder / "source", folder / "cache"
    source.mkdir()
    cache.mkdir()
    text = EXPRESSION.replace("@FOLDER@", BUILD_ID[:2]).replace("@FILE@", BUILD_ID[2:])
    (source / "all.nix").write_text(text)
    machine = suite.Machine(root, folder / "builder", {source: "/world", cache: "/cache"})
    machine.configure(**FEATURES)
    registry.ran(request.param, machine.nix_version())
    keys = ("/cache/key.sec", "/cache/key.pub")
    machine.run("nix-store", "--generate-binary-cache-key", "builder-1", *keys)
    names = ("below", "above", "symbols")
    derivations, outputs = {}, {}
    to = "file:///cache?index-debug-info=true&secret-key=/cache/key.sec"
    for name in names:
        chosen = ("/world/all.nix", "-A", name)
        derivations[name] = machine.run("nix-instantiate", *chosen).strip()
        outputs[name] = machine.run("nix-build", "--no-out-link", *chosen).strip()
        machine.run("nix", "copy", "--to", to, "--file", "/world/all.nix", name)
        if name != "above":  # built under another derivation, in which its input is resolved
            machine.run("nix", "store", "copy-log", "--to", "file:///cache", derivations[name])
    key = (cache / "key.pub").read_text()
    narbor = servers.Narbor(folder / "home")
    narbor.run("mirror", f"file://{cache}", *outputs.values(), "--trust", key, "--logs")
    return Published(narbor, cache, source, root, key, derivations, outputs)


def test_a_machine_that_builds_nothing_gets_what_has_content_addresses(
    published: Published, tmp_path: Path
) -> None:
    library = wiring.open_library(config.load(published.narbor.home, None, {}), write=True)
    kept = list((published.cache / "realisations").iterdir())
    assert len(kept) >= 2
    for file in kept:
        library.keep_realisation(file.name.removesuffix(".doi"), file.read_bytes())
    library.close()
    machine = suite.Machine(published.root, tmp_path / "taker", {published.source: "/world"})
    with published.narbor.server() as server:
        machine.configure(
            **FEATURES,
            substituters=server.url,
            max_jobs="0",
            require_sigs="true",
            trusted_public_keys=published.key,
        )
        got = machine.run("nix-build", "--no-out-link", "/world/all.nix", "-A", "above").strip()
        assert got == published.outputs["above"]
        assert machine.run("cat", f"{got}/below/text") == "hello\n"


def test_logs_are_read_by_nix(published: Published, tmp_path: Path) -> None:
    machine = suite.Machine(published.root, tmp_path / "reader", {published.source: "/world"})
    with published.narbor.server() as server:
        machine.configure(**FEATURES, substituters=server.url)
        for name in ("below", "symbols"):
            found = machine.run("nix-instantiate", "/world/all.nix", "-A", name).strip()
            assert found == published.derivations[name]
            assert machine.run("nix", "log", found) == f"building {name}\n"
        silent = machine.run("nix-instantiate", "/world/all.nix", "-A", "above").strip()
        done = machine.attempt("nix", "log", silent)
        assert done.returncode != 0 and "is not available" in done.stderr


def test_symbols_are_found_where_nix_would_have_written_them(published: Published) -> None:
    (written,) = (published.cache / "debuginfo").iterdir()
    assert written.name == f"{BUILD_ID}.debug"
    theirs = json.loads(written.read_bytes())
    with published.narbor.server() as server, httpx.Client(trust_env=False) as client:
        for key in (written.name, BUILD_ID):
            url = f"{server.url}/debuginfo/{key}"
            ours = client.get(url).json()
            assert ours["member"] == theirs["member"]
            archive = client.get(httpx.URL(url).join(ours["archive"]))
            assert archive.status_code == 200
            base = Path(published.outputs["symbols"]).name
            said = client.get(f"{server.url}/{base[:32]}.narinfo").text
            assert f"\nURL: {ours['archive'].removeprefix('../')}\n" in said
        assert client.get(f"{server.url}/debuginfo/{'0' * 40}.debug").status_code == 404


def test_over_tls_nix_speaks_http2(published: Published, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, PrivateFormat.PKCS8)
    log, port = tmp_path / "access.log", servers.free_port()
    program = (str(Path(sysconfig.get_path("scripts"), "narbor")), "--home")
    listen = ("--listen", f"127.0.0.1:{port}", "--workers", "2", "--access-log", str(log))
    secure = ("--tls-cert", str(cert), "--tls-key", str(key))
    argv = (*program, str(published.narbor.home), "serve", *listen, *secure)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "cert.pem").write_bytes(cert.read_bytes())
    machine = suite.Machine(published.root, tmp_path / "taker", {trusted: "/world"})
    machine.configure(**FEATURES, require_sigs="true", trusted_public_keys=published.key)
    path = published.outputs["symbols"]
    copy = ("nix", "copy", "--from", f"https://localhost:{port}", path)
    with servers.Server(argv, port, tmp_path / "log"):
        machine.run("env", "NIX_SSL_CERT_FILE=/world/cert.pem", *copy)
    machine.run("nix", "store", "verify", "--sigs-needed", "1", path)
    answered = re.findall(r'" (\d+) \d+ [\d.]+ "', log.read_text())
    assert set(answered) == {"200"}
    assert log.read_text().count(' HTTP/2" ') == len(answered)


def test_an_exported_folder_gives_the_same(published: Published, tmp_path: Path) -> None:
    """Content addresses, logs and symbols, by `file://`: nobody serves."""
    library = wiring.open_library(config.load(published.narbor.home, None, {}), write=True)
    for file in (published.cache / "realisations").iterdir():
        library.keep_realisation(file.name.removesuffix(".doi"), file.read_bytes())
    library.close()
    out = tmp_path / "out"
    published.narbor.run("export", str(out), "--logs", "--listings")
    shared = {published.source: "/world", out: "/carried"}
    machine = suite.Machine(published.root, tmp_path / "taker", shared)
    machine.configure(
        **FEATURES,
        substituters="file:///carried",
        max_jobs="0",
        require_sigs="true",
        trusted_public_keys=published.key,
    )
    got = machine.run("nix-build", "--no-out-link", "/world/all.nix", "-A", "above").strip()
    assert machine.run("cat", f"{got}/below/text") == "hello\n"
    below = published.derivations["below"]
    assert machine.run("nix", "log", below) == "building below\n"
    (theirs,) = (published.cache / "debuginfo").iterdir()
    ours = json.loads((out / "debuginfo" / theirs.name).read_bytes())
    assert ours["member"] == json.loads(theirs.read_bytes())["member"]
    assert (out / "debuginfo" / ours["archive"]).resolve().is_file()
    listed = json.loads((out / f"{Path(got).name[:32]}.ls").read_bytes())
    assert listed["root"]["entries"]["below"]["type"] == "symlink"
