"""One at a time: the release lock of a channel, and of other work that has a name.

The kernel keeps it (flock) and lets go of it when the process ends, however that is. The file
stays, and says who held it last.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narbor.errors import Unavailable


class InTheMaking(Unavailable):
    """Somebody makes a release of this channel already."""


@contextmanager
def locked(
    folder: Path, channel: str, who: str, work: str = "a release is in the making"
) -> Iterator[None]:
    """Hold a channel's lock, a file in `folder`, which is made; `who` stands in it.

    Raises InTheMaking, at once, where another process or thread holds it, and does that `work`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(
        folder / f"release-{channel}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
    )
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            raise InTheMaking(f"{channel}: {work} already ({holder or 'by another'})") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{who}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
