"""A release whose packages nobody tells: real Nix evaluates its expressions."""

import io
import json
import os
import shlex
import tarfile
from pathlib import Path

import pytest

from narbor import config, wiring
from narbor.formats import programs
from tests.cli.program import Program
from tests.fakes.channel import NAME, REVISION, Channel, expressions
from tests.fakes.channelserver import publish
from tests.fakes.upstream import FakeCache
from tests.peers import registry, suite

C = "nixos-25.05"
SYSTEM = "x86_64-linux"
TOOL = f"/nix/store/{'a' * 32}-tool-1.0"
DOCS = f"/nix/store/{'b' * 32}-tool-1.0-doc"
TOP = """{ system ? "none" }: let
  made = attributes: attributes // { type = "derivation"; inherit system; };
in {
  tool = made {
    name = "tool-1.0"; drvPath = "/nix/store/cccccccccccccccccccccccccccccccc-tool.drv";
    outputs = [ "out" "doc" ]; outPath = "%(tool)s"; outputName = "out";
    out.outPath = "%(tool)s"; doc.outPath = "%(docs)s";
  };
  set = { recurseForDerivations = true; broken = throw "not for this one"; };
}"""


@pytest.fixture(params=list(suite.SUITES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> suite.Machine:
    """A machine with nothing but one real Nix, which sees our temporary files."""
    name: str = request.param
    made = suite.Machine(suite.need(name), tmp_path / "machine", {tmp_path: str(tmp_path)})
    made.configure()
    registry.ran(name, made.nix_version())
    return made


def test_nix_finds_the_packages_of_a_channel(machine: suite.Machine, tmp_path: Path) -> None:
    """They are searched for, and their programs go into the expressions."""
    bin = tmp_path / "bin"
    bin.mkdir()
    nix = bin / "nix-env"
    nix.write_text(f'#!/bin/sh\nexec {shlex.join(machine.command("nix-env"))} "$@"\n')
    nix.chmod(0o755)
    narbor = Program(tmp_path / "home")
    narbor.home.mkdir()
    with Channel() as farm, FakeCache() as web:
        farm.put(TOOL, {"bin": {"tool": b"#!/bin/sh\n", "data": b"x"}})
        farm.put(DOCS, {"share": b"text"})
        top = (TOP % {"tool": TOOL, "docs": DOCS}).encode()
        packed = expressions(NAME, {"default.nix": top})
        url = publish(web, C, NAME, REVISION, [TOOL, DOCS], {"nixexprs.tar.xz": packed})
        values = {
            "name": C,
            "channel-url": url,
            "caches": [farm.cache.url],
            "keys": [str(farm.key.public)],
            "systems": [SYSTEM],
        }
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        (narbor.home / "narbor.toml").write_text("[[channel]]\n" + "".join(lines))
        path = f"{bin}:{os.environ['PATH']}"
        done = narbor("release", "make", PATH=path, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "1 packages, found by evaluating" in done.stderr
    done = narbor("--json", "search", "tool", "--channel", C)
    (found,) = map(json.loads, done.stdout.splitlines())
    assert [found[fact] for fact in ("attribute", "system", "name")] == ["tool", SYSTEM, "tool-1.0"]
    outputs = {name: (each["path"], each["here"]) for name, each in found["outputs"].items()}
    assert outputs == {"out": (TOOL, True), "doc": (DOCS, True)}
    assert list(found["outputs"]) == ["out", "doc"]
    assert index(narbor.home) == (("tool", SYSTEM, "tool"),)


def index(home: Path) -> tuple[programs.Program, ...]:
    """Read the programs in the expressions of the release."""
    library = wiring.open_library(config.load(home, None, {}))
    try:
        file = library.catalogue.file(C, NAME, "nixexprs.tar.xz")
        assert file is not None
        packed = io.BytesIO(b"".join(library.content(file.root)))
    finally:
        library.close()
    with tarfile.open(fileobj=packed, mode="r:xz") as tar:
        member = tar.extractfile(f"{NAME}/programs.sqlite")
        assert member is not None
        return programs.parse(member.read())
