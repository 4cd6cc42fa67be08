"""The guide to channels, against the program."""

import argparse
import re
from pathlib import Path

import pytest

from narbor import config
from narbor.cli.main import parser

GUIDE = Path(__file__).parent.parent.parent / "docs" / "guide" / "channels.md"
OLD = ("release_nixos", "create_channel_release", "update_binary_cache", "garbage_collect")


def commands() -> dict[str, argparse.ArgumentParser]:
    """All commands, by name."""
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("no commands")


def flags(name: str) -> set[str]:
    """The flags of a command as they were: with underscores."""
    known = {"--json", "--quiet", "--verbose", "--no-progress", "--home", "--help"}
    found = {s for a in commands()[name]._actions for s in a.option_strings if s[:2] == "--"}
    return {flag for flag in found if "-" not in flag[2:]} - known


@pytest.mark.parametrize("name", [*OLD, "create_nixipfs"])
def test_every_older_flag_is_in_the_table(name: str) -> None:
    text = GUIDE.read_text("utf-8").partition("## Coming from nixipfs-scripts")[2]
    assert f"`{name}`" in text
    named = set(re.findall(r"`(--[a-z_]+)`", text))
    assert flags(name) <= named
    known = commands()
    assert known[name.replace("_", "-")] is known[name]


def test_the_older_flags_are_all_there() -> None:
    """As the older program's own help had them."""
    assert flags("release_nixos") == {
        "--dir",
        "--tmpdir",
        "--config",
        "--ipfsapi",
        "--print_only",
        "--gc",
        "--no_ipfs",
    }
    assert flags("update_binary_cache") >= {"--cache", "--release", "--outdir", "--concurrent"}
    assert flags("garbage_collect") >= {"--cache", "--releases"}


def test_the_channel_in_the_guide_is_right(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "narbor.toml").write_text(text)
    (channel,) = config.load(tmp_path, None, {}).channel
    assert (channel.keep, channel.target) == (7, "https://cache.example.org")


def test_every_verb_in_the_guide_is_there() -> None:
    (release,) = (
        a for a in commands()["release"]._actions if isinstance(a, argparse._SubParsersAction)
    )
    text = GUIDE.read_text("utf-8")
    assert set(re.findall(r"`narbor release ([a-z]+)", text)) | {"unfreeze"} == set(release.choices)
    for verb in re.findall(r"`narbor ([a-z]+)", text):
        assert verb in commands() or verb == "publish"
