"""The process that listens and keeps the workers, and ends with them.

SIGTERM and SIGINT end it in order: nobody new is let in, what is on its way is finished for up to
`PATIENCE` seconds. A worker that dies is replaced.
"""

import logging
import multiprocessing
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from granian.constants import Interfaces, Loops, SSLProtocols
from granian.log import LogLevels
from granian.server.mp import MPServer

from narbor import wiring
from narbor.config import Config
from narbor.names.keys import SecretKey
from narbor.serve import listening, worker
from narbor.serve.access import AccessLog
from narbor.serve.app import App
from narbor.serve.front import BACKLOG
from narbor.serve.listening import Address, BadCertificate
from narbor.serve.metrics import DIRECTORY
from narbor.wiring import serving

PATIENCE: Final = 30
LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "narbor: %(message)s"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "stream": "ext://sys.stderr",
        }
    },
    "loggers": {
        "_granian": {"handlers": ["stderr"], "propagate": False},
        "granian.access": {"handlers": ["stderr"], "propagate": False},
        "narbor": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}

log = logging.getLogger("narbor.serve")


def run(config: Config, keys: tuple[SecretKey, ...] = (), access: str | None = None) -> None:
    """Serve the store in the home until told to stop.

    `keys` sign beside those of the home; `access` is a file for the access log, or `-` for standard
    error. Raises BadAddress, AddressTaken, BadCertificate, and what opening the store raises.
    """
    # Once here, where an error can be told; a worker could only die of it, again and again.
    library = wiring.open_library(config)
    serving.doors(config, library)
    library.close()
    if access is not None:
        AccessLog.open(access)
    serve(config, partial(worker.load, config, keys, access))


class Server(MPServer):
    """Granian's keeper of workers, which lets a listener of ours go before them."""

    listener: socket.socket | None = None

    def shutdown(self, exit_code: int = 0) -> None:
        """End the workers; nobody new is let in meanwhile."""
        if self.listener is not None:
            self.listener.close()
        end: Callable[[int], None] = super().shutdown
        end(exit_code)


def serve(config: Config, load: Callable[[], App], patience: int = PATIENCE) -> None:
    """Serve what `load` makes in each worker. It is sent there, so it must be picklable.

    `patience` is how many seconds what is on its way may take when the end has been told.
    """
    said = config.serve
    if (said.tls_cert is None) != (said.tls_key is None):
        raise BadCertificate("TLS needs both a certificate and its key (--tls-cert, --tls-key)")
    address = Address.parse(said.listen)
    with _folder() as folder, ExitStack() as ended:
        listener, inner = None, None
        if said.tls_cert is None:
            # Clients come to our front, which hands HTTP/2 through to granian.
            listener, inner = listening.bound(address), folder / "inner.sock"
            ended.callback(_let_go, address, listener)
            listener.listen(BACKLOG)
            address = listening.named(address, listener)
        else:
            address = listening.claimed(address)
        # Read by prometheus_client when it is imported, which in the workers is later than here.
        os.environ[DIRECTORY] = str(folder)
        # A fresh interpreter for each worker: no lock, thread or database of ours is forked.
        multiprocessing.set_start_method("spawn", force=True)
        server = _server(config, Address("", 0, inner) if inner else address, folder, patience)
        server.listener = listener
        server.on_startup(partial(log.info, "listening at %s", address.url(bool(said.tls_cert))))
        started = partial(worker.started, load, listener, inner)
        server.serve(target_loader=started, wrap_loader=False)


def _let_go(address: Address, listener: socket.socket) -> None:
    listener.close()
    if address.path is not None:
        address.path.unlink(missing_ok=True)


def _server(config: Config, address: Address, folder: Path, patience: int) -> Server:
    said = config.serve
    return Server(
        "narbor",
        address=address.host,
        port=address.port,
        uds=address.path,
        # Whoever may enter its folder may ask, as with a port.
        uds_permissions=listening.OPEN_TO_ALL,
        interface=Interfaces.ASGI,
        workers=said.workers,
        loop=Loops.auto,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=LOGGING,
        ssl_cert=said.tls_cert,
        ssl_key=_key(said.tls_key, folder),
        ssl_protocol_min=SSLProtocols.tls12,
        respawn_failed_workers=True,
        workers_kill_timeout=patience,
    )


def _key(key: Path | None, folder: Path) -> Path | None:
    """Return a file with the key as the HTTP server wants it."""
    made = None if key is None else listening.pkcs8(key)
    if made is None:
        return key
    path = folder / "key.pem"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(made)
    return path


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that nobody else can read, for as long as the server runs."""
    path = Path(tempfile.mkdtemp(prefix="narbor-serve-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
