"""What the operator said: defaults, `narbor.toml`, the environment and flags, as one frozen Config.

Later words win: defaults, then the file, then `NARBOR_*` variables, then flags (which the commands
put in with `replace`). Keys are written in kebab case (`min-free`), variables in upper case with
the table in front (`NARBOR_SERVE_LISTEN`). A key nobody knows is refused with its line.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, structs

from narbor.config import channels, follow, ipfs, lines, seed
from narbor.config.agent import Agent
from narbor.config.channels import Channel, Product
from narbor.config.errors import BadConfig
from narbor.config.follow import Follow
from narbor.config.ipfs import Ipfs, KeyName, Publish, Replicate
from narbor.config.tarballs import Tarballs

__all__ = [
    "Agent",
    "BadConfig",
    "Channel",
    "Config",
    "Follow",
    "Ipfs",
    "Mirror",
    "Product",
    "Publish",
    "Replicate",
    "Serve",
    "Tarballs",
]

FILE_NAME = "narbor.toml"
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_WHERE = re.compile(r"^(.*?)(?: - at (?:`key` in )?`\$\.?(.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(.*)`")


class Serve(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """How the doors are opened (table `serve`).

    `push_tokens` are files with the tokens of those who may push blocks here, by sender.
    """

    listen: str = "127.0.0.1:8642"
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    compression: Literal["zstd", "none"] = "zstd"
    priority: Annotated[int, Meta(ge=0)] = 40
    incomplete: bool = False
    push_tokens: dict[KeyName, Path] = {}


class Mirror(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """How items are fetched (table `mirror`). `rate` is in MB/s of 1,000,000 bytes; 0: no limit.

    `tokens` are bearer tokens by `HOST` or `HOST:PORT`.
    """

    jobs: Annotated[int, Meta(ge=1, le=256)] = 8
    rate: Annotated[float, Meta(ge=0)] = 0
    logs: bool = False
    closure: bool = True
    ca_file: Path | None = None
    netrc: Path | None = None
    tokens: dict[str, str] = {}


TABLES: Final[dict[str, type[Struct]]] = {
    "serve": Serve,
    "mirror": Mirror,
    "tarballs": Tarballs,
    "ipfs": Ipfs,
    "publish": Publish,
    "agent": Agent,
}
# Tables that stand there any number of times: no variable sets them.
LISTS: Final = ("channel", "follow", "replicate")


class Config(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """All that narbor was told. `keys` are public keys in Nix's spelling; `min_free` is bytes.

    `grace` is in seconds: so long emptied packs are left to those who may be reading them. `quota`
    is how many bytes may lie at rest before a collection takes old releases out; 0: any number.
    """

    home: Path
    store: Annotated[str, Meta(pattern=r"^/[^\s]*[^\s/]$")] = "/nix/store"
    keys: tuple[str, ...] = ()
    profile: Literal["narbor-v1", "unixfs-v1-2025"] = "narbor-v1"
    level: Annotated[int, Meta(ge=1, le=22)] = 3
    min_free: int = 1_000_000_000
    quota: Annotated[int, Meta(ge=0)] = 0
    grace: Annotated[int, Meta(ge=0)] = 3600
    serve: Serve = Serve()
    mirror: Mirror = Mirror()
    tarballs: Tarballs = Tarballs()
    ipfs: Ipfs = Ipfs()
    publish: Publish = Publish()
    agent: Agent = Agent()
    channel: tuple[Channel, ...] = ()
    follow: tuple[Follow, ...] = ()
    replicate: tuple[Replicate, ...] = ()


def load(
    home: Path | None = None,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """Read the configuration; `home` and `file` are what the flags say, None for what they do not.

    Raises BadConfig, naming the file and the line, or the variable.
    """
    named = file or _path(environment.get("NARBOR_CONFIG"))
    chosen = home or _path(environment.get("NARBOR_HOME"))
    source = named or (chosen or default_home(environment)) / FILE_NAME
    values, text = _read(source, must_exist=named is not None)
    if chosen is not None:
        values["home"] = str(chosen)
    elif "home" not in values:
        values["home"] = str(default_home(environment))
    _check(values, text, source)
    _overlay(values, environment)
    _usual(values["mirror"], environment)
    return _convert(values, text, source)


def notes(file: Path | None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Tell what is otherwise than it was, where the file is that of an older program."""
    named = file or _path(environment.get("NARBOR_CONFIG"))
    if named is None or named.suffix != ".json":
        return ()
    return tuple(seed.notes(named.read_text("utf-8-sig"), named))


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the home when nobody names one: `narbor` in the user's XDG data folder."""
    data = environment.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "narbor"


