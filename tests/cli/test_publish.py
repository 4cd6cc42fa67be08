"""`narbor publish`: the root is printed, the same for the same content."""

import json
import stat
from contextlib import closing

from narbor import wiring
from narbor.config import Config
from narbor.formats import ipns
from narbor.names import cid, peerkey
from narbor.names.peerkey import PeerKey
from narbor.tasks.release.lock import locked
from tests.cli.program import Farm, Program
from tests.cli.test_release import configure


def test_the_root_goes_to_standard_output_alone(filled: Program) -> None:
    done = filled("publish")
    assert done.returncode == 0
    root = done.stdout.strip()
    assert cid.text(cid.parse(root)) == root
    assert "3 items (3 new, 0 gone)" in done.stderr
    facts = json.loads(filled("--json", "publish").stdout)
    assert (facts["root"], facts["path"]) == (root, f"/ipfs/{root}")
    assert facts["dnslink"] == f"dnslink=/ipfs/{root}"
    assert (facts["items"], facts["added"], facts["removed"], facts["blocks"]) == (3, 0, 0, 0)
    assert filled("publish", "--whole", "-q").stdout.strip() == root


def test_a_key_of_our_own_makes_another_root(filled: Program) -> None:
    before = filled("publish").stdout
    filled("key", "new", "ours-1")
    after = filled("publish").stdout
    assert after != before
    assert filled("publish").stdout == after


def test_what_is_let_go_of_leaves_the_directory(filled: Program, farm: Farm) -> None:
    before = json.loads(filled("--json", "publish").stdout)
    assert filled("collect").returncode in (0, 1)
    after = json.loads(filled("--json", "publish").stdout)
    assert (before["items"], after["items"], after["removed"]) == (3, 0, 3)
    assert farm.products


def test_without_a_store_there_is_an_empty_directory(narbor: Program) -> None:
    done = narbor("publish")
    assert done.returncode == 0
    assert "0 items" in done.stderr


def test_a_name_leads_to_it(filled: Program) -> None:
    done = filled("publish", "--name", "farm")
    assert done.returncode == 0
    root, name = done.stdout.split()
    file = filled.home / "keys" / "farm.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert peerkey.text(PeerKey.parse(file.read_text()).name) == name
    facts = json.loads(filled("--json", "publish", "--name", "farm").stdout)
    assert (facts["root"], facts["name"], facts["sequence"]) == (root, name, 0)
    assert facts["dnslink"] == f"dnslink=/ipns/{name}"
    filled("key", "new", "ours-1")
    facts = json.loads(filled("--json", "publish", "--name", "farm").stdout)
    assert (facts["name"], facts["sequence"]) == (name, 1)
    assert facts["root"] != root


def test_the_configuration_says_which_names(filled: Program) -> None:
    configure(filled, '[publish]\nnames = ["one", "two"]\nlifetime = 36000\nttl = 60\n')
    root, one, two = filled("publish").stdout.split()
    facts = json.loads(filled("--json", "publish").stdout)
    assert [each["key"] for each in facts["names"]] == ["one", "two"]
    assert [each["name"] for each in facts["names"]] == [one, two]
    assert (facts["root"], facts["name"], facts["dnslink"]) == (root, one, f"dnslink=/ipns/{one}")
    with closing(wiring.open_library(Config(home=filled.home))) as library:
        record = ipns.parse(library.catalogue.record_of(peerkey.parse(one)) or b"")
    assert (record.value.decode(), record.ttl) == (f"/ipfs/{root}", ipns.MINUTE)
    assert record.until // 10**9 == facts["names"][0]["until"]
    other = filled("publish", "--name", "three").stdout.split()
    assert other[0] == root and other[1] not in (one, two) and len(other) == 2


def test_one_writer_at_a_time(filled: Program) -> None:
    with locked(filled.home / "locks", "publish", "the other one"):
        done = filled("publish", "--name", "farm")
    assert done.returncode == 3
    assert "the cache is being published already (the other one)" in done.stderr
    assert not (filled.home / "keys" / "farm.pem").exists()


def test_names_and_terms_that_cannot_be(filled: Program) -> None:
    for words in (("--name", "../x"), ("--name", "x", "--ttl", "100000"), ("--lifetime", "-1")):
        done = filled("publish", *words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
    (filled.home / "keys").mkdir(exist_ok=True)
    (filled.home / "keys" / "bad.pem").write_text("no key")
    assert filled("publish", "--name", "bad").returncode == 2
