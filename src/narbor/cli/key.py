"""`narbor key new|show|import`: the keys that sign what is served, and those that are believed.

They lie in `HOME/keys`: `NAME.secret` signs, every `NAME.public` is believed.
"""

import argparse
import os
from pathlib import Path

from narbor import config as configuration
from narbor import wiring
from narbor.cli.options import Commands
from narbor.cli.out import Out
from narbor.errors import Refused
from narbor.names.keys import CorruptKey, PublicKey, SecretKey


class KeyExists(Refused):
    """A key of this name is there already, and is not written over."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("key", help="make, show and import keys")
    verbs = parser.add_subparsers(metavar="WHAT", required=True)
    new = verbs.add_parser("new", help="make a key; it signs what is served from then on")
    new.add_argument("name", metavar="NAME", help="such as cache.example.org-1")
    new.set_defaults(run=make)
    show = verbs.add_parser("show", help="show the public keys")
    show.set_defaults(run=show_all)
    take = verbs.add_parser("import", help="keep a key, secret or public, from a file or as text")
    take.add_argument("key", metavar="FILE|KEY")
    take.set_defaults(run=import_key)


def make(args: argparse.Namespace, out: Out) -> int:
    """Make a key and write both halves."""
    folder = _folder(args)
    key = SecretKey.generate(args.name)
    _write(folder, f"{key.name}.secret", str(key), 0o600)
    _write(folder, f"{key.name}.public", str(key.public), 0o644)
    _tell(out, key.public, signs=True)
    return 0


def show_all(args: argparse.Namespace, out: Out) -> int:
    """Show the public half of every key."""
    folder = _folder(args)
    for path in sorted(folder.glob("*.public")):
        signs = path.with_suffix(".secret").exists()
        _tell(out, PublicKey.parse(path.read_text("ascii")), signs)
    return 0


def import_key(args: argparse.Namespace, out: Out) -> int:
    """Keep a key that was made elsewhere."""
    folder = _folder(args)
    text = args.key if ":" in args.key else _text(Path(args.key))
    try:
        public, secret = PublicKey.parse(text), None
    except CorruptKey:
        secret = SecretKey.parse(text)
        public = secret.public
    if secret is not None:
        _write(folder, f"{secret.name}.secret", str(secret), 0o600)
    _write(folder, f"{public.name}.public", str(public), 0o644)
    _tell(out, public, signs=secret is not None)
    return 0


def _folder(args: argparse.Namespace) -> Path:
    return wiring.key_folder(configuration.load(args.home, args.config))


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptKey(f"{path} is no file with a key: {error}") from error


def _write(folder: Path, name: str, text: str, mode: int) -> None:
    if "/" in name or name.startswith("."):
        raise CorruptKey(f"{name!r} cannot be the name of a file")
    folder.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(folder / name, flags, mode)
    except FileExistsError:
        if (folder / name).read_text("ascii").strip() == text:
            return
        raise KeyExists(f"{folder / name} is there already; move it away first") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


def _tell(out: Out, key: PublicKey, signs: bool) -> None:
    what = "signs and is believed" if signs else "is believed"
    out.event({"name": key.name, "public": str(key), "signs": signs}, str(key))
    out.say(f"{key.name} {what}")