def example() -> str:
    """Return a configuration file in which every key stands with its default, commented out."""
    return resources.files("narbor").joinpath("example.toml").read_text("utf-8")


def replace(config: Config, **changes: object) -> Config:
    """Return `config` with flags put in; `serve_*`, `mirror_*` and so on go into the tables.

    None means that the flag was not given.
    """
    tables: dict[str, dict[str, object]] = {name: {} for name in TABLES}
    top: dict[str, object] = {}
    for name, value in changes.items():
        if value is None:
            continue
        table, _, rest = name.partition("_")
        if table in tables and rest:
            tables[table][rest] = value
        else:
            top[name] = value
    for table, said in tables.items():
        if said:
            top[table] = structs.replace(getattr(config, table), **said)
    return structs.replace(config, **top)


def channel(values: Mapping[str, object], source: str) -> Channel:
    """Return a channel that is described elsewhere than in the file; raises BadConfig."""
    try:
        return msgspec.convert(values, Channel)
    except msgspec.ValidationError as error:
        raise BadConfig(f"{source}: {error}") from error


def publishes(config: Config) -> bool:
    """Tell whether `narbor watch` publishes: under names, or for those who copy the cache."""
    wanted = bool(config.publish.names) or any(each.what == "cache" for each in config.replicate)
    return wanted and config.publish.interval > 0


def plain(config: Config) -> dict[str, object]:
    """Return what holds as plain values, keys as in the file; but for secrets."""
    values: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    values["mirror"]["tokens"] = dict.fromkeys(config.mirror.tokens, "(secret)")
    return values


def tokens(words: Iterable[str]) -> dict[str, str]:
    """Read `HOST=TOKEN` words; raises BadConfig, which does not show the token."""
    pairs = [word.partition("=") for word in words]
    if any(not host or not token for host, _, token in pairs):
        raise BadConfig("a token is given as HOST=TOKEN")
    return {host: token for host, _, token in pairs}


def size(text: str) -> int:
    """Read a number of bytes: `500`, `20M`, `1.5GB` (powers of 1000), `2GiB` (of 1024).

    Raises BadConfig.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadConfig(f"{text!r} is no size; write it like 500M, 20GB or 2GiB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _UNITS[match[2].upper()])


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _read(source: Path, must_exist: bool) -> tuple[dict[str, Any], str]:
    try:
        text = source.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise BadConfig(f"{source}: there is no such configuration file") from None
        return {}, ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{source} cannot be read: {error}") from error
    if source.suffix == ".json":
        return seed.values(text, source), ""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{source} is no TOML: {error}") from error
    for name in ("home", "tls-cert", "tls-key", "ca-file", "netrc", "denied-file"):
        for table in (values, values.get("serve"), values.get("mirror"), values.get("ipfs")):
            if isinstance(table, dict) and isinstance(table.get(name), str):
                table[name] = str(source.parent / Path(table[name]).expanduser())
    serve = values.get("serve")
    senders = serve.get("push-tokens") if isinstance(serve, dict) else None
    if isinstance(senders, dict):
        for name, file in senders.items():
            if isinstance(file, str):
                senders[name] = str(source.parent / Path(file).expanduser())
    return values, text


def _overlay(values: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Put the environment's words over the file's."""
    for prefix, kind, table in _tables(values):
        for field in structs.fields(kind):
            said = environment.get(f"NARBOR_{prefix}{field.name.upper()}")
            if said is None or field.name in ("home", *LISTS, *TABLES):
                continue
            table[field.encode_name] = _words(field.name, said)


