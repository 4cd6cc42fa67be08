"""Delegated routing: whoever looks for a block that is here is told to fetch it here, over HTTP.

    GET /routing/v1/providers/CID    who has a block: we, or nobody
    GET /routing/v1/peers/PEER       where a peer is: we, or unknown
    GET /routing/v1/ipns/NAME        the record of a name that is kept here
    PUT /routing/v1/ipns/NAME        keep one that says more than what is kept, where that is wanted
    GET /routing/v1/dht/closest/...  501: there is no DHT behind this

Kubo that has this address among its delegated routers then takes blocks from the gateway of this
server, without libp2p. Nobody proves the PeerID of an HTTP provider: it only has to be one, and
one for each address. Answers are JSON, or NDJSON where that is asked for; nobody is an empty
list, not 404 (IPIP-513). Filters are those of IPIP-484.
Specification: https://specs.ipfs.tech/routing/http-routing-v1/
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final, Protocol

from narbor.doors import http, ipfs
from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import Names, NoNames, Unresolved, negotiation, record_answer
from narbor.doors.ipfs.contentpath import Blocks
from narbor.doors.ipfs.withheld import Denied
from narbor.errors import Rejected
from narbor.formats import ipns
from narbor.names import cid, cidtext, peerkey, provider
from narbor.names.cid import Cid, MalformedCid
from narbor.names.provider import Announce

PROTOCOL: Final = "transport-ipfs-gateway-http"
_KNOWN_SECONDS: Final = 300
_UNKNOWN_SECONDS: Final = 15
_STALE: Final = 172_800
_SECOND: Final = 1_000_000_000
_ATTEMPTS: Final = 5
_FRESH: Final = ("cache-control", "no-store")
_PATH: Final = re.compile(r"/routing/v1/(providers|peers|ipns|dht)/(.+)", re.DOTALL)


class Roots(Protocol):
    """Which blocks are roots: of items, files, or what is published or kept by name."""

    def is_root(self, name: Cid) -> bool:
        """Tell whether a block is one, under whatever codec; may raise Unavailable."""
        ...


class Keeper(Protocol):
    """Who keeps records of anybody's names."""

    def keep(self, name: Cid, text: bytes, before: bytes | None) -> bool:
        """Keep a record in place of `before`; False where another one is kept by now.

        Raises Unavailable, also where there is no room for another name.
        """
        ...


