"""The IPFS gateway: blocks for those who check, files and pages for those who read.

    /ipfs/CID[/PATH]    what is under a CID, in the forms of `doors/ipfs/negotiation.py`
    /ipns/NAME[/PATH]   what a name says, where its record is kept; `?format=ipns-record`

It fetches nothing: what is not here is 404 at once (412 with `Cache-Control: only-if-cached`).
Nothing under /ipfs/ ever changes. Deserialised answers follow the path-gateway specification, raw
and CAR the trustless one: https://specs.ipfs.tech/http-gateways/
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import quote

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import forms, negotiation, plainblock, redirects
from narbor.doors.ipfs.carstream import BadSelection
from narbor.doors.ipfs.contentpath import Blocks, Missing, NoEntry, Place, resolve
from narbor.doors.ipfs.forms import Ask
from narbor.doors.ipfs.negotiation import BadRequest, Wanted
from narbor.doors.ipfs.redirects import BadRedirects
from narbor.doors.ipfs.site import PATH, Site
from narbor.doors.ipfs.withheld import Denied
from narbor.errors import Rejected, Unavailable
from narbor.formats import ipns
from narbor.names import cid, cidtext, peerkey
from narbor.names.cid import Cid, MalformedCid
from narbor.names.cidtext import Written

METHODS: Final = ("GET", "HEAD", "OPTIONS")
_PATH: Final = re.compile(r"/(ipfs|ipns)/([^/]+)(/.*)?", re.DOTALL)
_SPACES: Final = ("/ipfs/", "/ipns/")
_QUERY: Final = "/:@!$&'()*+,;=~?%"
_DEEPEST: Final = 32
_SECOND: Final = 1_000_000_000


class Unresolved(Unavailable):
    """A name leads to no CID here; 502."""


class Names(Protocol):
    """The records of names that are kept here."""

    def record(self, name: Cid) -> bytes | None:
        """Return the newest record of a name as it came, or None; who asks verifies it."""
        ...


@dataclass(frozen=True, slots=True)
class NoNames:
    """No records."""

    def record(self, name: Cid) -> bytes | None:
        """Return None."""
        return None


@dataclass(frozen=True, slots=True)
class Content:
    """A content path: `/SPACE/NAME`, and the rest with its first `/`, all of it not escaped."""

    space: str
    name: str
    rest: str = ""

    @property
    def path(self) -> str:
        """The whole."""
        return f"/{self.space}/{self.name}{self.rest}"


@dataclass(frozen=True, slots=True)
class _Root:
    """What a content path's root leads to: a CID, a path below it, for how long that holds."""

    written: Written
    below: tuple[bytes, ...]
    cache: str


