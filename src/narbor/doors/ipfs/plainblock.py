"""The short way for what nodes ask for thousands of times: `GET /ipfs/CID?format=raw`, no more.

It gives what the long way would (`forms.raw`), or leaves the question to it. One look at the store,
and nothing is spelled that the request has spelled already.
"""

import re
from typing import Final

from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import negotiation
from narbor.doors.ipfs.contentpath import Blocks
from narbor.doors.ipfs.withheld import Denied
from narbor.names import cidtext
from narbor.names.cid import MalformedCid

# raw, dag-pb and DAG-CBOR by SHA-256, as they are spelled by default.
_PATH: Final = re.compile(r"/ipfs/(baf(?:krei|ybei|yrei)[a-z2-7]{52})")
_UNUSUAL: Final = frozenset(
    ("range", "if-match", "if-none-match", "if-range", "cache-control", "service-worker")
)
_WELCOME: Final = frozenset((negotiation.TYPES["raw"], "*/*", ""))
_ALWAYS: Final = (
    ("cache-control", negotiation.FOREVER),
    ("accept-ranges", "bytes"),
    ("content-type", negotiation.TYPES["raw"]),
    ("x-content-type-options", "nosniff"),
    *negotiation.CORS,
)


def answer(blocks: Blocks, request: Request) -> Answer | None:
    """Answer with a block that is here; None where the question is not plain, or the answer no."""
    if request.query != "format=raw" or request.method != "GET":
        return None
    match = _PATH.fullmatch(request.path)
    headers = request.headers
    if match is None or headers.get("accept", "") not in _WELCOME:
        return None
    if not _UNUSUAL.isdisjoint(headers):
        return None
    text = match[1]
    try:
        written = cidtext.parse(text)
        block = blocks.block(cidtext.known(written))
    except (MalformedCid, Denied):
        return None
    if block is None or cidtext.text(written) != text:
        return None
    told = (
        ("content-length", str(len(block))),
        ("etag", f'"{text}.raw"'),
        ("content-disposition", f'attachment; filename="{text}.bin"'),
        ("x-ipfs-path", request.path),
        ("x-ipfs-roots", text),
    )
    return Answer(200, (*told, *_ALWAYS), block)
