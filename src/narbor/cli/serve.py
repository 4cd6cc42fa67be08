"""`narbor serve`: all doors on one port.

The server is a program of its own (`python -m narbor.serve`): this command says what clients are
to be told, and becomes it. Flags go over as the NARBOR_* variables that say the same.
"""

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from narbor import config as configuration
from narbor import wiring
from narbor.cli.options import Commands, count
from narbor.cli.out import Out
from narbor.config import Config
from narbor.names.keys import PublicKey, SecretKey

EVERYWHERE = ("0.0.0.0", "[::]")
# For the C library's allocator: pieces of bodies are made in one thread and let go in another, and
# without this their pages go back to the system each time, a quarter of the work of serving.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "serve",
        help="serve the store to Nix and others",
        epilog="Exit codes: 0 stopped by SIGTERM or SIGINT · 2 the configuration is wrong, or "
        "there is no store · 3 the address is taken, or the store cannot be read.",
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="or unix:PATH (127.0.0.1:8642)")
    parser.add_argument("--workers", type=count, metavar="N", help="processes that answer (1)")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificates, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="their private key, PEM")
    parser.add_argument("--priority", type=int, metavar="N", help="lower is asked first (40)")
    parser.add_argument("--compression", choices=("zstd", "none"), help="of archives (zstd)")
    parser.add_argument(
        "--key",
        action="append",
        type=Path,
        metavar="FILE",
        help="a secret key that signs, beside those of the home; again and again",
    )
    parser.add_argument(
        "--access-log",
        nargs="?",
        const="-",
        metavar="FILE",
        help="note every answer in FILE, or on standard error",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Check what can be checked, say how to use the server, become it."""
    told = variables(args)
    environment = {**os.environ, **told}
    config = configuration.load(environment=environment)
    wiring.open_library(config).close()
    own = tuple(SecretKey.parse(_text(path)).public for path in args.key or ())
    keys = wiring.keyring(config, (), ()).keys
    _tell(config, tuple(dict.fromkeys((*own, *keys))), out)
    _become({**ALLOCATOR, **environment})


def variables(args: argparse.Namespace) -> dict[str, str]:
    """Spell the flags that were given as variables; paths in full."""
    said = {
        "NARBOR_HOME": args.home and args.home.absolute(),
        "NARBOR_CONFIG": args.config and args.config.absolute(),
        "NARBOR_SERVE_LISTEN": args.listen,
        "NARBOR_SERVE_WORKERS": args.workers,
        "NARBOR_SERVE_TLS_CERT": args.tls_cert and args.tls_cert.absolute(),
        "NARBOR_SERVE_TLS_KEY": args.tls_key and args.tls_key.absolute(),
        "NARBOR_SERVE_PRIORITY": args.priority,
        "NARBOR_SERVE_COMPRESSION": args.compression,
        "NARBOR_SIGN_WITH": args.key and os.pathsep.join(str(key.absolute()) for key in args.key),
        "NARBOR_ACCESS_LOG": args.access_log,
    }
    return {name: str(value) for name, value in said.items() if value is not None}


def url(config: Config) -> str | None:
    """Return what clients call this server; None for a socket in the file system.

    Raises BadConfig for what is no address.
    """
    listen = config.serve.listen
    if listen.startswith("unix:"):
        return None
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise configuration.BadConfig(f"{listen!r} is no address (HOST:PORT or unix:PATH)")
    scheme = "https" if config.serve.tls_cert else "http"
    return f"{scheme}://{socket.gethostname() if host in EVERYWHERE else host}:{port}"


def _tell(config: Config, keys: tuple[PublicKey, ...], out: Out) -> None:
    """Say what goes into nix.conf."""
    where = url(config)
    if where is None:
        out.say(f"on {config.serve.listen}: for the HTTP server in front (docs/guide/serve.md)")
    else:
        out.say("in nix.conf:")
        out.say(f"  extra-substituters = {where}")
    if keys:
        out.say(f"  extra-trusted-public-keys = {' '.join(map(str, keys))}")
    else:
        out.say("  (no key of your own: clients need the keys of the caches you mirror)")


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise configuration.BadConfig(f"{path} is no file with a secret key: {error}") from error


def _become(environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: what lies in the current folder is no part of the program.
    os.execve(sys.executable, (sys.executable, "-P", "-m", "narbor.serve"), environment)
