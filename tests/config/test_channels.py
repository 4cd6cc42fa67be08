"""Channels in the configuration: one table each, checked, and the older program's file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from narbor import config
from narbor.config import BadConfig, Channel, Product
from tests.cli.program import Program

LEAST = '[[channel]]\nname = "a"\nproject = "p"\njobset = "j"\n'
# The sample file of nixipfs-scripts, in part: it did not pass that program's own schema.
SEED: dict[str, Any] = {
    "hydra": "https://hydra.example",
    "cache": "https://cache.example",
    "target_cache": "https://mirror.example",
    "max_threads": 69,
    "releases": [
        {
            "channel": "nixos-17.09",
            "project": "nixos",
            "jobset": "release-17.09",
            "job": "tested",
            "keep": 7,
        },
        {
            "channel": "nixpkgs-unstable",
            "project": "nixpkgs",
            "jobset": "trunk",
            "job": "unstable",
        },
    ],
}


def loaded(folder: Path, text: str, name: str = "narbor.toml") -> config.Config:
    """Read a file of this content."""
    (folder / name).write_text(text)
    return config.load(folder, folder / name, {})


def test_the_example_names_every_key_of_a_channel(tmp_path: Path) -> None:
    """With its comment marks taken away the example is a channel in which every key is set."""
    text = re.sub(r"(?m)^#   ", "", config.example())
    (channel,) = loaded(tmp_path, text).channel
    assert channel.name == "nixos-25.05"
    block = config.example().partition("#   [[channel]]\n")[2]
    for kind in (Channel, Product):
        for field in structs.fields(kind):
            key = field.encode_name
            assert key in ("products", "channel-url") or re.search(rf"(?m)^#   {key} = ", block), (
                key
            )
    (product,) = channel.products or ()
    assert product == Product(
        job="nixos.channel",
        file="nixexprs.tar.xz",
        number=1,
        type="file",
        subtype="source-dist",
        required=True,
    )


def test_three_words_are_enough(tmp_path: Path) -> None:
    two = LEAST + LEAST.replace('"a"', '"b"') + 'public-url = "https://c.example"\n'
    first, second = loaded(tmp_path, two).channel
    assert first == Channel(name="a", project="p", jobset="j")
    assert (first.target, second.target) == ("https://cache.nixos.org", "https://c.example")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (LEAST + "jobsets = 1\n", 5, "channel[0].jobsets: no such key"),
        ('level = 4\n[[channel]]\nproject = "p"\njobset = "j"\n', 2, "channel[0]: .*`name`"),
        ('level = 4\n[[channel]]\nname = "a"\nproject = "p"\n', 3, "say project and jobset"),
        (LEAST + 'channel-url = "https://c.example/a"\n', 5, "channel[0].channel-url: say either"),
        (LEAST + LEAST.replace('"a"', '"../b"'), 6, "channel[1].name"),
        (LEAST + LEAST, 6, "two channels a"),
        (LEAST + 'hydra = "hydra.example"\n', 5, "channel[0].hydra"),
        (LEAST + "keep = 0\n", 5, "channel[0].keep"),
        (LEAST + 'keep = "7"\n', 5, "channel[0].keep"),
        (LEAST + 'missing = "1 %"\n', 5, "channel[0].missing"),
        (LEAST + "missing = -1\n", 5, "channel[0].missing"),
        (LEAST + "\ncaches = []\n", 6, "channel[0].caches"),
        (LEAST + 'keys = ["a:b", "c"]\n', 5, "channel[0].keys[1]"),
        (LEAST + 'builds = false\nsystems = ["x"]\n', 5, "channel[0].builds: systems"),
        (LEAST + 'products = [{ jo = "x" }]\n', 5, "channel[0].products[0].jo"),
        (
            LEAST + LEAST.replace('"a"', '"b"') + '[[channel.products]]\njob = "x"\n'
            '[[channel.products]]\njob = "x"\nfile = ".x"\n',
            13,
            "channel[1].products[1].file",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    pattern = re.escape(words).replace(r"\.\*", ".*")
    with pytest.raises(BadConfig, match=rf"narbor\.toml, line {line}: .*{pattern}"):
        loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("missing", "paths", "allowed"),
    [(0, 1000, 0), (5, 1, 5), ("1%", 99, 0), ("1%", 45_000, 450), ("0.5%", 1000, 5)],
)
def test_how_much_may_be_missing(missing: int | str, paths: int, allowed: int) -> None:
    channel = Channel(name="a", project="p", jobset="j", missing=missing)
    assert channel.allowed(paths) == allowed


def test_the_older_file_is_read(tmp_path: Path) -> None:
    found = loaded(tmp_path, json.dumps(SEED), "nixos_release.json")
    first, second = found.channel
    assert first == Channel(
        name="nixos-17.09",
        project="nixos",
        jobset="release-17.09",
        job="tested",
        hydra="https://hydra.example",
        caches=("https://cache.example",),
        public_url="https://mirror.example",
        keep=7,
    )
    assert (second.name, second.keep, second.tarballs) == ("nixpkgs-unstable", None, False)
    assert found.mirror.jobs == 69
    whole: dict[str, Any] = {**SEED, "repo": "https://git.example/n.git"}
    whole["releases"] = [{**SEED["releases"][0], "mirror": True}]
    (tarred,) = loaded(tmp_path, json.dumps(whole), "x.json").channel
    assert (tarred.tarballs, tarred.repo) == (True, "https://git.example/n.git")


def test_mistakes_in_the_older_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"x\.json, line 1: this is no JSON"):
        loaded(tmp_path, "{", "x.json")
    with pytest.raises(BadConfig, match=r"x\.json: .*unknown field `hydrae`"):
        loaded(tmp_path, json.dumps({**SEED, "hydrae": 1}), "x.json")
    nameless: dict[str, Any] = {**SEED, "releases": [{"channel": "a", "project": "p"}]}
    with pytest.raises(BadConfig, match=r"`jobset` - at `releases\[0\]`"):
        loaded(tmp_path, json.dumps(nameless), "x.json")
    with pytest.raises(BadConfig, match=r"x\.json: channel\[0\].hydra"):
        loaded(tmp_path, json.dumps({**SEED, "hydra": "nowhere"}), "x.json")


def test_check_tells_what_has_changed(narbor: Program, tmp_path: Path) -> None:
    file = tmp_path / "nixos_release.json"
    file.write_text(json.dumps(SEED))
    done = narbor("config", "check", "--config", str(file))
    assert done.returncode == 0
    assert "channel.nixos-17.09.keep = 7" in done.stdout
    assert "signatures are checked" in done.stderr
    (narbor.home).mkdir()
    (narbor.home / "narbor.toml").write_text(LEAST)
    done = narbor("config", "check")
    assert "signatures" not in done.stderr