@dataclass(frozen=True, slots=True)
class IpfsDoor:
    """The gateway. `clock` gives nanoseconds since 1970, for records that expire.

    `dnslinks`: what domains lead to (`/ipfs/CID`), since nobody here asks the DNS.
    """

    blocks: Blocks
    clock: Callable[[], int]
    names: Names = field(default_factory=NoNames)
    dnslinks: Mapping[str, str] = field(default_factory=dict)

    def answer(self, request: Request) -> Answer | None:
        """Answer, or return None for a path that is no content path."""
        match = _PATH.fullmatch(request.path)
        if match is not None:
            plain = plainblock.answer(self.blocks, request)
            if plain is not None:
                return plain
            return self.at(request, Content(match[1], match[2], match[3] or ""))
        return _named(request) if request.path in _SPACES else None

    def at(self, request: Request, content: Content, site: Site = PATH) -> Answer:
        """Answer with what stands at a content path, spelled as it is at `site`."""
        if request.method == "OPTIONS":
            return Answer(204, (("allow", ", ".join(METHODS)), *negotiation.CORS))
        if request.method not in http.READING:
            return http.wrong_method(*METHODS)
        try:
            return self._answered(request, content, site)
        except Missing as error:
            # A gateway that fetches nothing knows at once that it has not got it.
            patient = "only-if-cached" not in request.headers.get("cache-control", "")
            status, cache = (404 if patient else 412), ("cache-control", "no-store")
            return negotiation.refused(http.text(status, str(error), cache))
        except NoEntry as error:
            return negotiation.refused(http.text(404, str(error)))
        except Denied as error:
            return negotiation.refused(http.text(410, str(error)))
        except Unresolved as error:
            return negotiation.refused(http.text(502, str(error), ("cache-control", "no-store")))
        except BadRedirects as error:
            return negotiation.refused(http.text(500, str(error)))
        except MalformedCid as error:
            return negotiation.refused(http.text(400, f'invalid path "{content.path}": {error}'))
        except (BadRequest, BadSelection) as error:
            return negotiation.refused(http.text(400, str(error)))

    def _answered(self, request: Request, content: Content, site: Site) -> Answer:
        rest = content.rest
        if request.headers.get("service-worker") == "script" and not (rest or site.isolated):
            raise BadRequest("a service worker's scope must lie below the content root")
        wanted = negotiation.wanted(request)
        parts = _parts(rest)
        if content.space == "ipns":
            other = None if site.isolated else _canonical(content.name)
            if other is not None:
                query = f"?{request.query}" if request.query else ""
                there = f"/ipns/{other}{negotiation.escaped(rest)}{query}"
                return http.text(302, f"the name is {other}", ("location", there))
            if wanted.format == "ipns-record":
                return self._record(request, wanted, content, parts)
        root = self._root(content)
        base = negotiation.escaped(f"/{content.space}/{content.name}")

        def ask(place: Place) -> Ask:
            slash = rest.endswith("/")
            return Ask(request, wanted, content.path, base, parts, slash, place, root.cache, site)

        try:
            place = resolve(self.blocks, root.written, (*root.below, *parts))
        except NoEntry:
            redirected = None
            if site.isolated and wanted.format is None:
                redirected = self._redirected(rest, root, ask)
            if redirected is None:
                raise
            return redirected
        answer = forms.give(self.blocks, ask(place))
        return negotiation.refused(answer) if answer.status >= 400 else answer

    def _root(self, content: Content) -> _Root:
        if content.space == "ipfs":
            return _Root(_content(content.name), (), negotiation.FOREVER)
        written, below, seconds = self._resolved(content.name, 0)
        return _Root(written, below, f"public, max-age={seconds}")

    def _redirected(self, path: str, root: _Root, ask: Callable[[Place], Ask]) -> Answer | None:
        """Answer as the site's `_redirects` says for a path that leads nowhere; None if nothing."""
        try:
            file = resolve(self.blocks, root.written, (*root.below, redirects.NAME))
        except NoEntry:
            return None
        text = b"".join(self.blocks.content(file.cid, 0, redirects.LARGEST + 1))
        found = redirects.find(redirects.parse(text), path or "/")
        if found is None:
            return None
        rule, target = found[0], found[0].target(found[1])
        if rule.status in redirects.MOVED:
            return http.text(rule.status, f"it is at {target}", ("location", target))
        below = _parts(redirects.inside(target))
        try:
            place = resolve(self.blocks, root.written, (*root.below, *below))
        except NoEntry:
            return None
        asked = replace(ask(place), parts=below, slash=True)
        if rule.status == 200:
            return forms.give(self.blocks, asked)
        # Of what is not there no part is there, and nobody has it.
        asked = replace(asked, request=replace(asked.request, headers={}))
        answer = forms.give(self.blocks, asked)
        return replace(answer, status=rule.status) if answer.status == 200 else answer

    def _resolved(self, name: str, depth: int) -> tuple[Written, tuple[bytes, ...], int]:
        """Follow a name to a CID, a path below it, and for how many seconds that holds."""
        if depth > _DEEPEST:
            raise Unresolved(f"{name} leads through more than {_DEEPEST} names")
        if name in self.dnslinks:
            value, seconds = self.dnslinks[name], 300
        else:
            value, seconds = self._said(name)
        match = _PATH.fullmatch(value)
        if match is None:
            raise Unresolved(f"{name} says {value!r}, which is no content path")
        below = _parts(match[3] or "")
        if match[1] == "ipfs":
            return _content(match[2]), below, seconds
        written, above, other = self._resolved(match[2], depth + 1)
        return written, (*above, *below), min(seconds, other)

    def _said(self, name: str) -> tuple[str, int]:
        """Return what the record of a name says, and for how many seconds it may be kept."""
        try:
            key = peerkey.parse(name)
        except MalformedCid as error:
            raise Unresolved(f"{name} is no key, and no domain that is known here") from error
        text = self.names.record(key)
        if text is None:
            raise Unresolved(f"no record of {name} is kept here")
        now = self.clock()
        try:
            record = ipns.verify(text, key, now)
        except Rejected as error:
            raise Unresolved(f"the record of {name} that is kept here is none: {error}") from error
        return record.value.decode("utf-8", "surrogateescape"), _lasting(record, now)

    def _record(
        self, request: Request, wanted: Wanted, content: Content, parts: tuple[bytes, ...]
    ) -> Answer:
        """Give the record of a name as it came."""
        name = content.name
        if parts:
            raise BadRequest("a record is of a name, without a path behind it")
        key = peerkey.parse(name)
        text = self.names.record(key)
        if text is None:
            return negotiation.refused(http.missing(f"no record of {name} is kept here"))
        answer = record_answer(request, text, key, self.clock())
        saved = wanted.filename or f"{peerkey.text(key)}.ipns-record"
        headers = [*answer.headers, negotiation.disposition("attachment", saved)]
        if wanted.location is not None:
            headers.append(("content-location", wanted.location))
        about = ("x-ipfs-path", negotiation.escaped(content.path))
        return Answer(answer.status, (*headers, about, *negotiation.CORS), answer.body)


