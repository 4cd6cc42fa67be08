"""Blocks from a trustless gateway: one GET for each. A local Kubo is asked at its gateway too.

    GET /ipfs/CID?format=raw              200 the block, 404 and its like: not there
    GET /ipns/NAME?format=ipns-record     200 the record of a name
    GET /routing/v1/ipns/NAME             the same, from who is a router only

Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

from collections.abc import Iterator, Sequence
from typing import Final

from narbor.errors import NarborError
from narbor.formats import ipns
from narbor.names import cid, peerkey
from narbor.names.cid import Cid
from narbor.net import credentials
from narbor.net.http import Http

LARGEST: Final = 4 << 20
_RAW: Final = "application/vnd.ipld.raw"
_RECORD: Final = "application/vnd.ipfs.ipns-record"


class GatewaySource:
    """The gateway at `url`. It is asked for one block at a time: ask from several threads."""

    def __init__(self, url: str, http: Http) -> None:
        self._url = url.rstrip("/")
        self._http = http
        self._name = credentials.bare(url).rstrip("/")

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return self._name

    def fetch(self, names: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Give those of these blocks that the gateway has, one after the other.

        Raises Lost, Failing (Unavailable), Denied (Refused), WrongAnswer (Rejected).
        """
        for name in names:
            url = f"{self._url}/ipfs/{cid.text(name)}?format=raw"
            document = self._http.document(url, LARGEST, _RAW)
            if document is not None:
                yield name, document.content

    def record(self, name: Cid) -> bytes | None:
        """Return the IPNS record of a name as it comes, not verified; None where there is none.

        Raises what `fetch` raises.
        """
        text = peerkey.text(name)
        failed: NarborError | None = None
        for path in (f"/ipns/{text}?format=ipns-record", f"/routing/v1/ipns/{text}"):
            try:
                found = self._http.document(self._url + path, ipns.LONGEST, _RECORD)
            except NarborError as error:
                failed = failed or error
                continue
            if found is not None and found.kind == _RECORD:
                return found.content
        if failed is not None:
            raise failed
        return None
