"""search and which: packages of releases, and what lies in the items."""

import json

import pytest

from narbor import config, wiring
from narbor.catalogue import Package, Release
from tests.cli.program import Farm, Program

SYSTEM = "x86_64-linux"


@pytest.fixture
def released(filled: Program, farm: Farm) -> Program:
    """A store with a channel, a release of it, and packages; one of them is not here."""
    library = wiring.open_library(config.load(filled.home, None, {}), write=True)
    catalogue = library.catalogue
    tool, top = (farm.products[name].path.base for name in ("tool-2.0", "top"))
    absent = "0" * 32 + "-toolbox-1"
    catalogue.record_release(Release("c", "nixos-25.05", None, "farm", "rev", 1), [tool, top])
    catalogue.record_packages(
        "c",
        "nixos-25.05",
        [
            Package("tool", SYSTEM, "tool-2.0", (("out", tool),), "A tool for work"),
            Package("extras.toolbox", SYSTEM, "toolbox-1", (("out", absent),)),
            Package("top", "aarch64-linux", "top", (("out", top),)),
        ],
    )
    catalogue.publish_release("c", "nixos-25.05", 2)
    catalogue.promote("c", "nixos-25.05", 2)
    library.close()
    return filled


def test_search_gives_the_nearest_first(released: Program, farm: Farm) -> None:
    lines = released("--json", "search", "--channel", "c", "TOOL").stdout.splitlines()
    first, second = map(json.loads, lines)
    assert first["attribute"] == "tool" and first["description"] == "A tool for work"
    assert first["outputs"] == {"out": {"path": farm.path("tool-2.0"), "here": True}}
    assert second["attribute"] == "extras.toolbox"
    assert second["outputs"]["out"]["here"] is False


def test_search_takes_all_words_and_the_system(released: Program) -> None:
    assert "extras" not in released("search", "tool", "work").stdout
    assert released("search", "t", "--system", "aarch64-linux").stdout.split()[0] == "top"
    done = released("search", "no-such-thing")
    assert (done.returncode, done.stdout) == (1, "")


def test_search_says_which_channels_there_are(released: Program) -> None:
    done = released("search", "tool", "--channel", "d")
    assert done.returncode == 2
    assert "no channel is called 'd'; there are c" in done.stderr
    assert released("search", "tool", "--release", "nixos-25.05").returncode == 2


def test_search_without_releases_looks_for_items(filled: Program, farm: Farm) -> None:
    assert filled("search", "TOOL", "2.0").stdout.split() == [farm.path("tool-2.0")]


def test_which_names_items_and_their_packages(released: Program, farm: Farm) -> None:
    lines = sorted(released("which", "bin/tool").stdout.splitlines())
    places = {farm.path("tool-2.0"): "tool (x86_64-linux)", farm.path("top"): "top (aarch64-linux)"}
    assert lines == sorted(f"{path}/bin/tool  {name}" for path, name in places.items())
    assert sorted(released("which", "tool").stdout.splitlines()) == lines
    (found,) = released("--json", "which", "share/text").stdout.splitlines()
    facts = json.loads(found)
    assert facts["path"] == farm.path("tool-2.0") and facts["type"] == "regular"
    assert facts["packages"] == [{"attribute": "tool", "system": SYSTEM}]


def test_which_finds_nothing(filled: Program) -> None:
    done = filled("which", "bin/none")
    assert (done.returncode, done.stdout) == (1, "")
