"""A library to the doors that answer for it, and to whoever takes in what is pushed."""

import time
from functools import partial
from typing import Final

from narbor.catalogue import Catalogue
from narbor.config import BadConfig, Config, peerkeys
from narbor.config.ipfs import denied
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
from narbor.library import Library
from narbor.library.dags import Dags
from narbor.library.exchange import Exchange
from narbor.library.records import Records
from narbor.names import provider
from narbor.tasks.replicate.arrive import Terms
from narbor.tasks.replicate.receiving import Receiving
from narbor.wiring.keys import keyring, read_secret, signing_keys
from narbor.wiring.processes import now, process
from narbor.wiring.stores import open_library

SHORTEST_TOKEN: Final = 16


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
        return Terms(ring, False, now(), process(), config.min_free)

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
    addresses = tuple(map(provider.public, said.public_url))
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
    special = hosts.made(said.subdomain_hosts, said.dnslinks, map(provider.host, addresses))
    return HostsDoor(gateway, special, scheme), gateway, router