def _words(name: str, said: str) -> object:
    match name:
        case "keys" | "hashed_mirrors" | "systems" | "public_url" | "subdomain_hosts" | "denied":
            return said.split()
        case "names" | "upstreams" | "sources":
            return said.split()
        case "dnslinks":
            return ipfs.links(said.split())
        case "push_tokens":
            return dict(word.partition("=")[::2] for word in said.split())
        case "tokens":
            return tokens(said.split())
        case _:
            return said


def _usual(mirror: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Take certificates and passwords from where Nix and others do, unless told otherwise.

    SSL_CERT_FILE needs no mention here: TLS itself looks at it.
    """
    home = environment.get("HOME", "")
    certificates = environment.get("NIX_SSL_CERT_FILE", "")
    passwords = environment.get("NETRC", "") or (home and f"{home}/.netrc")
    for key, path in (("ca-file", certificates), ("netrc", passwords)):
        if path and key not in mirror and Path(path).is_file():
            mirror[key] = path


def _tables(values: dict[str, Any]) -> list[tuple[str, type[Struct], dict[str, Any]]]:
    found: list[tuple[str, type[Struct], dict[str, Any]]] = [("", Config, values)]
    for name, kind in TABLES.items():
        found.append((f"{name.upper()}_", kind, values.setdefault(name, {})))
    return found


def _check(values: dict[str, Any], text: str, source: Path) -> None:
    """Hold the file alone against the schema, strictly: a number in quotes is a mistake there."""
    _convert({**values}, text, source, strict=True)


def _convert(values: dict[str, Any], text: str, source: Path, strict: bool = False) -> Config:
    for name in ("min-free", "quota"):
        if isinstance(said := values.get(name), str):
            values[name] = size(said)
    for name, key in (("tarballs", "limit"), ("agent", "size")):
        table = values.get(name)
        if isinstance(table, dict) and isinstance(said := table.get(key), str):
            table[key] = size(said)
    try:
        config = msgspec.convert(values, Config, strict=strict, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise BadConfig(_complaint(str(error), text, source)) from error
    mistake = _mistake(config)
    if mistake is not None:
        where, what = mistake
        raise BadConfig(_complaint(f"{what} - at `$.{where}`", text, source))
    return config


def _mistake(config: Config) -> tuple[str, str] | None:
    """Return the place and mistake of what no schema finds."""
    names = [channel.name for channel in config.channel]
    for where, wrong in (
        ("channel", channels.complaint(config.channel)),
        ("follow", follow.complaint(config.follow, names)),
    ):
        if wrong is not None:
            number, key, mistake = wrong
            return f"{where}[{number}].{key}", mistake
    names += [each.name for each in config.follow]
    return ipfs.complaint(config.ipfs, config.publish, config.replicate, names)


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"expected a path, got {value!r}")


def _complaint(message: str, text: str, source: Path) -> str:
    match = _WHERE.match(message)
    what, where = (match[1], match[2] or "") if match else (message, "")
    unknown = _UNKNOWN.search(what)
    if unknown:
        where = f"{where}.{unknown[1]}".lstrip(".")
        what = "no such key (`narbor config example` lists them all)"
    line = lines.find(text, where)
    if line is None and where.startswith(LISTS):
        return f"{source}: {where}: {what}"
    if line is None:
        return f"{source} or NARBOR_{where.upper().replace('.', '_')}: {where}: {what}"
    return f"{source}, line {line}: {where}: {what}"
