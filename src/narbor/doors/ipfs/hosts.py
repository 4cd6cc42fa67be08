"""Hosts that stand for content: each root at an origin of its own, and domains that are web sites.

    CID.ipfs.HOST, KEY.ipns.HOST, a--b-c.ipns.HOST (the domain a-b.c)    HOST is a subdomain host
    HOST/ipfs/CID/...      301 to CID.ipfs.HOST/..., so that pages of one root see no other's
    DOMAIN                 what a DNSLink says it is; all of its paths

Blocks, CARs and records are given at HOST/ipfs/... as ever: they are nothing that a browser runs,
and who fetches them follows no redirects. A label of a host has at most 63 letters, in small ones:
CIDs are spelled in base 32, keys in base 36; what is longer has no place here.
Specification: https://specs.ipfs.tech/http-gateways/subdomain-gateway/
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import Content, IpfsDoor, negotiation
from narbor.doors.ipfs.negotiation import BadRequest
from narbor.doors.ipfs.site import Site
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid, MalformedCid

_LONGEST: Final = 63
_LABEL: Final = re.compile(r"(.+)\.(ipfs|ipns)")
_PATH: Final = re.compile(r"/(ipfs|ipns)/([^/]+)(/.*)?", re.DOTALL)
_TRUSTLESS: Final = frozenset({"raw", "car", "ipns-record"})


class TooLong(BadRequest):
    """A CID has no room in the label of a host."""

    def __init__(self, name: str) -> None:
        super().__init__(f"CID incompatible with DNS label length limit of {_LONGEST}: {name}")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Which hosts stand for content: those below `parents`, and `domains`. All in small letters."""

    parents: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.parents or self.domains)

    def special(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request's host may stand for content."""
        host = bare(host_of(headers))
        return host in self.domains or self.below(host) is not None

    def ours(self, host: str) -> bool:
        """Tell whether a host, without its port, is one of these or above them."""
        return host in self.parents or host in self.domains or self.below(host) is not None

    def below(self, host: str) -> tuple[str, str, str] | None:
        """Return name, space and parent of a host below a subdomain host; None for others."""
        for parent in self.parents:
            match = _LABEL.fullmatch(host.removesuffix(f".{parent}"))
            if host.endswith(f".{parent}") and match is not None:
                return match[1], match[2], parent
        return None


class Domains(Mapping[str, str]):
    """What domains lead to. A key that is not made yet leads nowhere, until it is.

    `said` is what the configuration says; `read` makes a content path of it, or None.
    """

    def __init__(self, said: Mapping[str, str], read: Callable[[str], str | None]) -> None:
        self._said = said
        self._read = read
        self._found: dict[str, str] = {}

    def __getitem__(self, domain: str) -> str:
        found = self._found.get(domain)
        if found is None:
            found = self._read(self._said[domain])
            if found is None:
                raise KeyError(domain)
            self._found[domain] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)


def host_of(headers: Mapping[str, str]) -> str:
    """Return the host that a request was sent to, with its port; the one a proxy tells wins."""
    told = headers.get("x-forwarded-host", "").partition(",")[0].strip()
    return (told or headers.get("host", "")).lower()


def bare(host: str) -> str:
    """Return a host without its port."""
    return host if host.endswith("]") else re.sub(r":[0-9]*$", "", host)


