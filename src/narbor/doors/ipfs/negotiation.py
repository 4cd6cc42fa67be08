"""What form of a thing is wanted from an IPFS gateway, and the headers that all forms share.

    ?format=      Accept
    raw           application/vnd.ipld.raw            a block
    car           application/vnd.ipld.car            blocks (version, order, dups; dag-scope, ...)
    dag-json      application/vnd.ipld.dag-json       a block of that codec, else 406
    dag-cbor      application/vnd.ipld.dag-cbor       likewise
    json, cbor    application/json, application/cbor  likewise, the DAG codecs too
    tar           application/x-tar                   a tree
    ipns-record   application/vnd.ipfs.ipns-record    of a name alone
    (none)        anything else                       the thing itself

The parameter beats the header (IPIP-523). No codec is made from another (IPIP-524).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from narbor.doors.http import Answer, Request
from narbor.errors import Refused
from narbor.names import cidtext

TYPES: Final = {
    "raw": "application/vnd.ipld.raw",
    "car": "application/vnd.ipld.car",
    "dag-json": "application/vnd.ipld.dag-json",
    "dag-cbor": "application/vnd.ipld.dag-cbor",
    "json": "application/json",
    "cbor": "application/cbor",
    "tar": "application/x-tar",
    "ipns-record": "application/vnd.ipfs.ipns-record",
}
_FORMATS: Final = {type: format for format, type in TYPES.items()}
_MOST_FIELDS: Final = 100
FOREVER: Final = "public, max-age=29030400, immutable"
PAGE: Final = "public, max-age=604800, stale-while-revalidate=2678400"
_EXPOSED: Final = "Content-Length, Content-Range, X-Stream-Output, X-Chunked-Output, "
_EXPOSED_TOO: Final = "X-Ipfs-Path, X-Ipfs-Roots"
CORS: Final = (
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
    ("access-control-allow-headers", "Content-Type, Range, User-Agent, X-Requested-With"),
    ("access-control-expose-headers", _EXPOSED + _EXPOSED_TOO),
)


class BadRequest(Refused):
    """A request cannot be understood; 400."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request wants. `asked` is its query; `said` are the parameters of its media type.

    `format` is None for the thing itself; `html`: a reader who takes pages. `location` is where
    this very form is found without an Accept header; None where that is where it was asked for.
    `lenient`: where the format cannot be had, the thing itself will do.
    """

    format: str | None
    html: bool
    asked: Mapping[str, str]
    said: Mapping[str, str] = field(default_factory=dict)
    location: str | None = None
    lenient: bool = False

    def parameter(self, asked: str, said: str) -> str | None:
        """Return what the query says, else what the media type does."""
        return self.asked.get(asked) or self.said.get(said) or None

    @property
    def download(self) -> bool:
        """Whether the thing is to be saved, not shown."""
        return self.asked.get("download") == "true"

    @property
    def filename(self) -> str | None:
        """The name the client would have it saved under."""
        return self.asked.get("filename") or None


def wanted(request: Request) -> Wanted:
    """Read what a request wants; raises BadRequest for a format that is not known."""
    asked = asking(request)
    ranked = accepted(request.headers.get("accept", ""))
    html = any(type == "text/html" for type, _ in ranked)
    chosen = asked.get("format")
    if chosen and chosen not in TYPES:
        raise BadRequest(f"format={chosen} is not known ({', '.join(TYPES)})")
    format, said = chosen or None, {}
    for type, parameters in ranked:
        known = _FORMATS.get(type)
        if known is not None and known == (chosen or known):
            format, said = known, parameters
            break
        if type == "text/html" and not chosen:
            break
    location = None
    if format is not None and (not chosen or said or _first(ranked) not in (None, chosen)):
        location = _location(request, asked, format, said)
    lenient = not chosen and any(type == "*/*" for type, _ in ranked)
    return Wanted(format, html, asked, said, location, lenient)


def asking(request: Request) -> dict[str, str]:
    """Read a query; of a name that stands there twice the first counts. Raises BadRequest."""
    try:
        pairs = parse_qsl(request.query, True, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise BadRequest(f"a query with more than {_MOST_FIELDS} fields") from error
    asked: dict[str, str] = {}
    for name, value in pairs:
        asked.setdefault(name, value)
    return asked


def accepted(header: str) -> list[tuple[str, dict[str, str]]]:
    """Read an Accept header: media types with their parameters, the most welcome first."""
    found = []
    for number, part in enumerate(header.split(",")[:100]):
        type, *rest = (piece.strip() for piece in part.split(";"))
        said = {}
        for piece in rest:
            name, equals, value = piece.partition("=")
            if equals:
                said[name.strip().lower()] = value.strip().strip('"')
        weight = _weight(said.pop("q", "1"))
        if type and weight > 0:
            found.append((-weight, number, type.lower(), said))
    return [(type, said) for _, _, type, said in sorted(found, key=lambda each: each[:2])]


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def _first(ranked: Sequence[tuple[str, dict[str, str]]]) -> str | None:
    return next((_FORMATS[type] for type, _ in ranked if type in _FORMATS), None)


def _location(
    request: Request, asked: Mapping[str, str], format: str, said: Mapping[str, str]
) -> str:
    """Spell the URL under which this form is found by itself."""
    query = dict(asked)
    if format == "car":
        for name in ("version", "order", "dups"):
            if name in said:
                query.setdefault(f"car-{name}", said[name])
    query["format"] = format
    return f"{escaped(request.path)}?{urlencode(query, quote_via=quote)}"


def escaped(path: str) -> str:
    """Spell a path for a header: UTF-8, percent escapes in upper case."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/:@!$&'()*+,;=~")


def disposition(kind: str, name: str | None) -> tuple[str, str]:
    """Write Content-Disposition: `kind` is inline or attachment."""
    if name is None:
        return "content-disposition", kind
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)
    value = f'{kind}; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name.encode('utf-8', 'replace'), safe='')}"
    return "content-disposition", value


def about(
    path: str, roots: Sequence[bytes], location: str | None = None
) -> tuple[tuple[str, str], ...]:
    """Write the headers that tell what was asked for and by which CIDs it was found."""
    headers = [
        ("x-ipfs-path", escaped(path)),
        ("x-ipfs-roots", ",".join(map(cidtext.text, roots))),
    ]
    if location is not None:
        headers.append(("content-location", location))
    return (*headers, *CORS)


def refused(answer: Answer) -> Answer:
    """Give an answer of failure what lets pages of other origins read it."""
    return Answer(answer.status, (*answer.headers, *CORS), answer.body)
