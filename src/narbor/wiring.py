"""From a Config to objects: the only file that names concrete classes.

HOME/catalogue.sqlite   what is known          HOME/packs/*.pack   blocks, append-only
HOME/index.sqlite       where blocks lie       HOME/keys/          NAME.secret, NAME.public
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from narbor.blocks import BlockSource
from narbor.blocks import reindex as rereading
from narbor.blocks.either import EitherSource
from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.narbor import NarborSource
from narbor.blocks.packs import PackStore
from narbor.blocks.reindex import Reread
from narbor.catalogue import Catalogue
from narbor.config import BadConfig, Config, peerkeys, replace
from narbor.config.ipfs import denied
from narbor.dag import profile
from narbor.doors.agent import AgentDoor
from narbor.doors.blocks import BlocksDoor
from narbor.doors.channels import ChannelsDoor
from narbor.doors.http import Door
from narbor.doors.ipfs import IpfsDoor, hosts, routing
from narbor.doors.ipfs.contentpath import Blocks
from narbor.doors.ipfs.hosts import Domains, HostsDoor
from narbor.doors.ipfs.routing import RoutingDoor
from narbor.doors.ipfs.withheld import Withheld, hash_of
from narbor.doors.nix import NixDoor
from narbor.doors.tarballs import TarballDoor
from narbor.errors import Refused, Unavailable
from narbor.library import Library
from narbor.library.admission import Admissions
from narbor.library.dags import Dags
from narbor.library.exchange import Exchange
from narbor.library.records import Records
from narbor.names.keys import Keyring, PublicKey, SecretKey
from narbor.net import credentials
from narbor.net.ftp import Ftp
from narbor.net.http import Http
from narbor.net.wire import Options
from narbor.tasks.agent import Agent, Limits, opening
from narbor.tasks.agent.seeds import Seeds
from narbor.tasks.keep.collect import Circumstances
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.replicate.arrive import Terms
from narbor.tasks.replicate.receiving import Receiving
from narbor.upstream import Cache, known
from narbor.upstream.cache import HttpCache
from narbor.upstream.directory import DirectoryCache
from narbor.upstream.nixstore import NixStore
from narbor.upstream.web import Web

SHORTEST_TOKEN: Final = 16


class NoStore(Refused):
    """There is no store in the home that a command wants to read."""


class NoHome(Unavailable):
    """The home cannot be made or written to."""


def open_library(config: Config, write: bool = False) -> Library:
    """Open the library under `config.home`; with `write` it is made if it is not there.

    Raises NoStore, NoHome, and what the catalogue and the packs raise.
    """
    home = config.home
    if write:
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NoHome(f"{home} cannot be made: {error.strerror}") from error
    elif not (home / "catalogue.sqlite").exists():
        raise NoStore(
            f"there is no store in {home}; make one with `narbor mirror` or `narbor init`"
        )
    incomplete = config.serve.incomplete
    catalogue = Catalogue.open(home / "catalogue.sqlite", write, show_incomplete=incomplete)
    files = Files(home / "packs")
    blocks = PackStore(files, Index(home / "index.sqlite", write), _pack_name, config.level)
    admissions = None
    if write:
        blocks.catch_up()
        pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="blocks")
        admissions = Admissions(
            blocks, catalogue, pool, profile.named(config.profile), _now, process()
        )
    return Library(catalogue, blocks, admissions, _now, files.free, config.store)


def at_rest(config: Config) -> int:
    """Return how many bytes the packs in the home take."""
    return sum(path.stat().st_size for path in (config.home / "packs").glob("*.pack"))


def reindex(config: Config) -> Iterator[Reread]:
    """Make the index anew from the packs, and put it in place when all are read.

    Who has the old one open goes on with it; servers are started anew. Raises NoStore, PackInUse.
    """
    home = config.home
    if not (home / "packs").is_dir():
        raise NoStore(f"there are no packs in {home}")
    place, new = home / "index.sqlite", home / "index.sqlite.new"
    new.unlink(missing_ok=True)
    index, files = Index(new, True), Files(home / "packs")
    try:
        yield from rereading.reindex(files, index)
    finally:
        index.close()
        files.close()
    # What waits in the old log is not of the new file. Without it the old one is only behind.
    for suffix in ("-wal", "-shm"):
        place.with_name(place.name + suffix).unlink(missing_ok=True)
    new.replace(place)


def doors(config: Config, library: Library) -> tuple[Door, ...]:
    """Return the doors to a library, in the order in which they are asked."""
    serve = config.serve
    cache = NixDoor(library, signing_keys(config), serve.compression, serve.priority)
    public = {each.name: each.public_url for each in config.channel if each.public_url is not None}
    scheme = "http" if serve.tls_cert is None else "https"
    channels = ChannelsDoor(library, cache, public, scheme)
    by_host, gateway, router = _ipfs_doors(config, library, scheme)
    withheld = frozenset(name[-32:] for name in denied(config.ipfs))
    blocks = BlocksDoor(Exchange(library, withheld=withheld), *_senders(config))
    return (by_host, cache, channels, TarballDoor(library), gateway, router, blocks)


def _senders(config: Config) -> tuple[Receiving | None, dict[str, str]]:
    """Return who takes what is pushed, and the tokens of senders; raises BadConfig."""
    tokens = {name: read_secret(file) for name, file in config.serve.push_tokens.items()}
    for name, token in tokens.items():
        if len(token) < SHORTEST_TOKEN:
            raise BadConfig(f"serve.push-tokens: {name}'s has less than {SHORTEST_TOKEN} letters")
    if len(set(tokens.values())) < len(tokens):
        raise BadConfig("serve.push-tokens: two senders have one token")
    if not tokens:
        return None, {}
    ring = keyring(config, (), ())

    def terms() -> Terms:
        return Terms(ring, False, _now(), process(), config.min_free)

    return Receiving(lambda: open_library(config, write=True), terms, time.monotonic), tokens


def _ipfs_doors(
    config: Config, library: Library, scheme: str
) -> tuple[HostsDoor, IpfsDoor, RoutingDoor]:
    """Return the gateway, by host and by path, and the router."""
    said, dags = config.ipfs, Dags(library)
    withheld = frozenset(map(hash_of, denied(said)))
    given: Blocks = Withheld(dags, withheld) if withheld else dags
    domains = Domains(said.dnslinks, partial(peerkeys.linked, config))
    gateway = IpfsDoor(given, time.time_ns, dags, domains)
    addresses = tuple(map(routing.public, said.public_url))
    here = routing.by_host(scheme)
    written = partial(Catalogue.open, config.home / "catalogue.sqlite")
    keeper = Records(written, time.time_ns, partial(peerkeys.names, config))
    router = RoutingDoor(
        given,
        time.time_ns,
        addresses,
        here,
        dags,
        said.announce,
        dags,
        keeper if said.accept_records else None,
    )
    special = hosts.made(said.subdomain_hosts, said.dnslinks, map(routing.host, addresses))
    return HostsDoor(gateway, special, scheme), gateway, router


def agent_home(config: Config) -> Path:
    """Return where the agent's own store lies."""
    if config.agent.folder is not None:
        return config.agent.folder
    said = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(said) if said.startswith("/") else Path.home() / ".cache"
    return base / "narbor" / "agent"


