"""What one worker process has: a library of its own, the doors to it, an application."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from multiprocessing import connection
from pathlib import Path

from narbor import wiring
from narbor.config import Config
from narbor.serve.access import AccessLog
from narbor.serve.app import App, Receive, Scope, Send
from narbor.serve.metrics import DIRECTORY, Metrics

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def load(config: Config, access: str | None) -> Application:
    """Open everything and return the application. `access`: where the log goes, `-` is stderr."""
    end_with_parent()
    library = wiring.open_library(config)
    doors = wiring.doors(config, library)
    log = None if access is None else AccessLog.open(access)
    return App(doors, library, metrics(), log).__call__


def metrics() -> Metrics:
    """Return the counts of this worker, where the server's process said they go."""
    directory = os.environ.get(DIRECTORY)
    return Metrics(Path(directory) if directory else None)


def end_with_parent() -> None:
    """End this worker in order when the server's process dies without telling it.

    It would go on holding the port, and answering from a store that somebody may have replaced.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait, args=(parent.sentinel,), daemon=True).start()


def _wait(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
