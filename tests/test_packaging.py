"""The systemd units: what they run is a command of this program, and systemd takes them."""

import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from narbor.cli import main

FOLDER = Path(__file__).parent.parent / "packaging"
UNITS = sorted([*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")])
PROGRAM = "/usr/bin/narbor"


def settings(unit: Path) -> dict[str, str]:
    """Read a unit; of settings that repeat the last one."""
    lines = [line for line in unit.read_text("utf-8").splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_what_there_is(unit: Path) -> None:
    said = settings(unit)
    if unit.suffix == ".timer":
        assert unit.with_suffix(".service") in UNITS
        return
    program, *words = shlex.split(said["ExecStart"])
    assert program == PROGRAM
    assert callable(main.parser().parse_args(words).run)
    assert said["User"] == "narbor"
    assert said["NoNewPrivileges"] == "yes"
    assert said["ProtectSystem"] == "strict"


def test_systemd_takes_them(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("this machine has no systemd-analyze")
    narbor = Path(sysconfig.get_path("scripts"), "narbor")
    for unit in UNITS:
        text = unit.read_text("utf-8").replace(PROGRAM, str(narbor))
        (tmp_path / unit.name).write_text(text, "utf-8")
    words = (program, "verify", "--man=no", *sorted(map(str, tmp_path.iterdir())))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_readme_names_every_unit() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    assert not [unit.name for unit in UNITS if unit.name not in text]
