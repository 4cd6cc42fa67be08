"""Blocks from a trustless gateway: one GET for each. A local Kubo is asked at its gateway too.

    GET /ipfs/CID?format=raw        200 the block, 404 and its like: not there

Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

from collections.abc import Iterator, Sequence
from typing import Final

from narbor.names import cid
from narbor.names.cid import Cid
from narbor.net import credentials
from narbor.net.http import Http

LARGEST: Final = 4 << 20
_RAW: Final = "application/vnd.ipld.raw"


class GatewaySource:
    """The gateway at `url`. It is asked for one block at a time: ask from several threads."""

    def __init__(self, url: str, http: Http) -> None:
        self._base = url.rstrip("/") + "/ipfs/"
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
            url = f"{self._base}{cid.text(name)}?format=raw"
            document = self._http.document(url, LARGEST, _RAW)
            if document is not None:
                yield name, document.content
