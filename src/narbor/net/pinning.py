"""The Pinning Service API 1.0.0: asking a service to fetch a DAG and to keep it.

    GET    /pins?name=&status=&before=&limit=   newest first: {"count": n, "results": [PinStatus]}
    POST   /pins                                a Pin; 202 and its PinStatus
    GET    /pins/ID                             its PinStatus
    POST   /pins/ID                             another Pin in its place; 202 and its PinStatus
    DELETE /pins/ID                             202

    Pin         {"cid", "name", "origins": [multiaddr...], "meta": {text: text}}
    PinStatus   {"requestid", "status", "created", "pin", "delegates", "info": {text: text}}
    otherwise   {"error": {"reason", "details"}}

The token is the one for the service's host.
Specification: https://github.com/ipfs/pinning-services-api-spec
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from narbor.errors import Refused
from narbor.names import cid, cidtext
from narbor.names.cid import Cid, MalformedCid
from narbor.net import jsonobject
from narbor.net.credentials import bare
from narbor.net.http import Denied, Document, Http, WrongAnswer

STATES: Final = ("queued", "pinning", "pinned", "failed")
LONGEST_NAME: Final = 255
MOST_ORIGINS: Final = 20

_LARGEST: Final = 8 << 20
_PAGE: Final = 100
_MOST_PAGES: Final = 100
_LONGEST_ID: Final = 1024


class Declined(Refused):
    """The service will not do it: no funds, a name that is too long, a CID it does not take."""


@dataclass(frozen=True, slots=True)
class Request:
    """How a request to pin stands. `details` is what the service says of it, or ""."""

    id: str
    state: str
    created: str
    root: Cid
    name: str
    details: str


class Pinning:
    """One service, asked by any number of threads.

    All raise Lost or Failing where it does not answer, Denied, Declined, and WrongAnswer.
    """

    def __init__(self, url: str, http: Http) -> None:
        """Name the service's endpoint, to which `/pins` is added."""
        self._base = url.rstrip("/") + "/pins"
        self._http = http
        self.name = bare(url).rstrip("/")

    def requests(self, name: str) -> list[Request]:
        """Return all requests of this very name, whatever their state, newest first."""
        found: dict[str, Request] = {}
        fields = {"name": name, "match": "exact", "status": ",".join(STATES), "limit": str(_PAGE)}
        for _ in range(_MOST_PAGES):
            said = self._ask("GET", f"?{urlencode(fields)}") or {}
            results = said.get("results")
            if not isinstance(results, list):
                raise WrongAnswer(f"{self.name}: no results: {str(said)[:200]}")
            page = [self._request(each) for each in results]
            fresh = {each.id: each for each in page if each.id not in found}
            found |= fresh
            if not fresh or said.get("count") == len(page):
                break
            fields["before"] = min(each.created for each in page)
        # What a service does not filter, it may not know how to.
        return sorted(
            (each for each in found.values() if each.name == name),
            key=lambda each: each.created,
            reverse=True,
        )

    def add(self, root: Cid, name: str, origins: Sequence[str]) -> Request:
        """Ask for a root to be pinned. Asked twice it is two requests."""
        return self._request(self._ask("POST", "", _pin(root, name, origins)))

    def replace(self, id: str, root: Cid, name: str, origins: Sequence[str]) -> Request:
        """Let a request go, and ask for another in its place; or just ask, where it is gone."""
        said = self._ask("POST", _path(id), _pin(root, name, origins))
        return self.add(root, name, origins) if said is None else self._request(said)

    def remove(self, id: str) -> None:
        """Let a request go, and what it pinned; one that is gone is no error."""
        self._ask("DELETE", _path(id))

    def _ask(self, method: str, path: str, pin: object = None) -> Mapping[str, object] | None:
        """Return what is answered, None where there is no such request."""
        content = None if pin is None else json.dumps(pin).encode()
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        url = self._base + path
        # What is asked twice, since an answer was lost, is found and tidied by who asked.
        answer = self._http.send(method, url, _LARGEST, content, headers, again=True, plain=True)
        assert answer is not None
        if answer.status == 404 and path.startswith("/"):
            return None
        if answer.status >= 400:
            raise self._refusal(answer)
        return {} if method == "DELETE" else jsonobject.read(answer.content, self.name)

    def _refusal(self, answer: Document) -> Refused:
        text = f"{self.name}: HTTP {answer.status}: {self._reason(answer.content)}"
        if answer.status in (401, 403):
            return Denied(f"{text}: the service wants a token for this host, or another one")
        return Declined(text)

    def _reason(self, content: bytes) -> str:
        try:
            error = jsonobject.read(content, self.name).get("error")
        except WrongAnswer:
            error = None
        if not isinstance(error, dict):
            return content[:200].decode("utf-8", "replace") or "no reason given"
        return ": ".join(str(error[key])[:1000] for key in ("reason", "details") if error.get(key))

    def _request(self, said: object) -> Request:
        """Read a PinStatus."""
        fields = said if isinstance(said, dict) else {}
        pin = fields.get("pin")
        info = fields.get("info")
        texts = [fields.get(key) for key in ("requestid", "status", "created")]
        if not isinstance(pin, dict) or not all(isinstance(text, str) for text in texts):
            raise WrongAnswer(f"{self.name}: no state of a pin: {str(said)[:200]}")
        id, state, created = map(str, texts)
        if state not in STATES or not 0 < len(id) <= _LONGEST_ID or id in (".", ".."):
            raise WrongAnswer(f"{self.name}: a pin that is {state[:80]!r}, by the id {id[:80]!r}")
        try:
            root = cidtext.known(cidtext.parse(str(pin.get("cid"))))
        except MalformedCid as error:
            raise WrongAnswer(f"{self.name}: {error}") from error
        details = str(info.get("status_details", "")) if isinstance(info, dict) else ""
        return Request(id, state, created, root, str(pin.get("name") or ""), details[:1000])


def _pin(root: Cid, name: str, origins: Sequence[str]) -> dict[str, object]:
    if len(name) > LONGEST_NAME:
        raise Declined(f"a name of {len(name)} letters, over {LONGEST_NAME}: {name[:80]!r}...")
    return {"cid": cid.text(root), "name": name, "origins": list(origins[:MOST_ORIGINS])}


def _path(id: str) -> str:
    return "/" + quote(id, safe="")