def open_agent(config: Config) -> tuple[Agent, AgentDoor]:
    """Open the agent's store and make the agent, and the door to it.

    Raises what `open_library` raises, BadConfig and CorruptKey for upstreams and keys.
    """
    said, folder = config.agent, agent_home(config)
    ring = keyring(config, (), said.upstreams)
    clients = {upstream_url(url): Http(_hasty(config)) for url in (*said.upstreams, *said.sources)}
    upstreams: list[Upstream] = []
    hints: list[Upstream] = []
    sources: list[tuple[BlockSource, Callable[[], int]]] = []
    for url in map(upstream_url, said.sources):
        either = EitherSource(url, clients[url])
        sources.append((either, either.together))
        hints.append(Upstream(HttpCache(url, clients[url]), ring))
    for url in said.upstreams:
        http = clients[upstream_url(url)]
        cache = open_upstream(url, http)
        upstreams.append(Upstream(cache, ring, says_trusted(url)))
        if isinstance(cache, HttpCache):
            sources.append((NarborSource(http, cache.url), opening.many))
    named = {credentials.bare(url): http for url, http in clients.items()}
    asking = opening.Asking(upstreams, sources, named, hints)
    seeds = None
    if said.seeds.is_absolute():
        seeds = Seeds(NixStore(said.seeds), profile.named(config.profile))
    library = open_library(replace(config, home=folder), write=True)

    def at() -> Circumstances:
        return Circumstances(_now(), config.grace, process(), alive)

    limits = Limits(said.size, config.min_free)
    made = opening.agent(library, asking, seeds, folder, at, time.monotonic, limits)
    return made, AgentDoor(made, said.priority)


