"""The keys of IPNS names: `HOME/keys/NAME.pem`, in the form that Kubo imports and exports."""

from pathlib import Path

from narbor.config import Config
from narbor.names import peerkey
from narbor.names.cid import Cid
from narbor.names.keys import CorruptKey
from narbor.names.peerkey import PeerKey


def file(config: Config, name: str) -> Path:
    """Return where the key of a name lies; raises CorruptKey for what names no file."""
    if "/" in name or name.startswith(".") or not name:
        raise CorruptKey(f"{name!r} cannot be the name of a file")
    return config.home / "keys" / f"{name}.pem"


def find(config: Config, name: str) -> PeerKey | None:
    """Return the key of a name, None where there is none yet; raises CorruptKey."""
    path = file(config, name)
    try:
        return PeerKey.parse(path.read_text("ascii"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptKey(f"{path} cannot be read: {error}") from error


def linked(config: Config, value: str) -> str | None:
    """Return the content path that a domain leads to, itself or by the name of a key.

    None for a key that is not made yet; raises CorruptKey.
    """
    if value.startswith("/"):
        return value
    key = find(config, value)
    return None if key is None else f"/ipns/{peerkey.text(key.name)}"


def names(config: Config) -> frozenset[Cid]:
    """Return the names of all keys of the home; raises CorruptKey."""
    keys = (find(config, path.stem) for path in (config.home / "keys").glob("*.pem"))
    return frozenset(key.name for key in keys if key is not None)
