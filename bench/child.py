"""A program in a process of its own: how long it took, how much memory it had at most."""

import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that is over. `peak` bytes were resident at most, `cpu` seconds of all cores used."""

    code: int
    seconds: float
    cpu: float
    peak: int
    out: str
    err: str


def narbor(home: Path, *words: str) -> Ran:
    """Run the installed `narbor` with the store in `home`."""
    program = Path(sysconfig.get_path("scripts"), "narbor")
    return run([sys.executable, str(program), "--home", str(home), *words], home.parent)


def run(argv: Sequence[str], scratch: Path) -> Ran:
    """Run a program to its end; what it writes goes through files in `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    with (scratch / "out").open("w+") as out, (scratch / "err").open("w+") as err:
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err) as child:
            # ru_maxrss would do, but that a child has its parent's to begin with.
            peak, cpu = 0, 0.0
            while child.poll() is None:
                peak, cpu = max(peak, resident(child.pid)), max(cpu, used(child.pid))
                time.sleep(_PAUSE)
            seconds = time.perf_counter() - begun
        out.seek(0)
        err.seek(0)
        return Ran(child.returncode, seconds, cpu, peak, out.read(), err.read())


def resident(pid: int) -> int:
    """Return the most bytes that a process had resident so far (VmHWM); 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    lines = [line.split() for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0][1]) * 1024 if lines else 0


def used(pid: int) -> float:
    """Return the CPU seconds of a process so far; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
