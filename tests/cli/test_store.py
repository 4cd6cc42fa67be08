"""Asking a store: info, ls, cat, failed, status, forget."""

import json
import subprocess
import sys
from hashlib import sha256

from narbor import config, wiring
from narbor.names import digest, storepath
from tests.cli.program import Farm, Program


def test_info_tells_what_was_signed(filled: Program, farm: Farm) -> None:
    """NarHash, NarSize and references are those of the narinfo."""
    product = farm.products["tool-2.0"]
    done = filled("--json", "info", farm.path("tool-2.0"))
    facts = json.loads(done.stdout)
    assert done.returncode == 0
    assert facts["path"] == str(product.path)
    assert facts["narHash"] == str(product.seal.digest)
    assert facts["narSize"] == product.seal.size
    assert facts["references"] == [farm.products["base-1.0"].path.base]
    assert facts["complete"] is True


def test_info_lists_all_items(filled: Program, farm: Farm) -> None:
    """Without a path, every item is named once."""
    lines = filled("--json", "info").stdout.splitlines()
    assert sorted(json.loads(line)["path"] for line in lines) == sorted(
        map(farm.path, farm.products)
    )


def test_info_goes_on_where_one_is_absent(filled: Program, farm: Farm) -> None:
    """What is here is shown, what is not is listed, and the code is 1."""
    absent = "/nix/store/" + "0" * 32 + "-absent"
    done = filled("info", absent, farm.path("top"))
    assert done.returncode == 1
    assert "-absent" in done.stderr
    assert farm.path("top") in done.stdout


def test_an_item_is_found_by_its_hash_alone(filled: Program, farm: Farm) -> None:
    """A path, a base name, a hash part and a place inside all lead to the item."""
    path = farm.products["top"].path
    for text in (str(path), path.base, path.hash_part, f"{path}/", f"{path}/bin/tool"):
        assert str(path) in filled("info", text).stdout


def test_ls_lists_a_folder_and_a_tree(filled: Program, farm: Farm) -> None:
    """One level by default; everything below with -R."""
    tool = farm.path("tool-2.0")
    assert [line.split()[-1] for line in filled("ls", tool).stdout.splitlines()] == [
        "bin/",
        "share/",
    ]
    lines = filled("--json", "ls", "-R", tool).stdout.splitlines()
    entries = {entry["path"]: entry for entry in map(json.loads, lines)}
    assert list(entries) == [
        "bin", "bin/tool", "share", "share/empty", "share/text",
    ]  # fmt: skip
    assert entries["bin/tool"]["executable"] is True
    assert entries["share/text"]["size"] == 5000
    assert f"bin/tool -> {tool}/bin/tool" in filled("ls", farm.path("top") + "/bin").stdout


def test_cat_gives_the_bytes(filled: Program, farm: Farm) -> None:
    """A file comes out as it went in."""
    tool = farm.path("tool-2.0")
    assert filled("cat", f"{tool}/share/text").stdout == "line\n" * 1000
    assert filled("cat", f"{tool}/share/empty").stdout == ""
    assert filled("cat", f"{farm.path('base-1.0')}/share/state").stdout == "one\n"


def test_cat_gives_the_nar(filled: Program, farm: Farm) -> None:
    """The NAR is the one that was signed, bit for bit."""
    product = farm.products["tool-2.0"]
    done = subprocess.run(
        [sys.executable, "-m", "narbor", "cat", "--nar", str(product.path)],
        env=filled.environment(),
        capture_output=True,
        check=True,
    )
    assert digest.Digest("sha256", sha256(done.stdout).digest()) == product.seal.digest


def test_what_is_not_inside_is_2(filled: Program, farm: Farm) -> None:
    """A folder is no file, and what is absent is named."""
    tool = farm.path("tool-2.0")
    for words in (("cat", tool), ("cat", f"{tool}/bin"), ("cat", f"{tool}/nope")):
        done = filled(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "regular file" in done.stderr
    done = filled("ls", f"{tool}/nope")
    assert done.returncode == 2
    assert "nope" in done.stderr


def test_a_reader_that_leaves_is_no_error(filled: Program, farm: Farm) -> None:
    """`narbor ... | head` ends quietly."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "narbor", "info"],
        env=filled.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdout is not None and writer.stderr is not None
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(60) == 1


def test_failed_tells_what_and_why(filled: Program, farm: Farm) -> None:
    """Failures and conflicts stand on record with upstream and reason."""
    assert filled("failed").stderr == "nothing failed\n"
    path = farm.products["top"].path
    library = wiring.open_library(config.load(filled.home, None, {}), write=True)
    library.fail([(path.base, "http://upstream", "the NAR is short")])
    library.conflict(path, "http://other", b"text", "another NarHash")
    library.close()
    found = [json.loads(line) for line in filled("--json", "failed").stdout.splitlines()]
    assert [(each["kind"], each["upstream"], each["reason"]) for each in found] == [
        ("failed", "http://upstream", "the NAR is short"),
        ("conflict", "http://other", "another NarHash"),
    ]
    assert "the NAR is short" in filled("failed").stdout


def test_status_counts(filled: Program, farm: Farm) -> None:
    """Items, bytes and what is hidden are counted."""
    done = filled("--json", "status")
    facts = json.loads(done.stdout)
    assert facts["items"] == 3
    assert facts["narSize"] == sum(each.seal.size for each in farm.products.values())
    assert facts["hidden"] == {}
    assert 0 < facts["atRest"] < facts["narSize"] + 10_000
    assert "3 of /nix/store" in filled("status").stdout


def test_forget_takes_the_pin_away_once(filled: Program, farm: Farm) -> None:
    """The first time it is forgotten, the second time there is nothing to forget."""
    library = wiring.open_library(config.load(filled.home, None, {}), write=True)
    library.pin(storepath.parse(farm.path("top")))
    library.close()
    assert json.loads(filled("--json", "status").stdout)["pins"] == 1
    assert filled("forget", farm.path("top")).returncode == 0
    assert json.loads(filled("--json", "status").stdout)["pins"] == 0
    again = filled("forget", farm.path("top"))
    assert again.returncode == 1
    assert farm.path("top") in again.stderr
