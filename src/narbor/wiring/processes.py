"""Which process this is, which of the others still are, and what time it is for all of them."""

import os
import socket
import time
from pathlib import Path


def now() -> int:
    """Return the time in whole seconds since 1970, as the catalogue has it."""
    return int(time.time())


def process() -> str:
    """Name this process as no other is named, on any machine."""
    return f"{socket.gethostname()}/{os.getpid()}/{_begun(os.getpid())}"


def alive(name: str) -> bool:
    """Tell whether a process named by `process` still is; those of other machines are believed."""
    host, _, rest = name.rpartition("/")[0].rpartition("/")
    pid, begun = rest, name.rpartition("/")[2]
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _begun(int(pid)) == begun


def _begun(pid: int) -> str:
    """Return when a process began, in the kernel's ticks: numbers of processes come again.

    "" for one that has ended, also where nobody has taken note of it yet (a zombie).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
