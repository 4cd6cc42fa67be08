"""Servers for as long as the demo needs them: the farm's cache, and narbor itself."""

import functools
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from narbor.errors import Unavailable

HOST: Final = "127.0.0.1"
_PATIENCE: Final = 30.0
# This machine is asked without any proxy.
_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerSilent(Unavailable):
    """A server that was started does not answer."""


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder, quietly, over connections that stay open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error."""


@contextmanager
def folder(path: Path) -> Iterator[str]:
    """Serve a folder over HTTP on a free port of this machine; give its URL."""
    server = _Quiet((HOST, 0), functools.partial(_Handler, directory=str(path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="farm")
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def narbor(home: Path, listen: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Serve the store of `home` in a process of its own until the context ends.

    Raises ServerSilent when it ends, or does not answer within half a minute.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NARBOR_")}
    server = subprocess.Popen(
        [sys.executable, "-m", "narbor.serve"],
        env=kept | {"NARBOR_HOME": str(home), "NARBOR_SERVE_LISTEN": listen},
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait(server, listen)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], listen: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServerSilent(f"narbor serve ended with {server.returncode} before it answered")
        try:
            get(f"http://{listen}/nix-cache-info")
            return
        except Unavailable:
            time.sleep(0.05)
    raise ServerSilent(f"narbor serve does not answer at {listen}")


def get(url: str) -> bytes:
    """Fetch a URL with the plainest client there is; raises ServerSilent unless it is there."""
    try:
        with _opener.open(url, timeout=60) as answer:
            body: bytes = answer.read()
            return body
    except (OSError, http.client.HTTPException) as error:
        raise ServerSilent(f"{url}: {error}") from error
