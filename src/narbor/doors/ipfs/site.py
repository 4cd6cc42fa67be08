"""How a content path is spelled in URLs: all of it in the path, or its root in the host.

    path        http://HOST/ipfs/CID/a/b            all of it
    subdomain   http://CID.ipfs.HOST/a/b            an origin for each root
    DNSLink     http://DOMAIN/a/b                   a web site, /ipns/DOMAIN/a/b

Specification: https://specs.ipfs.tech/http-gateways/subdomain-gateway/, .../dnslink-gateway/
"""

from dataclasses import dataclass
from typing import Final

_ELSEWHERE: Final = "https://cid.ipfs.tech/#"


@dataclass(frozen=True, slots=True)
class Site:
    """Where content is shown. `root` is what the host says of the content path (`/ipfs/CID`).

    `gateway` is the host of the path gateway that has all other CIDs, with its port; None where
    that is this host, or where `domain`, a site of its own, knows none.
    """

    root: str = ""
    gateway: str | None = None
    domain: str | None = None

    @property
    def isolated(self) -> bool:
        """Whether the content is alone on its origin: then it may say more (`_redirects`)."""
        return bool(self.root)

    def own(self, base: str) -> str:
        """Return what stands before the parts of a path, where `base` is `/ipfs/CID`."""
        return "" if self.root else base

    def crumb(self, base: str) -> str:
        """Return the URL of a content root, as it leads the path at the head of a page."""
        if self.domain is not None:
            return f"//{self.domain}"
        return base if self.gateway is None else f"//{self.gateway}{base}"

    def link(self, name: str, query: str = "") -> str:
        """Return the attributes of a link to a CID by itself."""
        if self.domain is not None:
            href = f"{_ELSEWHERE}{name}"
            return f'href="{href}" target="_blank" rel="noreferrer noopener"'
        top = "" if self.gateway is None else f"//{self.gateway}"
        return f'href="{top}/ipfs/{name}{query}"'


PATH: Final = Site()
