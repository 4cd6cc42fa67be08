"""Keys and tokens, from the files that hold them: whom to believe, and how we prove ourselves."""

from collections.abc import Iterable
from pathlib import Path

from narbor.config import BadConfig, Config
from narbor.names.keys import Keyring, PublicKey, SecretKey
from narbor.upstream import known
from narbor.wiring.upstreams import upstream_url


def keyring(config: Config, trusted: Iterable[str], upstreams: Iterable[str]) -> Keyring:
    """Return whom to believe: the configuration, the home's keys, `trusted`, and known caches.

    A known cache is believed under its own keys when it is asked for by its URL or name. Each of
    `trusted` is a key (NAME:BASE64) or a file that holds some. Raises CorruptKey, BadConfig.
    """
    words = list(config.keys)
    for text in trusted:
        words += text.split() if ":" in text else _read(Path(text)).split()
    for path in sorted(key_folder(config).glob("*.public")):
        words += _read(path).split()
    for url in upstreams:
        found = known.find(upstream_url(url))
        words += found.keys if found else ()
    return Keyring(tuple(PublicKey.parse(word) for word in dict.fromkeys(words)))


def signing_keys(config: Config) -> tuple[SecretKey, ...]:
    """Return the secret keys of the home, which sign all that is served; raises CorruptKey."""
    paths = sorted(key_folder(config).glob("*.secret"))
    return tuple(SecretKey.parse(_read(path)) for path in paths)


def key_folder(config: Config) -> Path:
    """Return where the home's keys lie."""
    return config.home / "keys"


def read_secret(path: Path) -> str:
    """Read a file that holds a token and nothing else; raises BadConfig."""
    try:
        token = path.expanduser().read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} cannot be read as a token: {error}") from error
    if not token or not token.isprintable() or " " in token:
        raise BadConfig(f"{path} holds no token")
    return token


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is no key (NAME:BASE64), nor a file of keys: {error}") from error