def _hasty(config: Config) -> Options:
    """Return how to speak to upstreams while somebody waits for the answer."""
    said = config.mirror
    return Options(
        connect=3.0,
        read=5.0,
        patience=5.0,
        attempts=2,
        pause=0.1,
        longest_pause=1.0,
        rate=said.rate * 1_000_000,
        ca_file=said.ca_file,
        netrc=said.netrc,
        tokens=said.tokens,
    )


@contextmanager
def open_http(config: Config) -> Iterator[Http]:
    """Open the client with which all upstreams are spoken to; it is closed in the end."""
    said = config.mirror
    options = Options(
        rate=said.rate * 1_000_000,
        connections=max(64, said.jobs),
        ca_file=said.ca_file,
        netrc=said.netrc,
        tokens=said.tokens,
    )
    http = Http(options)
    try:
        yield http
    finally:
        http.close()


@contextmanager
def open_web(config: Config) -> Iterator[Web]:
    """Open the client with which source tarballs are fetched; it is closed in the end."""
    with open_http(config) as http:
        yield Web(http, Ftp())


def open_upstream(url: str, http: Http) -> Cache:
    """Return the cache that `url` names: http(s)://, file://, a folder, or a known host's name.

    Raises BadConfig for anything else.
    """
    full = upstream_url(url)
    return HttpCache(full, http) if full.startswith("http") else DirectoryCache(full)


def upstream_url(url: str) -> str:
    """Return the full URL of a cache that may be given by its bare name; raises BadConfig."""
    if "://" in url:
        scheme = url.partition("://")[0]
        if scheme not in ("http", "https", "file"):
            raise BadConfig(f"{url}: caches are read over http, https and file, not {scheme}")
        return url
    if known.find(f"https://{url}") is not None:
        return f"https://{url}"
    if Path(url).is_dir():
        return Path(url).resolve().as_uri()
    raise BadConfig(f"{url!r} is no URL, no folder and no cache that is known by name")


def says_trusted(url: str) -> bool:
    """Tell whether a cache's URL carries Nix's parameter `trusted`, for this cache alone."""
    said = parse_qs(urlsplit(url).query).get("trusted", [""])[-1]
    return said in ("1", "true", "yes")


def store_paths(url: str, cache: Cache) -> Iterator[str]:
    """Read a list of store paths: a file of this machine, or a URL, relative to the cache's."""
    if Path(url).is_file():
        path = Path(url).resolve()
        return DirectoryCache(str(path.parent)).store_paths(path.name)
    return cache.store_paths(url)


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


def _now() -> int:
    return int(time.time())


def _pack_name() -> str:
    """Name a pack as nobody else does, so that names sort by their time."""
    return f"{int(time.time()):08x}-{uuid.uuid4().hex[:12]}.pack"


def process() -> str:
    """Name this process as no other is named, on any machine."""
    return f"{socket.gethostname()}/{os.getpid()}/{_begun(os.getpid())}"


def alive(name: str) -> bool:
    """Tell whether a process named by `process` still is; those of other machines are believed."""
    host, _, rest = name.rpartition("/")[0].rpartition("/")
    pid, begun = rest, name.rpartition("/")[2]
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _begun(int(pid)) == begun


def _begun(pid: int) -> str:
    """Return when a process began, in the kernel's ticks: numbers of processes come again.

    "" for one that has ended, also where nobody has taken note of it yet (a zombie).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
