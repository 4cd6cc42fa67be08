"""`narbor import --from URL`: what others have comes here, by its root or by its name."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest

from narbor import wiring
from narbor.cli.pull import NoRootThere, Wanted, find, wanted
from narbor.config import Config
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid
from narbor.names.peerkey import PeerKey
from tests.cli import program
from tests.cli.program import Farm, Program
from tests.cli.test_import import counts
from tests.cli.test_release import configure
from tests.cli.test_replicate import far, published, roots
from tests.fakes.faults import Mute
from tests.fakes.upstream import FakeCache
from tests.serve.pushing import Pushed, pushed
from tests.serve.running import eventually, free_port

__all__ = ["far"]

ROOT = cid.node(b"anything")
NAME = PeerKey(bytes(32)).name


@pytest.fixture
def source(filled: Program, tmp_path: Path) -> Iterator[Pushed]:
    """A narbor that serves the small farm."""
    with pushed(tmp_path) as server:
        assert server.home == filled.home
        yield server


def events(done: "subprocess.CompletedProcess[str]", kind: str) -> list[dict[str, object]]:
    """Return the events of one kind."""
    told = map(json.loads, done.stdout.splitlines())
    return [each for each in told if each["event"] == kind]


def test_words_for_roots() -> None:
    text, key = cid.text(ROOT), peerkey.text(NAME)
    old = cidtext.base58(ROOT[2:])
    for word in (text, old, f"/ipfs/{text}", f"ipfs://{text}", f"/ipfs/{old}/"):
        assert find(word) == Wanted(ROOT, False)
    for word in (key, f"/ipns/{key}", f"ipns://{key}", f"/ipns/{peerkey.peer_id(NAME)}"):
        assert find(word) == Wanted(NAME, True)
    assert find(f"/ipfs/{key}") == Wanted(NAME, True)
    for word in ("-", "folder/x", "file.car", "https://cache.example.org", "/ipfs", ""):
        assert find(word) is None
        with pytest.raises(NoRootThere, match="no root"):
            wanted(word)
    for word, why in (
        (f"/ipfs/{text}/a/b", "whole roots"),
        ("/ipns/cache.example.org", "DNSLink"),
        ("/ipfs/nonsense", "in no base"),
        (f"/ipns/{text}", "names no key"),
    ):
        with pytest.raises(NoRootThere, match=why):
            find(word)


def test_a_cache_comes_by_its_root_and_is_served_here(
    filled: Program, far: Program, farm: Farm, source: Pushed
) -> None:
    root = published(filled)
    words = ("import", f"/ipfs/{root}", "--from", source.url, "--trust", str(farm.key.public))
    done = far("--json", *words)
    assert done.returncode == 0, done.stderr
    (told,) = events(done, "pulled")
    assert told["blocks"] and told["root"] == root
    assert counts(far) == counts(filled)
    assert roots(far) == {root: root}
    assert published(far) == root
    again = far("--json", *words, "--name", "theirs")
    assert events(again, "pulled")[0]["blocks"] == 0
    assert roots(far) == {root: root, "theirs": root}


def test_a_name_is_followed_and_served_here(
    filled: Program, far: Program, farm: Farm, source: Pushed, tmp_path: Path
) -> None:
    assert filled("publish", "--name", "cache").returncode == 0
    said = json.loads(filled("--json", "publish", "--name", "cache").stdout)["names"][0]
    name = said["name"]
    words = ("import", f"/ipns/{name}", "--from", source.url, "--trust", str(farm.key.public))
    done = far("--json", *words)
    assert done.returncode == 0, done.stderr
    one = events(done, "resolved")[0]["root"]
    assert roots(far) == {f"ipns/{name}": one}
    newer = program.grow(tmp_path / "newer", "two")
    program.fill(filled.home, newer)
    assert filled("publish", "--name", "cache").returncode == 0
    done = far("--json", *words, "--trust", str(newer.key.public))
    assert done.returncode == 0, done.stderr
    two = events(done, "resolved")[0]["root"]
    assert two != one
    assert roots(far) == {f"ipns/{name}": two}
    source.kill()
    (tmp_path / "served").mkdir()
    far.home.parent.rename(tmp_path / "served" / "far")
    (tmp_path / "served" / "far" / "home").rename(tmp_path / "served" / "home")
    with pushed(tmp_path / "served") as here, urlopen(f"{here.url}/ipns/{name}/") as answer:
        assert answer.status == 200
        assert answer.headers["x-ipfs-roots"].startswith(str(two))


def test_what_nobody_has_is_listed(
    filled: Program, far: Program, farm: Farm, source: Pushed
) -> None:
    done = far("--json", "import", cid.text(ROOT), "--from", source.url)
    assert done.returncode == 1
    assert events(done, "absent") == [
        {"event": "absent", "root": cid.text(ROOT), "cid": cid.text(ROOT)}
    ]
    assert "not kept" in done.stderr
    name = peerkey.text(NAME)
    done = far("import", f"/ipns/{name}", "--from", source.url)
    assert done.returncode == 3
    assert f"no record of {name}" in done.stderr


def test_calls_that_are_wrong(far: Program, tmp_path: Path) -> None:
    text = cid.text(ROOT)
    for words, why in (
        ((f"/ipfs/{text}",), "--from URL"),
        ((str(tmp_path), "--from", "http://127.0.0.1:9"), "no root"),
        ((text, "--from", "file:///nowhere"), "http and https alone"),
        ((text, "--from", "nonsense"), "no URL"),
        ((text, text, "--name", "n", "--from", "http://127.0.0.1:9"), "give no name"),
    ):
        done = far("import", *words)
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr


def test_sources_that_are_away_are_named(far: Program) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = far("import", cid.text(ROOT), "--from", url)
    assert done.returncode == 3
    assert url in done.stderr


def blocks(narbor: Program) -> dict[Cid, bytes]:
    """Return all blocks of a home."""
    with closing(wiring.open_library(Config(home=narbor.home))) as library:
        names = list(library.blocks.keys())
        return dict(zip(names, library.blocks.get_many(names), strict=True))


def test_a_run_that_was_killed_is_taken_up_by_the_next(
    filled: Program, far: Program, farm: Farm
) -> None:
    root = published(filled)
    words = ("import", root, "--trust", str(farm.key.public), "--jobs", "4", "--from")
    there = blocks(filled)
    paths = {name: f"/ipfs/{cid.text(name)}?format=raw" for name in there}
    files = {paths[name]: block for name, block in there.items()}
    wiring.open_library(Config(home=far.home), write=True).close()
    with FakeCache() as gateway:
        gateway.files |= files
        # The largest leaf is of an archive, below nodes that come in rounds of their own.
        gateway.fail(max(files, key=lambda path: len(files[path])), Mute(), always=True)
        running = subprocess.Popen(
            [sys.executable, "-m", "narbor", *words, gateway.url],
            env=far.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: len(blocks(far)) > 2)
        finally:
            running.send_signal(signal.SIGKILL)
            running.wait()
    here = set(blocks(far))
    with FakeCache() as gateway:
        gateway.files |= files
        done = far("--json", *words, gateway.url)
        assert done.returncode == 0, done.stderr
        asked = {each.path for each in gateway.asked if each.method == "GET"}
        assert asked and not asked & {paths[name] for name in here}
    assert counts(far) == counts(filled)
    assert roots(far) == {root: root}


def test_a_name_is_followed_by_a_watch(
    filled: Program, far: Program, farm: Farm, source: Pushed, tmp_path: Path
) -> None:
    one, name = filled("publish", "--name", "cache").stdout.split()
    table = {"name": "theirs", "url": f"/ipns/{name}", "from": [source.url]}
    keys = [str(farm.key.public)]
    newer = program.grow(tmp_path / "newer", "two")
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
    far.home.mkdir(parents=True)
    configure(far, "[[follow]]\n", text, f"keys = {json.dumps([*keys, str(newer.key.public)])}\n")
    done = far("watch", "--once")
    assert done.returncode == 0, done.stderr
    assert roots(far) == {"theirs": one}
    program.fill(filled.home, newer)
    two = filled("publish", "--name", "cache").stdout.split()[0]
    assert far("watch", "--once", "theirs").returncode == 0
    assert roots(far) == {"theirs": two}
    assert counts(far) == counts(filled)
    for wrong in (
        '[[follow]]\nname = "x"\nurl = "/ipns/k51"\n',
        '[[follow]]\nname = "x"\nurl = "/ipns/k51"\nfrom = ["http://h"]\npaths = ["x"]\n',
        '[[follow]]\nname = "x"\nurl = "http://h"\nfrom = ["http://h"]\npaths = ["x"]\n',
    ):
        configure(far, wrong)
        assert far("watch", "--once").returncode == 2


def test_a_gateway_that_lies_is_named(filled: Program, far: Program, farm: Farm) -> None:
    root = published(filled)
    with FakeCache() as gateway:
        for name, block in blocks(filled).items():
            lie = block if cid.codec(name) != cid.RAW else b"a lie"
            gateway.files[f"/ipfs/{cid.text(name)}?format=raw"] = lie
        done = far("--json", "import", root, "--from", gateway.url)
    assert done.returncode == 3
    assert f"{gateway.url} gave other bytes" in done.stderr
    assert roots(far) == {}
