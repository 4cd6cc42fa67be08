"""The frame of the command line: options everywhere, one clear line for every error, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from narbor.cli import main
from tests.cli.program import Farm, Program


def verbs() -> list[str]:
    """Return the names of all commands."""
    return sorted(name.rstrip("_") for name in main.COMMANDS)


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (["status"], 0),
        (["--home", "mirror", "-q", "status", "mirror"], 0),
        (["--home=x", "release-nixos"], 26),
        (["stats"], 26),
        ([], 26),
    ],
)
def test_only_what_is_needed_is_loaded(words: list[str], others: int) -> None:
    """Nobody who looks at a status waits for a server to be loaded."""
    code = (
        "import sys; from narbor.cli import main; main.parser(sys.argv[1:]);"
        "loaded = {each for each in main.COMMANDS if f'narbor.cli.{each}' in sys.modules};"
        "print(len(loaded - {'status'}), 'narbor.doors.ipfs' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    count, _, doors = done.stdout.partition(" ")
    assert int(count) >= others - 1 if others else (int(count), doors.strip()) == (0, "False")


@pytest.mark.parametrize("verb", verbs())
def test_every_command_has_help(narbor: Program, verb: str) -> None:
    """Help names the command and the options that stand everywhere."""
    done = narbor(verb, "--help")
    assert done.returncode == 0
    assert f"narbor {verb}" in done.stdout
    assert "--home" in done.stdout or "WHAT" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("info", "--nonsense"),
        ("--nonsense", "info"),
        ("key",),
        ("key", "nonsense"),
        ("info", "--hom", "x"),
        ("ls",),
        ("cat", "a", "b"),
    ],
)
def test_a_wrong_call_is_one_line_and_2(narbor: Program, words: tuple[str, ...]) -> None:
    """What argparse refuses is said in one line that tells where help is."""
    done = narbor(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("narbor: ")
    assert "--help" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("info",),
        ("status",),
        ("failed",),
        ("ls", "x"),
        ("cat", "x"),
    ],
)
def test_reading_where_no_store_is_is_2(narbor: Program, words: tuple[str, ...]) -> None:
    """A home without a store is named, with what to do; nothing is made there."""
    done = narbor(*words)
    assert done.returncode == 2
    assert str(narbor.home) in done.stderr
    assert "narbor init" in done.stderr
    assert not narbor.home.exists()


@pytest.mark.parametrize(
    "text",
    ["", "/", "../..", "\x1b[31m", "x" * 5000, "\udce9", "a b\nc", "0" * 32 + "-a\x1b[31m\nb"],
)
def test_nonsense_for_a_path_is_2(filled: Program, text: str) -> None:
    """No text makes a traceback, and no control character reaches the terminal."""
    for verb in ("ls", "cat", "forget"):
        done = filled(verb, "--", text)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_globals_stand_before_or_after_the_verb(filled: Program, tmp_path: Path) -> None:
    """--home and --json mean the same on both sides, and in front of a second verb."""
    elsewhere = str(tmp_path / "elsewhere")
    before = filled("--json", "status")
    after = filled("status", "--json")
    assert json.loads(before.stdout)["items"] == json.loads(after.stdout)["items"] == 3
    for words in (
        ("--home", elsewhere, "config", "check"),
        ("config", "--home", elsewhere, "check"),
        ("config", "check", "--home", elsewhere),
    ):
        assert f"home = '{elsewhere}'" in filled(*words).stdout


def test_a_home_that_cannot_be_made_is_3(narbor: Program, tmp_path: Path) -> None:
    """Nothing can be done where a file stands in the way."""
    (tmp_path / "file").write_text("")
    done = narbor("init", "--home", str(tmp_path / "file" / "home"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file") in done.stderr


def test_a_damaged_catalogue_is_named(filled: Program, farm: Farm) -> None:
    """A catalogue that is no database is told of in one line, with 3."""
    (filled.home / "catalogue.sqlite").write_bytes(b"nonsense" * 1000)
    done = filled("info", farm.path("top"))
    assert done.returncode == 3
    assert "catalogue.sqlite" in done.stderr
    assert done.stderr.count("\n") == 1
