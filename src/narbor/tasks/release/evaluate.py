"""The packages of a release by evaluating its expressions, as `nix-env -qaP` does.

For releases whose packages nobody tells: of a channel server, or of a Hydra that is asked for store
paths alone. It needs a Nix on this machine and, for a whole nixpkgs, gigabytes of memory.
"""

import json
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from narbor.catalogue import Package
from narbor.errors import Rejected, Unavailable
from narbor.formats import streams
from narbor.names import storepath
from narbor.tasks.tarballs import checkouts
from narbor.tasks.tarballs.checkouts import NoProgram, ProgramFailed

EVALUATOR: Final = "nix-env"
SYSTEMS: Final = ("x86_64-linux", "aarch64-linux")
"""Whose packages are listed where nothing is said: those of NixOS's own index."""
_LARGEST: Final = 8 << 30
_SECONDS: Final = 3600.0


class NotEvaluated(Unavailable):
    """The expressions of a release could not be evaluated."""


def can_evaluate() -> bool:
    """Tell whether there is a Nix."""
    return shutil.which(EVALUATOR) is not None


def packages(expressions: Iterable[bytes], systems: Sequence[str], store: str) -> Iterator[Package]:
    """Give the packages of a `.tar.xz` of expressions, system by system.

    Raises NotEvaluated; what streams raise for a damaged file.
    """
    with TemporaryDirectory(prefix="narbor-expressions-") as made:
        folder = _unpacked(expressions, Path(made))
        for system in systems or SYSTEMS:
            yield from _listed(_asked(folder, system), system, store)


def _unpacked(expressions: Iterable[bytes], folder: Path) -> Path:
    """Unpack what is in the one folder of a tar file; return that folder."""
    packed = folder / "expressions.tar"
    with packed.open("wb") as file:
        file.writelines(streams.decompress(expressions, "xz", _LARGEST))
    inside = folder / "in"
    try:
        with tarfile.open(packed) as tar:
            # Nothing outside of the folder, no devices, nobody's rights.
            tar.extractall(inside, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise NotEvaluated(f"the expressions cannot be unpacked: {error}") from error
    found = [each for each in inside.iterdir() if each.is_dir()]
    if len(found) != 1 or not (found[0] / "default.nix").is_file():
        raise NotEvaluated("the expressions are not one folder with a default.nix")
    return found[0]


def _asked(folder: Path, system: str) -> Any:
    words = [EVALUATOR, "--readonly-mode", "-f", str(folder), "-qaP", "--json", "--out-path"]
    words += ["--argstr", "system", system, "--system-filter", system]
    try:
        return json.loads(checkouts.run(words, folder, None, _SECONDS))
    except (NoProgram, ProgramFailed) as error:
        raise NotEvaluated(f"the expressions cannot be evaluated for {system}: {error}") from error
    except ValueError as error:
        raise NotEvaluated(f"{EVALUATOR} gave no JSON: {error}") from error


def _listed(found: Any, system: str, store: str) -> Iterator[Package]:
    for attribute, facts in sorted(found.items()):
        outputs = []
        for name, text in facts.get("outputs", {}).items():
            try:
                path = storepath.parse(text or "")
            except Rejected:
                continue  # an output that cannot be evaluated has no path
            if path.store == store:
                outputs.append((name, path.base))
        outputs.sort(key=lambda output: (output[0] != facts.get("outputName", "out"), output[0]))
        if outputs:
            yield Package(attribute, system, facts["name"], tuple(outputs))
