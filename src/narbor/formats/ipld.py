"""What blocks of any codec link to, whoever made them, and where a path through them leads.

dag-pb, DAG-CBOR and DAG-JSON have links; raw, CBOR and JSON blocks have none; other codecs are not
looked into. Links come as they stand, CIDv0 or CIDv1: see `cidtext.Written`.
"""

import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from narbor.errors import Rejected
from narbor.formats import dagcbor, dagpb
from narbor.formats.dagcbor import Link, Value
from narbor.names import cid, cidtext
from narbor.names.cid import Cid, MalformedCid
from narbor.names.cidtext import Written

NAMES: Final = {
    cid.RAW: "raw",
    cid.DAG_PB: "dag-pb",
    cid.DAG_CBOR: "dag-cbor",
    cid.DAG_JSON: "dag-json",
    cid.CBOR: "cbor",
    cid.JSON: "json",
    cid.LIBP2P_KEY: "libp2p-key",
}
DOCUMENTS: Final = frozenset({cid.DAG_CBOR, cid.DAG_JSON})
_V0_HASH: Final = b"\x0a\x22\x12\x20"
_V1_HEAD: Final = bytes((1, cid.DAG_PB, cid.SHA256, 32))


class MalformedBlock(Rejected):
    """A block is not of the codec that its CID says."""


def inlined(name: Cid) -> bytes | None:
    """Return the content that stands in an identity CID of any codec; None for other CIDs."""
    _, at = cid.read_varint(name, 1)
    if name[at] != cid.IDENTITY:
        return None
    _, at = cid.read_varint(name, at + 1)
    return name[at:]


def links(name: Cid, block: bytes) -> list[Written]:
    """Return all links of a block, in order; raises MalformedBlock, MalformedNode."""
    codec = cid.codec(name)
    if codec == cid.DAG_PB:
        return as_written(block, _node_links(block))
    if codec in DOCUMENTS:
        return [Written(link.cid) for link in _links_in(document(name, block))]
    return []


def targets(name: Cid, get: Callable[[Cid], bytes]) -> Sequence[Cid]:
    """Return what a block links to, as CIDv1, whatever its codec; see `links`.

    Where the codec can have no links, the block is not asked for.
    """
    codec = cid.codec(name)
    if codec != cid.DAG_PB and codec not in DOCUMENTS:
        return ()
    content = inlined(name)
    block = get(name) if content is None else content
    if codec == cid.DAG_PB:
        return _node_links(block)
    return [cidtext.known(link.cid) for link in _links_in(document(name, block))]


def _node_links(block: bytes) -> list[Cid]:
    try:
        return dagpb.split(block)[0]
    except IndexError:
        raise dagpb.MalformedNode(f"a node that ends too early, at {len(block)}") from None


def as_written(block: bytes, names: Sequence[Cid]) -> list[Written]:
    """Give the CIDs of a dag-pb block's links the form that they have in the block."""
    if _V0_HASH not in block:
        return [Written(name) for name in names]
    return [
        Written(name[2:])
        if name.startswith(_V1_HEAD) and b"\x0a\x22" + name[2:] in block
        else Written(name)
        for name in names
    ]


def document(name: Cid, block: bytes) -> Value:
    """Read a DAG-CBOR or DAG-JSON block; raises MalformedBlock."""
    try:
        if cid.codec(name) == cid.DAG_CBOR:
            return dagcbor.decode(block, strict=False)
        return _from_json(json.loads(block, object_pairs_hook=_once), 0)
    except dagcbor.MalformedCbor as error:
        raise MalformedBlock(f"{cidtext.text(name)}: {error}") from error
    except (ValueError, RecursionError, MalformedCid) as error:
        raise MalformedBlock(f"{cidtext.text(name)} is no DAG-JSON: {error}") from error


def step(value: Value, part: str) -> Value:
    """Return what `part` names in a map or list; raises KeyError where it names nothing."""
    found: dict[str, Value] = {}
    if isinstance(value, dict):
        found = value
    elif isinstance(value, list):
        found = {str(index): each for index, each in enumerate(value)}
    return found[part]


def _links_in(value: Value) -> Iterator[Link]:
    ahead: list[Value] = [value]
    while ahead:
        here = ahead.pop()
        if isinstance(here, Link):
            yield here
        elif isinstance(here, dict):
            ahead.extend(reversed(here.values()))
        elif isinstance(here, list):
            ahead.extend(reversed(here))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _from_json(value: object, depth: int) -> Value:
    """Take links and bytes out of the reserved name `/`."""
    if depth > dagcbor.DEEPEST:
        raise ValueError(f"a value that is deeper than {dagcbor.DEEPEST}")
    if isinstance(value, list):
        return [_from_json(each, depth + 1) for each in value]
    if isinstance(value, dict):
        if len(value) == 1 and "/" in value:
            return _reserved(value["/"])
        return {key: _from_json(each, depth + 1) for key, each in value.items()}
    assert value is None or isinstance(value, bool | int | float | str)
    return value


def _reserved(said: object) -> Value:
    if isinstance(said, str):
        return Link(cidtext.parse(said))
    if isinstance(said, dict) and list(said) == ["bytes"] and isinstance(said["bytes"], str):
        text = said["bytes"]
        try:
            return b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError(f"bytes that are no base 64: {text[:80]!r}") from error
    raise ValueError("the name `/` is for links and bytes alone")