def record_answer(request: Request, text: bytes, name: Cid, now: int) -> Answer:
    """Answer with a record of a name, if it is a good one; raises Unresolved."""
    try:
        record = ipns.verify(text, name, now)
    except Rejected as error:
        raise Unresolved(str(error)) from error
    cache = f"public, max-age={_lasting(record, now)}"
    left = (record.until - now) // _SECOND
    cache += f", stale-while-revalidate={left}, stale-if-error={left}"
    tag = sha256(text).hexdigest()[:32]
    return http.document(request, text, negotiation.TYPES["ipns-record"], cache, tag)


def _lasting(record: ipns.Record, now: int) -> int:
    """Return for how many seconds what a record says may be kept: its TTL, while it is good."""
    ttl = record.ttl // _SECOND if record.ttl else 60
    return max(0, min(ttl, (record.until - now) // _SECOND))


def _content(text: str) -> Written:
    written = cidtext.parse(text)
    if cid.codec(cidtext.known(written)) == cid.LIBP2P_KEY:
        raise BadRequest(f"{text} is a name: /ipns/{text}")
    return written


def _canonical(name: str) -> str | None:
    """Return the spelling of a key that is given in base 58; None where it needs no other."""
    if not name.startswith(("1", "Qm")) or "." in name:
        return None
    return peerkey.text(peerkey.parse(name))


def _parts(rest: str) -> tuple[bytes, ...]:
    """Cut a path into names, without empty ones; dots are followed, though not above the root."""
    found: list[bytes] = []
    for part in rest.encode("utf-8", "surrogateescape").split(b"/"):
        if part == b"..":
            found = found[:-1]
        elif part not in (b"", b"."):
            found.append(part)
    return tuple(found)


def _named(request: Request) -> Answer | None:
    """Send a client that was given an address of `ipfs:` or `ipns:` to its content path."""
    uri = negotiation.asking(request).get("uri", "")
    scheme, _, rest = uri.partition("://")
    if scheme not in ("ipfs", "ipns") or not rest or request.method not in http.READING:
        return None
    path, mark, query = rest.partition("?")
    there = f"/{scheme}/{negotiation.escaped(path)}"
    if mark:
        there += f"?{quote(query, safe=_QUERY)}"
    return http.text(301, f"it is at {there}", ("location", there))
