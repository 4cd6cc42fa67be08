"""A server over a fake library: `python -m tests.serve.program LISTEN [OPTION=VALUE]...`.

Options: workers, patience, tls_cert, tls_key, access (a file), size of `/big` and where it breaks
(bytes), home (the folder of a real store and its narbor.toml, whose doors stand before these),
uploads (four numbers: what serve.uploads.Uploads is made with), site (any: CID.ipfs.gateway.example
and site.example have pages of their own). `/probe` tells how many bodies are open, how many bytes
were made, and how often the library was asked; `/change` makes the library another one; `/sent`
tells what was sent.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from narbor import config as configuration
from narbor import wiring
from narbor.config import Config, Serve
from narbor.doors import http
from narbor.doors.http import Answer, Door, Entity, Request
from narbor.doors.ipfs import IpfsDoor, hosts
from narbor.doors.ipfs.hosts import HostsDoor
from narbor.doors.nix import NixDoor
from narbor.errors import Unavailable
from narbor.names import cid
from narbor.serve import server, worker
from narbor.serve.access import AccessLog
from narbor.serve.app import App
from narbor.serve.uploads import Uploads
from narbor.wiring import serving
from tests.fakes.dag import Dag
from tests.fakes.library import FakeLibrary, world

PIECE = bytes(range(256)) * 256


class Probe:
    """A door for looking behind the others, and for bodies of any size."""

    def __init__(self, library: FakeLibrary, size: int, breaks: int) -> None:
        self._library = library
        self._size = size
        self._breaks = breaks
        self._made = 0
        self._open = 0

    def takes(self, request: Request) -> int:
        """Take 16 MiB at `/sent`."""
        return 16 << 20 if request.path == "/sent" else 0

    def answer(self, request: Request) -> Answer | None:
        """Answer `/probe`, `/change`, `/sent` and `/big`."""
        if request.path == "/sent":
            digest = sha256(request.content).hexdigest()
            return http.text(200, f"{request.method} {len(request.content)} {digest}")
        if request.path == "/change":
            self._library.add("changed", b"changed")
            return http.text(200, "changed")
        if request.path == "/probe":
            said = {
                "pid": os.getpid(),
                "made": self._made,
                "open": self._open + self._library.open_bodies,
                "asked": len([each for each in self._library.asked if each.startswith("find")]),
            }
            return http.text(200, json.dumps(said))
        if request.path == "/big":
            entity = Entity("x/y", self._size, self._read, "big", "no-store", ranges=True)
            return http.give(request, entity)
        return None

    def _read(self, start: int, stop: int) -> Iterator[bytes]:
        self._open += 1
        try:
            for at in range(start, stop, len(PIECE)):
                if at - start >= self._breaks:
                    raise Unavailable("a block is damaged")
                self._made += len(PIECE)
                yield PIECE[: stop - at]
        finally:
            self._open -= 1


def site_door() -> HostsDoor:
    """A gateway by host over one directory."""
    dag = Dag()
    names = (b"nix-cache-info", b"healthz", b"index.html")
    root, _ = dag.tree({name: b"the site's " + name for name in names})
    links = {"site.example": f"/ipfs/{cid.text(root)}"}
    gateway = IpfsDoor(dag, time.time_ns, dnslinks=links)
    return HostsDoor(gateway, hosts.made(["gateway.example"], links, ()))


def load(options: Mapping[str, str]) -> App:
    """Make the application of one worker."""
    library = FakeLibrary()
    world(library)
    access = AccessLog.open(options["access"]) if "access" in options else None
    size = int(options.get("size", "1000000"))
    probe = Probe(library, size, int(options.get("breaks", size)))
    numbers = [float(word) for word in options.get("uploads", "67108864,20,20,32768").split(",")]
    uploads = Uploads(int(numbers[0]), numbers[1], numbers[2], int(numbers[3]))
    if "home" not in options:
        doors: tuple[Door, ...] = (NixDoor(library), probe)
        if "site" in options:
            site = site_door()
            doors = (site, *doors)
            return App(doors, library, worker.metrics(), access, hosts=site.hosts)
        return App(doors, library, worker.metrics(), access, uploads=uploads)
    config = configuration.load(Path(options["home"]), None, {})
    real = wiring.open_library(config)
    doors = (*serving.doors(config, real), probe)
    return App(doors, real, worker.metrics(), access, uploads=uploads)


def main() -> None:
    """Serve."""
    listen, *words = sys.argv[1:]
    options = dict(word.split("=", 1) for word in words)
    cert, key = options.get("tls_cert"), options.get("tls_key")
    said = Serve(
        listen=listen,
        workers=int(options.get("workers", "1")),
        tls_cert=Path(cert) if cert else None,
        tls_key=Path(key) if key else None,
    )
    patience = int(options.get("patience", str(server.PATIENCE)))
    config = Config(home=Path(tempfile.gettempdir()), serve=said)
    server.serve(config, partial(load, options), patience)


if __name__ == "__main__":
    main()
