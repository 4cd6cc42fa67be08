"""What one worker process has: a library of its own, the doors to it, an application."""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path

from narbor import wiring
from narbor.config import Config
from narbor.doors.channels import ChannelsDoor
from narbor.doors.http import Door
from narbor.doors.ipfs.hosts import HostsDoor
from narbor.doors.nix import NixDoor
from narbor.names.keys import SecretKey
from narbor.serve.access import AccessLog
from narbor.serve.app import App, Receive, Scope, Send
from narbor.serve.front import Front
from narbor.serve.metrics import DIRECTORY, Metrics
from narbor.wiring import serving

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def started(
    load: Callable[[], App], listener: socket.socket | None, inner: Path | None
) -> Application:
    """Return what granian calls. With a listener, clients come to a front of ours."""
    end_with_parent()
    app = load()
    if listener is not None and inner is not None:
        app.attach(Front(app, listener, inner))
    return app.__call__


def load(config: Config, keys: tuple[SecretKey, ...], access: str | None) -> App:
    """Open everything and return the application.

    `keys` sign beside those of the home. `access` is where the log goes, `-` is standard error.
    """
    library = wiring.open_library(config)
    doors = tuple(signing(door, keys) for door in serving.doors(config, library))
    log = None if access is None else AccessLog.open(access)
    hosts = next((door.hosts for door in doors if isinstance(door, HostsDoor)), None)
    return App(doors, library, metrics(), log, hosts=hosts)


def signing(door: Door, keys: tuple[SecretKey, ...]) -> Door:
    """Return `door`, signing with `keys` too if it is one that signs as Nix does."""
    if isinstance(door, ChannelsDoor):
        return replace(door, cache=signing(door.cache, keys))
    if not isinstance(door, NixDoor):
        return door
    return replace(door, keys=tuple(dict.fromkeys((*door.keys, *keys))))


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
