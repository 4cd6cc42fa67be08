"""Which real peers the tests know, which of them ran, and which did not and why.

A test that meets a real program says so: `ran("nix 2.34", "2.34.8")`. One that wanted to and could
not says `missing("nix 2.34", reason)`. The closing lines of a run are made from both. Under
`CI=true` a whole run fails where a peer that this machine could have installed did not run.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What can install each known peer: Debian's packages (as root), npm, or the Go tools.
PEERS: dict[str, str] = {
    "nix 2.8": "apt",
    "nix 2.26": "apt",
    "nix 2.34": "apt",
    "nginx": "apt",
    "caddy": "apt",
    "curl": "apt",
    "rsync": "apt",
    "svn": "apt",
    "hg": "apt",
    "helia": "npm",
    "boxo": "go",
}

_ran: dict[str, str] = {}
_missing: dict[str, str] = {}
_figures: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went with one peer: its version when it ran, the reason when it did not.

    `met` says that a test spoke of it; `fault` that this machine could have brought it.
    """

    name: str
    version: str | None
    reason: str | None
    met: bool
    fault: bool

    def __str__(self) -> str:
        """Give the closing line of this peer."""
        if self.version is not None:
            return f"ran: {self.name} ({self.version})"
        return f"did not run: {self.name}: {self.reason}"


def folder() -> Path:
    """Where peers and the world are kept between runs: $NARBOR_PEERS, or a folder of the user."""
    named = os.environ.get("NARBOR_PEERS")
    return Path(named) if named else Path.home() / ".cache" / "narbor-peers"


def ran(name: str, version: str) -> None:
    """Note that the peer `name` took part in a test, and which version of it."""
    _ran[name] = version


def missing(name: str, reason: str) -> None:
    """Note that the peer `name` could not take part, and why."""
    _missing[name] = reason


def figure(what: str, value: str) -> None:
    """Note a figure that people want to see at the end of a run."""
    _figures[what] = value


def figures() -> dict[str, str]:
    """Give all figures that were noted."""
    return dict(_figures)


def not_installed() -> dict[str, str]:
    """Read what `scripts/peers` could not install: peer to reason; empty when it never ran."""
    try:
        told = json.loads((folder() / "missing.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return {str(name): str(reason) for name, reason in told.items()}


def can_install(name: str) -> bool:
    """Tell whether a machine like this one can bring the peer `name` by itself."""
    means = PEERS.get(name)
    if means == "apt":
        return os.geteuid() == 0 and shutil.which("apt-get") is not None
    return means is not None and shutil.which(means) is not None


def outcomes() -> Iterator[Outcome]:
    """Yield how it went with every peer that is known or was spoken of, in that order."""
    told = not_installed()
    for name in dict.fromkeys((*PEERS, *_ran, *_missing)):
        if name in _ran:
            yield Outcome(name, _ran[name], None, met=True, fault=False)
            continue
        reason = _missing.get(name) or told.get(name) or "no test of this run met it"
        yield Outcome(name, None, reason, met=name in _missing, fault=can_install(name))