@dataclass(frozen=True, slots=True)
class HostsDoor:
    """The gateway as such hosts have it. It stands before all others: whose host is not of these,
    and whose path need not move, is theirs. `scheme` is that of clients nobody forwards."""

    gateway: IpfsDoor
    hosts: Hosts
    scheme: str = "http"

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for what other doors answer."""
        answer = self._answered(request)
        # What these hosts have not got, nobody else has there.
        return None if answer is None else replace(answer, final=True)

    def _answered(self, request: Request) -> Answer | None:
        host = host_of(request.headers)
        name = bare(host)
        below = self.hosts.below(name)
        if below is None and name in self.hosts.domains:
            content = Content("ipns", name, request.path)
            return self.gateway.at(request, content, Site(f"/ipns/{name}", None, host))
        try:
            if below is not None:
                return self._below(request, host, *below)
            return self._moved(request, host) if name in self.hosts.parents else None
        except BadRequest as error:
            return negotiation.refused(http.text(400, str(error)))
        except MalformedCid as error:
            reason = f'invalid path "{request.path}" at {host}: {error}'
            return negotiation.refused(http.text(400, reason))

    def _below(self, request: Request, host: str, label: str, space: str, parent: str) -> Answer:
        """Answer at the origin of a root."""
        gateway = parent + host[len(bare(host)) :]
        name, canonical = label, label
        if space == "ipfs":
            canonical = _label(cid_of(label))
        elif _is_domain(label):
            canonical = name = label
        elif (domain := unlined(label)) in self.gateway.dnslinks:
            name = domain
        else:
            canonical = _key_label(label)
        if len(canonical) > _LONGEST and not _is_domain(canonical):
            raise TooLong(canonical)
        if canonical != label:
            return self._to(request, canonical, space, gateway, request.path)
        site = Site(f"/{space}/{name}", gateway)
        return self.gateway.at(request, Content(space, name, request.path), site)

    def _moved(self, request: Request, host: str) -> Answer | None:
        """Send who asks for a page by its path to the origin of its root."""
        match = _PATH.fullmatch(request.path)
        if match is None or request.method not in http.READING:
            return None
        if negotiation.wanted(request).format in _TRUSTLESS:
            return None
        space, name, rest = match[1], match[2], match[3] or "/"
        if space == "ipfs":
            root = cid_of(name)
            if cid.codec(root) == cid.LIBP2P_KEY:
                return None
            label = _label(root)
        else:
            label = inlined(name.lower()) if _is_domain(name) else _key_label(name)
        if len(label) > _LONGEST:
            raise TooLong(label)
        return self._to(request, label, space, host, rest)

    def _to(self, request: Request, label: str, space: str, host: str, path: str) -> Answer:
        forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        scheme = forwarded if forwarded in ("http", "https") else self.scheme
        query = f"?{request.query}" if request.query else ""
        there = f"{scheme}://{label}.{space}.{host}{negotiation.escaped(path)}{query}"
        return negotiation.refused(http.text(301, f"it is at {there}", ("location", there)))


def cid_of(text: str) -> Cid:
    """Read a CID in any spelling as one of version 1; raises MalformedCid."""
    return cidtext.known(cidtext.parse(text))


def _label(root: Cid) -> str:
    """Spell a CID as a label: in base 32, a key in base 36."""
    return peerkey.text(root) if cid.codec(root) == cid.LIBP2P_KEY else cid.text(root)


def _key_label(text: str) -> str:
    """Spell a key as a label, also one that was written as a CID of another codec."""
    if text.startswith(("1", "Qm")):
        return peerkey.text(peerkey.parse(text))
    found = cid_of(text)
    hash = found[cid.read_varint(found, 1)[1] :]
    return peerkey.text(Cid(bytes((1, cid.LIBP2P_KEY)) + hash))


def _is_domain(text: str) -> bool:
    return "." in text


def inlined(domain: str) -> str:
    """Spell a domain as one label, so that one certificate does: `a-b.c` is `a--b-c`."""
    return domain.replace("-", "--").replace(".", "-")


def unlined(label: str) -> str:
    """Read a domain that was spelled as one label."""
    return re.sub("--|-", lambda match: "-" if match[0] == "--" else ".", label)


def made(parents: Iterable[str], dnslinks: Iterable[str], own: Iterable[str]) -> Hosts:
    """Return the hosts that stand for content; `own` are this server's, whatever links to them."""
    above = frozenset(each.lower() for each in parents)
    kept = {each.lower() for each in own}
    return Hosts(above, frozenset(each.lower() for each in dnslinks) - above - kept)
