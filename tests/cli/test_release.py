"""`narbor release` through the program, and the commands of old."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from narbor import config, wiring
from narbor.doors.channels import ChannelsDoor
from narbor.formats import narinfo
from narbor.tasks.release.lock import InTheMaking, locked
from narbor.wiring import serving
from tests.cli.program import Program
from tests.fakes import channelserver
from tests.fakes.channel import NAME, REVISION, SYSTEM, Channel, expressions, release
from tests.fakes.faults import Stall, Status
from tests.fakes.hydra_tables import git, path_of

C = "nixos-25.05-small"
NEWER = release(806300)


@pytest.fixture
def fake() -> Iterator[Channel]:
    """A farm."""
    with Channel() as made:
        yield made


def table(fake: Channel, name: str = C, **more: object) -> str:
    """A channel of the configuration; JSON is near enough to TOML."""
    values: dict[str, object] = {
        "name": name,
        "hydra": fake.hydra.url,
        "project": "nixos",
        "jobset": "release-25.05",
        "job": "tested",
        "caches": [fake.cache.url],
        "keys": [str(fake.key.public)],
        "missing": 0,
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    return "[[channel]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())


def configure(narbor: Program, *tables: str) -> None:
    """Write the configuration."""
    narbor.home.mkdir(exist_ok=True)
    (narbor.home / "narbor.toml").write_text("".join(tables))


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Read lines of JSON."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def at(narbor: Program, channel: str = C) -> str | None:
    """The release a channel is at."""
    listed = events(narbor("release", "list", channel, "--json"))
    return next((each["release"] for each in listed if each["current"]), None)


def test_a_release_is_made_listed_and_shown(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake, public_url="https://cache.example"))
    fake.evaluate()
    done = narbor("release", "make")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{C}: {NAME} of {fake.hydra.url}/eval/" in done.stderr
    # The image of -small channels went away with 24.11: nothing is missing.
    assert "items to download" in done.stderr
    assert f"{NAME} is published" in done.stderr
    listed = narbor("release", "list")
    assert listed.stdout.split()[:2] == [C, NAME]
    assert "current" in listed.stdout
    shown = json.loads(narbor("release", "show", C, "--json").stdout)
    assert (shown["release"], shown["revision"], shown["paths"]) == (NAME, REVISION, 2)
    assert {"nixexprs.tar.xz", "nixexprs.tar.xz.sha256", "git-revision", "index.html"} <= {
        each["name"] for each in shown["files"]
    }
    assert shown["missing"] == shown["without"] == []
    text = narbor("release", "show", C, NAME)
    assert text.returncode == 0
    assert "paths       2, of which 0 are missing" in text.stdout
    again = narbor("release", "make", C)
    assert again.returncode == 0
    assert "it is published already" in again.stderr


def test_steps_as_json(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake))
    fake.evaluate()
    steps = events(narbor("release", "make", "--json"))
    assert {each["channel"] for each in steps} == {C}
    kinds = [each["event"] for each in steps]
    order = [kinds.index(each) for each in ("planned", "sized", "admitted", "made", "published")]
    assert order == sorted(order)
    sized = steps[kinds.index("sized")]
    assert sized["items"] == kinds.count("admitted")
    assert sized["bytes"] > 0
    assert kinds[-1] == "published"


def test_one_bad_channel_stops_no_other(narbor: Program, fake: Channel) -> None:
    bad = table(fake, "bad", jobset="none", on_failure=["sh", "-c", 'echo "told $NARBOR_REASON"'])
    broken = table(fake, "away", hydra="http://127.0.0.1:9")
    configure(narbor, broken, bad, table(fake), table(fake, "liar", keys=["x:AAAA"]))
    fake.evaluate()
    done = narbor("release", "make")
    assert done.returncode == 1
    assert at(narbor) == NAME
    assert "narbor: away: " in done.stderr
    assert "bad: " in done.stderr
    assert at(narbor, "away") is None
    # Only one that cannot be reached: nothing could be done.
    assert narbor("release", "make", "away").returncode == 3
    assert narbor("release", "make", "liar").returncode == 2


def test_hooks_are_run(narbor: Program, fake: Channel, tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f'echo "$0 $NARBOR_CHANNEL $NARBOR_RELEASE $NARBOR_REASON" >> {told}'
    configure(
        narbor,
        table(
            fake, on_success=["sh", "-c", script, "good"], on_failure=["sh", "-c", script, "bad"]
        ),
    )
    assert narbor("release", "make").returncode == 3
    fake.evaluate()
    fake.hydra.fail("*", Status(404), always=True)
    assert narbor("release", "make").returncode == 3
    fake.hydra.fail("*")
    narbor("release", "make")
    narbor("release", "make")
    empty, bad, good = told.read_text().splitlines()
    assert empty == bad
    assert bad.startswith(f"bad {C}  {C}: ")
    assert bad.endswith("nixos/release-25.05/tested")
    assert good.strip() == f"good {C} {NAME}"
    configure(narbor, table(fake, on_success=["false"]))
    fake.evaluate(NEWER)
    assert narbor("release", "make").returncode == 1
    assert at(narbor) == NEWER


def test_what_is_held_back_is_explained(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake))
    fake.evaluate()
    (hello,) = (b for b in fake.hydra.builds.values() if b.job == f"nixpkgs.hello.{SYSTEM}")
    path = str(hello.outputs["out"])
    narinfo = f"/{Path(path).name[:32]}.narinfo"
    text = fake.cache.files.pop(narinfo)
    done = narbor("release", "make")
    assert done.returncode == 1
    assert "of 2 paths 1 are missing, 0 may be" in done.stderr
    shown = narbor("release", "show", C)
    assert shown.returncode == 1
    assert f"missing     {Path(path).name}: {fake.cache.url}: does not have it" in shown.stdout
    why = json.loads(narbor("release", "show", C, "--why", path, "--json").stdout)
    assert (why["listed"], why["here"], why["missing"]) == (True, False, [Path(path).name])
    assert why["reasons"][0]["reason"] == "does not have it"
    assert "in the making" in narbor("release", "list").stdout
    # The operator may let it pass.
    configure(narbor, table(fake, missing="50%"))
    assert narbor("release", "make").returncode == 0
    assert at(narbor) == NAME
    fake.cache.files[narinfo] = text


def test_channels_are_moved_and_frozen(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake))
    for name in (NAME, NEWER):
        fake.evaluate(name)
        narbor("release", "make")
    assert at(narbor) == NEWER
    moved = json.loads(narbor("release", "rollback", C, "--json").stdout)
    assert moved == {"channel": C, "current": NAME, "frozen": False}
    # What was rolled back does not come again by itself.
    assert narbor("release", "make").returncode == 0
    assert at(narbor) == NAME
    assert narbor("release", "freeze", C).returncode == 0
    assert narbor("release", "promote", C, NEWER).returncode == 2
    fake.evaluate(release(806400))
    assert "frozen" in narbor("release", "make").stderr
    assert at(narbor) == NAME
    assert "current, frozen" in narbor("release", "list").stdout
    narbor("release", "unfreeze", C)
    assert f"{C} is at {NEWER}" in narbor("release", "promote", C, NEWER).stdout
    assert narbor("release", "remove", C, NEWER).returncode == 2
    assert narbor("release", "remove", C, NAME).returncode == 0
    assert narbor("release", "show", C, NAME).returncode == 2
    narbor("release", "make")
    assert at(narbor) == release(806400)


def test_print_only_makes_nothing(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake))
    fake.evaluate()
    done = narbor("release", "make", "--print-only")
    assert done.returncode == 0
    lines = [line.split(",") for line in done.stdout.splitlines()]
    assert len(lines) == 6
    assert all(url.startswith(f"{fake.cache.url}/nar/") for url, _, _ in lines)
    assert narbor("release", "list").stdout == ""
    assert not any("/nar/" in asked.path for asked in fake.cache.asked)


def test_wrong_calls(narbor: Program, fake: Channel) -> None:
    done = narbor("release", "make")
    assert done.returncode == 2
    assert "no [[channel]]" in done.stderr
    configure(narbor, table(fake))
    done = narbor("release", "make", "other")
    assert done.returncode == 2
    assert f"no channel other (but {C})" in done.stderr
    fake.evaluate()
    narbor("release", "make")
    for words in (("show", "x"), ("show", C, "x"), ("promote", C, "x"), ("freeze", "x")):
        assert narbor("release", *words).returncode == 2


def test_one_at_a_time(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake))
    fake.evaluate()
    with locked(narbor.home / "locks", C, "somebody"):
        with pytest.raises(InTheMaking), locked(narbor.home / "locks", C, "me"):
            raise AssertionError("two at once")
        done = narbor("release", "make")
        assert done.returncode == 3
        assert "in the making already (somebody)" in done.stderr
        with locked(narbor.home / "locks", "other", "me"):
            pass
    assert narbor("release", "make").returncode == 0


def test_the_older_driver(narbor: Program, fake: Channel, tmp_path: Path) -> None:
    """release_nixos with its JSON file and all its flags."""
    config = {
        "hydra": fake.hydra.url,
        "cache": fake.cache.url,
        "target_cache": "https://cache.example",
        "repo": "https://git.example/nixpkgs.git",
        "releases": [
            {
                "channel": C,
                "project": "nixos",
                "jobset": "release-25.05",
                "job": "tested",
                "keep": 1,
                "mirror": False,
            }
        ],
    }
    file = tmp_path / "nixos_release.json"
    file.write_text(json.dumps(config))
    folder = tmp_path / "out"
    words = ["release_nixos", "--dir", str(folder), "--tmpdir", "/tmp", "--config", str(file)]
    words += ["--ipfsapi", "127.0.0.1", "5001", "--gc", "--no_ipfs"]
    environment = {"NARBOR_HOME": "", "NARBOR_KEYS": str(fake.key.public)}
    fake.evaluate()
    listed = narbor(*words, "--print_only", **environment)
    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 6)
    for name in (NAME, NEWER):
        if name == NEWER:
            fake.evaluate(name)
        done = narbor(*words, **environment)
        assert done.returncode == 0
        assert "this is `narbor release make` now" in done.stderr
        assert "--tmpdir is not needed any more" in done.stderr
    there = Program(folder)
    assert [each["release"] for each in events(there("release", "list", "--json"))] == [NEWER]
    # What the older release alone had has been collected.
    assert "extra-806273" not in there("info").stdout
    assert "extra-806300" in there("info").stdout


def test_the_older_commands(narbor: Program, fake: Channel, tmp_path: Path) -> None:
    fake.evaluate()
    home = tmp_path / "out"
    keys = {"NARBOR_HOME": "", "NARBOR_KEYS": str(fake.key.public)}
    made = narbor(
        *("create-channel-release", "--channel", C, "--hydra", fake.hydra.url),
        *("--project", "nixos", "--jobset", "release-25.05", "--job", "tested"),
        *("--cache", fake.cache.url, "--target_cache", "https://t.example"),
        *("--outdir", str(home), "--tmpdir", "."),
        **keys,
    )
    assert made.returncode == 0
    shown = json.loads(Program(home)("release", "show", C, "--json").stdout)
    assert shown["release"] == NAME
    assert narbor("create-channel-release", "--channel", "x", **keys).returncode == 2
    paths = [str(b.outputs["out"]) for b in fake.hydra.builds.values() if "hello" in b.job]
    (tmp_path / "store-paths").write_text("\n".join(paths))
    other = tmp_path / "other"
    update = ("update_binary_cache", "--cache", fake.cache.url, "--outdir", str(other))
    done = narbor(*update, "--release", str(tmp_path), "--concurrent", "2", **keys)
    assert done.returncode == 0
    assert "hello" in Program(other)("info").stdout
    done = narbor(*update, "--release", str(tmp_path / "none"), **keys)
    assert done.returncode == 2
    assert "no store-paths" in done.stderr
    Program(other)("forget", *paths)
    done = narbor("garbage_collect", "--cache", str(other), "--releases", "a", "b", **keys)
    assert done.returncode == 0
    assert Program(other)("info").stdout == ""
    done = narbor("create-nixipfs", "--dir", str(home), "--ipfsapi", "127.0.0.1", "5001", **keys)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == Program(home)("publish").stdout.strip() != ""
    assert "narbor publish" in done.stderr


def test_a_jobset_of_ones_own_with_its_own_products(narbor: Program, fake: Channel) -> None:
    made = fake.hydra.evaluate("tools", "main", sources=git("1" * 40))
    tool = fake.hydra.package(made, f"tool.{SYSTEM}", outputs=("out", "man"))
    for name, path in tool.outputs.items():
        fake.put(path, {"share": {name: name.encode()}})
    docs = fake.product(made, "docs", "doc", "pdf", "manual.pdf", b"pdf")
    docs.offer("doc", "html", "manual.html", b"html")
    fake.put(docs.outputs["out"], {"tarballs": {"manual.pdf": b"pdf", "manual.html": b"html"}})
    mine = table(fake, "tools", project="tools", jobset="main", input="sources")
    mine = mine.replace('job = "tested"\n', "")
    products = (
        '[[channel.products]]\njob = "docs"\nsubtype = "html"\nfile = "index-of-tools.html"\n'
        '[[channel.products]]\njob = "docs"\nnumber = 1\nrequired = true\n'
        '[[channel.products]]\njob = "gone"\n'
    )
    configure(narbor, mine, products)
    assert narbor("release", "make").returncode == 0
    shown = json.loads(narbor("release", "show", "tools", "--json").stdout)
    assert (shown["release"], shown["revision"], shown["paths"]) == (
        f"tools-{made.id}",
        "1" * 40,
        2,
    )
    names = {each["name"] for each in shown["files"]}
    assert {"manual.pdf", "manual.pdf.sha256", "index-of-tools.html"} <= names
    assert [each["what"] for each in shown["without"]] == ["gone"]


def test_a_channel_of_another_server_is_followed(narbor: Program, fake: Channel) -> None:
    tool = path_of("tool")
    fake.put(tool, {"bin": {"tool": b"#!/bin/sh\n"}})
    source = expressions(NAME, {"default.nix": b"{ }: 1"})
    url = channelserver.publish(
        fake.cache, C, NAME, REVISION, [tool], {"nixexprs.tar.xz": source, "x.iso": b"x"}
    )
    values = {
        "name": C,
        "channel-url": url,
        "files": ["*.tar.xz"],
        "caches": [fake.cache.url],
        "keys": [str(fake.key.public)],
    }
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    configure(narbor, "[[channel]]\n", *lines)
    assert narbor("release", "make").returncode == 0
    shown = json.loads(narbor("release", "show", C, "--json").stdout)
    assert (shown["release"], shown["evaluation"], shown["paths"]) == (NAME, 1814352, 1)
    names = {each["name"] for each in shown["files"]}
    assert "nixexprs.tar.xz" in names
    assert "x.iso" not in names


def test_killed_in_the_middle_it_goes_on_where_it_was(narbor: Program, fake: Channel) -> None:
    configure(narbor, table(fake))
    fake.evaluate()
    (hello,) = (b for b in fake.hydra.builds.values() if b.job == f"nixpkgs.hello.{SYSTEM}")
    info = fake.cache.files[f"/{Path(str(hello.outputs['out'])).name[:32]}.narinfo"]
    nar = f"/{narinfo.parse(info).url}"
    fake.cache.fail(nar, Stall(10))
    running = subprocess.Popen(
        [sys.executable, "-m", "narbor", "release", "make", "--json"],
        env=narbor.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    # All else is in, and durable.
    came = 0
    while came < 5:
        step = json.loads(running.stdout.readline())
        came += step.get("items", 0) if step["event"] == "committed" else 0
    running.kill()
    running.communicate()
    assert "in the making" in narbor("release", "list").stdout
    assert at(narbor) is None
    # What a release in the making lists is not let go of, as far as it has been fetched.
    assert narbor("collect").returncode == 0
    steps = events(narbor("release", "make", "--json"))
    came_now = {each["path"].partition("-")[2] for each in steps if each["event"] == "admitted"}
    assert any(name.startswith("hello") for name in came_now)
    assert not any(name.startswith("extra") for name in came_now)
    assert at(narbor) == NAME


def test_the_public_address_is_that_of_the_configuration(narbor: Program, fake: Channel) -> None:
    public = "https://cache.example/nix"
    configure(narbor, table(fake, public_url=public), table(fake, "other"))
    found = config.load(narbor.home, None, {})
    library = wiring.open_library(found, write=True)
    doors = [door for door in serving.doors(found, library) if isinstance(door, ChannelsDoor)]
    assert [door.public for door in doors] == [{C: public}]
    library.close()
