"""The guide to exporting says what the program can do."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from narbor import config
from narbor.cli import main

TEXT = (Path(__file__).parents[2] / "docs" / "guide" / "export.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    """Return the blocks of code of one kind."""
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def test_every_command_can_be_called() -> None:
    found = re.findall(r"(?:`|^)(narbor (?!release\n)[^`\n]+)(?:`|$)", TEXT, re.MULTILINE)
    assert len(found) >= 10
    for command in found:
        words = shlex.split(command.replace("SRC...", "SRC"))[1:]
        if len(words) > 1 or words[0] == "watch":
            assert callable(main.parser().parse_args(words).run), command


def test_every_table_is_one_of_the_configuration(tmp_path: Path) -> None:
    follow, hook = blocks("toml")
    (tmp_path / "narbor.toml").write_text(follow)
    (found,) = config.load(tmp_path, None, {}).follow
    assert (found.name, found.interval) == ("tools", 1800)
    words = tomllib.loads(hook)["on-success"]
    assert main.parser().parse_args(words[1:]).delete


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("this machine has no nginx")
    (server,) = blocks("nginx")
    whole = f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {server} }}"
    (tmp_path / "nginx.conf").write_text(whole)
    words = (program, "-t", "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
