"""The process that listens and keeps the workers, and ends with them.

SIGTERM and SIGINT end it in order: nobody new is let in, what is on its way is finished for up to
`PATIENCE` seconds. A worker that dies is replaced.
"""

import logging
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from narbor.serve.listening import Address, BadCertificate
from narbor.serve.metrics import DIRECTORY
from narbor.serve.worker import Application

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
    wiring.doors(config, library)
    library.close()
    if access is not None:
        AccessLog.open(access)
    serve(config, partial(worker.load, config, keys, access))


def serve(config: Config, load: Callable[[], Application], patience: int = PATIENCE) -> None:
    """Serve what `load` makes in each worker. It is sent there, so it must be picklable.

    `patience` is how many seconds what is on its way may take when the end has been told.
    """
    said = config.serve
    if (said.tls_cert is None) != (said.tls_key is None):
        raise BadCertificate("TLS needs both a certificate and its key (--tls-cert, --tls-key)")
    address = listening.claimed(Address.parse(said.listen))
    with _folder() as folder:
        # Read by prometheus_client when it is imported, which in the workers is later than here.
        os.environ[DIRECTORY] = str(folder)
        # A fresh interpreter for each worker: no lock, thread or database of ours is forked.
        multiprocessing.set_start_method("spawn", force=True)
        server = _server(config, address, folder, patience)
        server.on_startup(partial(log.info, "listening at %s", address.url(bool(said.tls_cert))))
        server.serve(target_loader=load, wrap_loader=False)


def _server(config: Config, address: Address, folder: Path, patience: int) -> MPServer:
    said = config.serve
    return MPServer(
        "narbor",
        address=address.host,
        port=address.port,
        uds=address.path,
        # Whoever may enter its folder may ask, as with a port.
        uds_permissions=0o666,
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
