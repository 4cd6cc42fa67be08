"""Programs of npm: installed from a lock file, once, outside the source tree."""

import json
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.peers import registry

LONGEST_INSTALL = 300
LONGEST_RUN = 300


class NotInstalled(Exception):
    """Node, npm or the packages are not to be had here; the message says which and why."""


def install(source: Path) -> Path:
    """Install what `source`/package-lock.json says; return a folder with `source`'s files in it.

    The folder is named by the lock file, so that another lock is another install. Raises
    NotInstalled.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotInstalled(f"{program} is not on the PATH")
    lock = sha256((source / "package-lock.json").read_bytes()).hexdigest()
    home = registry.folder() / f"{source.name}-{lock[:12]}"
    if not home.exists():
        _install(source, home)
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, home)
    return home


def _install(source: Path, home: Path) -> None:
    """Install beside `home`, and move there what is whole: two runs may meet here."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as made:
        fresh = Path(made) / "whole"
        fresh.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, fresh)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(
                command,
                cwd=fresh,
                capture_output=True,
                check=False,
                text=True,
                timeout=LONGEST_INSTALL,
            )
        except subprocess.TimeoutExpired as error:
            raise NotInstalled(f"npm ci took more than {error.timeout} s") from error
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "npm error" in line]
            raise NotInstalled(f"npm ci failed: {(errors or ['it does not say why'])[0]}")
        try:
            fresh.rename(home)
        except OSError:
            if not home.exists():
                raise


def version(home: Path, package: str) -> str:
    """Read the version of an installed package."""
    text = (home / "node_modules" / package / "package.json").read_text("utf-8")
    return str(json.loads(text)["version"])


def run(home: Path, script: str, request: object) -> Any:
    """Hand `request` to a script of node as JSON; return what it answers, read likewise."""
    done = subprocess.run(
        ["node", script],
        cwd=home,
        input=json.dumps(request).encode(),
        capture_output=True,
        check=False,
        timeout=LONGEST_RUN,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return json.loads(done.stdout)
