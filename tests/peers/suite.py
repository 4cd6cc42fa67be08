"""Run programs inside the small Debian suites that `scripts/peers` makes, as root.

Every run has a mount namespace of its own: /proc and /dev are mounted in it, /nix, /root and /tmp
come from a folder of the caller, and all mounts end with the process. The network is the machine's.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import registry

# The suite that brings each Nix, and the file in it which says that it is whole.
SUITES = {"nix 2.8": "bookworm", "nix 2.26": "trixie", "nix 2.34": "sid"}
READY = ".narbor-ready"

# Arguments: the root, then pairs of a folder and where it is seen inside, then "--", the command.
# The root becomes that of the namespace too: Nix 2.8 enters its own namespace again before it
# starts another program, and would be outside of a mere chroot.
_ENTER = """
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  shift 2
done
shift
cd "$root"
pivot_root . .
umount -l .
exec "$@"
"""
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


class CommandFailed(AssertionError):
    """A command inside a suite ended with an error; the message holds all that it said."""


def reason_missing(name: str) -> str | None:
    """Say why the peer `name` cannot be used here; None when it can."""
    if (registry.folder() / SUITES[name] / READY).is_file():
        if os.geteuid() == 0:
            return None
        return "only root can change the root folder and mount"
    return registry.not_installed().get(name, "scripts/peers has not installed it")


def need(name: str) -> Path:
    """Give the root folder of the suite that brings `name`; skip the test where there is none."""
    reason = reason_missing(name)
    if reason is not None:
        registry.missing(name, reason)
        pytest.skip(f"{name}: {reason}")
    return registry.folder() / SUITES[name]


@dataclass(frozen=True, slots=True)
class Machine:
    """A suite with a store, a home and a /tmp of its own, as if it were one more computer.

    `root` is the folder of the suite; `state` holds what this machine writes; `shared` maps folders
    outside to where they are seen inside.
    """

    root: Path
    state: Path
    shared: Mapping[Path, str]

    def command(self, *argv: str) -> list[str]:
        """Make the command line that runs `argv` inside; its process is the command's own."""
        places = {self.state / "nix": "/nix", self.state / "home": "/root"}
        places[self.state / "tmp"] = "/tmp"
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        pairs = [str(word) for pair in {**places, **self.shared}.items() for word in pair]
        clean = ["env", "-i", f"PATH={_PATH}", "HOME=/root", "LC_ALL=C.UTF-8", "NIX_CONF_DIR=/root"]
        enter = ["unshare", "--mount", "sh", "-c", _ENTER, "enter", str(self.root)]
        return [*enter, *pairs, "--", *clean, *argv]

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start `argv` inside; the caller waits for it. Errors go where the output goes."""
        return subprocess.Popen(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def attempt(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run `argv` inside to its end, whatever the end is."""
        return subprocess.run(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *argv: str) -> str:
        """Run `argv` inside and give what it wrote; raise CommandFailed when it fails."""
        done = self.attempt(*argv)
        if done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()
            raise CommandFailed(f"{' '.join(argv)} ended with {done.returncode}:\n{said}")
        return done.stdout

    def configure(self, **settings: str) -> None:
        """Write the nix.conf of this machine: single user, no sandbox, and `settings`."""
        basic = {"build-users-group": "", "sandbox": "false", "substituters": ""}
        basic["experimental-features"] = "nix-command"
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        home = self.state / "home"
        home.mkdir(parents=True, exist_ok=True)
        lines = (f"{name} = {value}\n" for name, value in {**basic, **named}.items())
        (home / "nix.conf").write_text("".join(lines), "utf-8")

    def nix_version(self) -> str:
        """Ask the Nix inside for its version."""
        found = re.search(r"\d+\.\d+\S*", self.run("nix", "--version"))
        assert found is not None
        return found[0]