@dataclass(frozen=True, slots=True)
class RoutingDoor:
    """The router. `addresses` are our multiaddrs; our PeerID is made from them.

    Where there are none, `address` may give one for a request (by its Host); else we are nowhere.
    `announce` says which blocks we own up to: `roots` alone, `entities` (nodes too, which are
    directories and files of more than one block), `all`, or `none`.
    """

    blocks: Blocks
    clock: Callable[[], int]
    addresses: tuple[str, ...] = ()
    address: Callable[[Request], str | None] = field(default=lambda request: None)
    names: Names = field(default_factory=NoNames)
    announce: Announce = "all"
    roots: Roots | None = None
    keeper: Keeper | None = None

    def takes(self, request: Request) -> int:
        """Return how many bytes may come with a request: a record."""
        match = _PATH.fullmatch(request.path)
        wanted = match is not None and match[1] == "ipns" and request.method == "PUT"
        return ipns.LONGEST if wanted and self.keeper is not None else 0

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for a path that is not routing's."""
        match = _PATH.fullmatch(request.path)
        if match is None:
            return None
        kind, what = match.groups()
        keeper = self.keeper if kind == "ipns" else None
        methods = ipfs.METHODS if keeper is None else (*ipfs.METHODS, "PUT")
        if request.method == "OPTIONS":
            return Answer(204, (("allow", ", ".join(methods)), *negotiation.CORS))
        if request.method not in methods:
            return http.wrong_method(*methods)
        try:
            if keeper is not None and request.method == "PUT":
                answer = self._put(keeper, request, peerkey.parse(what))
            else:
                answer = self._answered(request, kind, what)
        except (MalformedCid, negotiation.BadRequest) as error:
            # The specification's word for what can be read but means nothing.
            answer = http.text(422, str(error))
        return Answer(answer.status, (*answer.headers, *negotiation.CORS), answer.body)

    def _answered(self, request: Request, kind: str, what: str) -> Answer:
        match kind:
            case "providers":
                name = cidtext.known(cidtext.parse(what))
                return self._list(request, "Providers", self._has(name))
            case "peers":
                peer = peerkey.parse(what)
                here = self._addresses(request)
                return self._list(request, "Peers", bool(here) and peer_of(here) == peer)
            case "ipns":
                return self._ipns(request, peerkey.parse(what))
        return http.text(501, "there is no DHT behind this router")

    def _has(self, name: Cid) -> bool:
        """Tell whether we say of a block that it is here."""
        try:
            if self.announce == "none" or self.blocks.block_size(name) is None:
                return False
        except Denied:
            return False
        if self.announce == "all" or (self.roots is not None and self.roots.is_root(name)):
            return True
        return self.announce == "entities" and cid.codec(name) != cid.RAW

    def _list(self, request: Request, what: str, found: bool) -> Answer:
        record = self._record(request) if found else None
        records = [] if record is None else [record]
        lines = "application/x-ndjson" in request.headers.get("accept", "")
        if lines:
            text = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in records)
        else:
            text = json.dumps({what: records}, separators=(",", ":"))
        seconds = _KNOWN_SECONDS if records else _UNKNOWN_SECONDS
        cache = f"public, max-age={seconds}, stale-while-revalidate={_STALE}"
        headers = (
            ("content-type", "application/x-ndjson" if lines else "application/json"),
            ("content-length", str(len(text))),
            ("cache-control", f"{cache}, stale-if-error={_STALE}"),
            ("last-modified", formatdate(self.clock() // _SECOND, usegmt=True)),
            ("vary", "Accept"),
        )
        return Answer(200, headers, text.encode() if request.method == "GET" else b"")

    def _record(self, request: Request) -> Mapping[str, object] | None:
        """Return ourselves, as far as the filters of a request let us through."""
        asked = negotiation.asking(request)
        protocols = _words(asked.get("filter-protocols", ""))
        if protocols and PROTOCOL not in protocols:
            return None
        addresses = self._addresses(request)
        passed = _filtered(addresses, _words(asked.get("filter-addrs", "")))
        if not passed:
            return None
        return {
            "Schema": "peer",
            "ID": peerkey.peer_id(peer_of(addresses)),
            "Addrs": list(passed),
            "Protocols": [PROTOCOL],
        }

    def _addresses(self, request: Request) -> tuple[str, ...]:
        here = None if self.addresses else self.address(request)
        return self.addresses if here is None else (here,)

    def _ipns(self, request: Request, name: Cid) -> Answer:
        accept = request.headers.get("accept", "*/*")
        type = negotiation.TYPES["ipns-record"]
        if not any(
            each in (type, "*/*", "application/*") for each, _ in negotiation.accepted(accept)
        ):
            return http.text(406, f"records are given as {type}: retry with Accept: {type}")
        text = self.names.record(name)
        missing = f"no record of {peerkey.text(name)} is kept here"
        if text is None:
            # Any other type than the record's says that there is none; 404 is for clients of old.
            return http.text(200, missing, ("cache-control", f"public, max-age={_UNKNOWN_SECONDS}"))
        try:
            answer = record_answer(request, text, name, self.clock())
        except Unresolved as error:
            return http.text(200, str(error), ("cache-control", "no-store"))
        return Answer(answer.status, (*answer.headers, ("vary", "Accept")), answer.body)

    def _put(self, keeper: Keeper, request: Request, name: Cid) -> Answer:
        """Keep a record, if its name's key signed it and it says more than what is kept."""
        type = negotiation.TYPES["ipns-record"]
        if request.headers.get("content-type", "").partition(";")[0].strip() != type:
            return http.text(406, f"records are taken as {type}", _FRESH)
        try:
            ipns.verify(request.content, name, self.clock())
        except Rejected as error:
            return http.text(400, str(error), _FRESH)
        for _ in range(_ATTEMPTS):
            before = self.names.record(name)
            if before is not None and ipns.newer(before, request.content) != request.content:
                return http.text(409, "a newer record of this name is kept", _FRESH)
            if before == request.content or keeper.keep(name, request.content, before):
                return http.text(200, "kept", _FRESH)
        return http.text(503, "the record changes all the time", _FRESH, ("retry-after", "1"))


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in text.split(",") if word.strip())


def _filtered(addresses: tuple[str, ...], wanted: frozenset[str]) -> tuple[str, ...]:
    """Return the addresses that pass: none of the protocols with `!`, one of the others if any."""
    never = {word[1:] for word in wanted if word.startswith("!")}
    some = {word for word in wanted if not word.startswith("!")}
    passed = []
    for address in addresses:
        protocols = set(address.lower().split("/"))
        if not protocols & never and (not some or protocols & some):
            passed.append(address)
    return tuple(passed)


def by_host(scheme: str) -> Callable[[Request], str | None]:
    """Return what makes a multiaddr of the Host a request was sent to.

    For servers that were not told what they are called.
    """

    def address(request: Request) -> str | None:
        host = request.headers.get("host")
        try:
            return None if not host else provider.multiaddr(f"{scheme}://{host}")
        except provider.BadAddress:
            return None

    return address


def peer_of(addresses: tuple[str, ...]) -> Cid:
    """Return a name for the peer at these addresses, always the same; nobody holds its key."""
    seed = cid.raw("\n".join(addresses).encode())[4:]
    return peerkey.PeerKey(seed).name
