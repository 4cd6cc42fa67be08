"""The forms in which an IPFS gateway gives what stands at the end of a path.

    raw       the block                       car       blocks, for whoever checks them himself
    tar       a tree, for whoever wants it all
    UnixFS    files by range, directory pages with index.html, the targets of symlinks
    document  blocks of DAG-JSON, DAG-CBOR, JSON, CBOR as they are; DAG codecs as a page as well

Every form has an ETag of its own, made from the CID; no form is made from another codec.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Final

from narbor.doors import http
from narbor.doors.http import Answer, Entity, Request
from narbor.doors.ipfs import carstream, indexpage, mediatypes, negotiation, tarstream
from narbor.doors.ipfs.contentpath import Blocks, Place, need
from narbor.doors.ipfs.negotiation import BadRequest, Wanted
from narbor.doors.ipfs.site import PATH, Site
from narbor.errors import Unavailable
from narbor.formats import car, hamt, ipld, unixfs
from narbor.names import cid, cidtext
from narbor.names.cid import Cid

SYMLINK: Final = "inode/symlink"
_INDEX: Final = b"index.html"
_NOSNIFF: Final = ("x-content-type-options", "nosniff")
_Read = Callable[[int, int], Iterator[bytes]]
_SHOWN_AS: Final = {"json": "inline", "cbor": "attachment"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for what stands at `place`.

    `path` is the content path, `base` its root (`/ipfs/CID` or `/ipns/NAME`) as it stands in URLs,
    `parts` what follows that; `slash`: the path ends with one. `cache` is the Cache-Control of what
    never changes under this path, `site` how paths are spelled here.
    """

    request: Request
    wanted: Wanted
    path: str
    base: str
    parts: tuple[bytes, ...]
    slash: bool
    place: Place
    cache: str
    site: Site = PATH

    @property
    def name(self) -> str:
        """The CID at the end, as text."""
        return cidtext.text(self.place.written)

    def told(self, answer: Answer, *headers: tuple[str, str]) -> Answer:
        """Add the headers that every form has, and these."""
        about = negotiation.about(self.path, self.place.roots, self.wanted.location)
        return replace(answer, headers=(*answer.headers, *headers, *about), ready=False)

    def give(self, entity: Entity, *headers: tuple[str, str]) -> Answer:
        """Answer with an entity: conditions, one range, HEAD."""
        request = self.request
        several = request.headers.get("range", "").partition(",")
        if several[1]:
            # The first of several ranges: to answer with the whole would be allowed as well.
            request = replace(request, headers={**request.headers, "range": several[0]})
        return self.told(http.give(request, entity), *headers)


def give(blocks: Blocks, ask: Ask) -> Answer:
    """Answer in the form that is wanted."""
    if ask.place.rest:
        where = "/".join(ask.place.rest)
        return http.text(501, f"{ask.name} is a document: {where!r} in it is no link to follow")
    match ask.wanted.format:
        case "raw":
            return raw(blocks, ask)
        case "car":
            return stream(blocks, ask)
        case "tar":
            return archive(blocks, ask)
        case "ipns-record":
            raise BadRequest("records are of names: /ipns/NAME?format=ipns-record")
    codec = cid.codec(ask.place.cid)
    if codec in (cid.DAG_PB, cid.RAW):
        return _unixfs(blocks, ask)
    if codec in ipld.NAMES and codec != cid.LIBP2P_KEY:
        return _document(blocks, ask, codec)
    raise BadRequest(f"{ask.name} is of the codec {codec:#x}, which is only given raw")


def raw(blocks: Blocks, ask: Ask) -> Answer:
    """Give the block. For HEAD it is not read."""
    size = _size(blocks, ask)
    type = negotiation.TYPES["raw"]
    entity = Entity(type, size, _block(blocks, ask), f"{ask.name}.raw", ask.cache, ranges=True)
    saved = negotiation.disposition("attachment", ask.wanted.filename or f"{ask.name}.bin")
    return ask.give(entity, saved, _NOSNIFF)


def _size(blocks: Blocks, ask: Ask) -> int:
    size = blocks.block_size(ask.place.cid)
    return len(need(blocks, ask.place.written)) if size is None else size


def _block(blocks: Blocks, ask: Ask) -> _Read:
    def read(start: int, stop: int) -> Iterator[bytes]:
        return iter((need(blocks, ask.place.written)[start:stop],))

    return read


def stream(blocks: Blocks, ask: Ask) -> Answer:
    """Give a CAR. How long it is shows when it is through: whoever needs all of it must check."""
    version = ask.wanted.parameter("car-version", "version") or "1"
    order = ask.wanted.parameter("car-order", "order") or "dfs"
    dups = ask.wanted.parameter("car-dups", "dups") or "n"
    if version != "1" or order not in ("dfs", "unk") or dups not in ("y", "n"):
        raise BadRequest(
            f"a CAR of version={version}, order={order}, dups={dups}: version 1, dfs, y and n are"
        )
    scope, span = ask.wanted.asked.get("dag-scope"), ask.wanted.asked.get("entity-bytes")
    selection = carstream.select(scope or None, span or None, dups == "y")
    need(blocks, ask.place.written)
    asked = (ask.path, selection.scope, selection.start, selection.last, dups)
    tag = f'W/"{ask.name}.car.{sha256(repr(asked).encode(errors="replace")).hexdigest()[:16]}"'
    headers = [("etag", tag), ("cache-control", ask.cache)]
    if http.knows(ask.request, tag):
        return ask.told(Answer(304, tuple(headers)))
    headers += [
        ("content-type", f"{negotiation.TYPES['car']};version=1;order=dfs;dups={dups}"),
        negotiation.disposition("attachment", ask.wanted.filename or f"{ask.name}.car"),
        ("accept-ranges", "none"),
        _NOSNIFF,
    ]
    found = carstream.blocks(blocks, ask.place, selection)
    body = car.write([ask.place.written], found)
    return ask.told(Answer(200, tuple(headers), body))


def archive(blocks: Blocks, ask: Ask) -> Answer:
    """Give a tree as a tar archive. How long it is shows when it is through."""
    if cid.codec(ask.place.cid) not in (cid.DAG_PB, cid.RAW):
        return _unacceptable(ask, ipld.NAMES.get(cid.codec(ask.place.cid), "no UnixFS"))
    need(blocks, ask.place.written)
    tag = f'W/"{ask.name}.x-tar.{tarstream.VERSION}"'
    headers = [("etag", tag), ("cache-control", ask.cache)]
    if http.knows(ask.request, tag):
        return ask.told(Answer(304, tuple(headers)))
    headers += [
        ("content-type", negotiation.TYPES["tar"]),
        negotiation.disposition("attachment", ask.wanted.filename or f"{ask.name}.tar"),
        ("accept-ranges", "none"),
        _NOSNIFF,
    ]
    return ask.told(Answer(200, tuple(headers), tarstream.stream(blocks, ask.place.written)))


def _document(blocks: Blocks, ask: Ask, codec: int) -> Answer:
    """Give a block of a codec that others read, as it is."""
    own = ipld.NAMES[codec]
    plain = own.removeprefix("dag-")
    format = ask.wanted.format
    if format is None and ask.wanted.html and own != plain:
        return _preview(blocks, ask, own)
    if format not in (None, own, plain):
        if not ask.wanted.lenient:
            return _unacceptable(ask, own)
        format = None
    given = format or own
    kind = "attachment" if ask.wanted.download else _SHOWN_AS[plain]
    saved = negotiation.disposition(kind, ask.wanted.filename or f"{ask.name}.{plain}")
    type, tag = negotiation.TYPES[given], f"{ask.name}.{given}"
    size = _size(blocks, ask)
    entity = Entity(type, size, _block(blocks, ask), tag, ask.cache, ranges=True)
    return ask.give(entity, saved, _NOSNIFF)


def _preview(blocks: Blocks, ask: Ask, codec: str) -> Answer:
    value = ipld.document(ask.place.cid, need(blocks, ask.place.written))
    page = indexpage.document(ask.base, ask.parts, ask.place.written, value, codec, ask.site)
    return _page(ask, page, "DagIndex")


def _page(ask: Ask, page: bytes, kind: str) -> Answer:
    def read(start: int, stop: int) -> Iterator[bytes]:
        return iter((page[start:stop],))

    tag = f"{kind}-{indexpage.VERSION}_CID-{ask.name}"
    cache = negotiation.PAGE if ask.cache == negotiation.FOREVER else ask.cache
    entity = Entity("text/html; charset=utf-8", len(page), read, tag, cache)
    return ask.give(entity, ("vary", "Accept"))


def _unacceptable(ask: Ask, own: str) -> Answer:
    """Say that no form is made from another (IPIP-524)."""
    return http.text(
        406,
        f"{ask.name} is {own}, which is not turned into {ask.wanted.format}; "
        "its block is found with ?format=raw",
    )


def _unixfs(blocks: Blocks, ask: Ask) -> Answer:
    """Give a file, a directory, or the target of a symlink."""
    if cid.codec(ask.place.cid) == cid.RAW:
        return _file(blocks, ask, ask.place.cid, _size(blocks, ask), _leaf_name(ask))
    block = need(blocks, ask.place.written)
    data = unixfs.parse(block).data
    if data is None or data.kind == unixfs.METADATA:
        raise BadRequest(f"{ask.name} is dag-pb but neither a file nor a directory: ?format=raw")
    if data.kind in (unixfs.DIRECTORY, unixfs.HAMT_SHARD):
        return _directory(blocks, ask, block)
    if data.kind == unixfs.SYMLINK:
        target = data.data or b""

        def read(start: int, stop: int) -> Iterator[bytes]:
            return iter((target[start:stop],))

        entity = Entity(SYMLINK, len(target), read, ask.name, ask.cache, ranges=True)
        return _acceptable(ask, SYMLINK) or ask.give(entity)
    size = len(data.data or b"") if data.filesize is None else data.filesize
    return _file(blocks, ask, ask.place.cid, size, _leaf_name(ask))


def _leaf_name(ask: Ask) -> str:
    """Return the name that tells what a file is."""
    last = ask.parts[-1].decode("utf-8", "replace") if ask.parts else ""
    return ask.wanted.filename or last


def _file(blocks: Blocks, ask: Ask, root: Cid, size: int, name: str) -> Answer:
    def read(start: int, stop: int) -> Iterator[bytes]:
        return blocks.content(root, start, None if stop == size else stop)

    type = mediatypes.of_name(name) or _sniffed(blocks, root, size)
    refusal = _acceptable(ask, type)
    if refusal is not None:
        return refusal
    headers = []
    if ask.wanted.filename or ask.wanted.download:
        kind = "attachment" if ask.wanted.download else "inline"
        headers.append(negotiation.disposition(kind, name or None))
    return ask.give(Entity(type, size, read, ask.name, ask.cache, ranges=True), *headers)


def _sniffed(blocks: Blocks, root: Cid, size: int) -> str:
    """Look at the first bytes. They may not be here, while the range that is wanted is."""
    try:
        head = b"".join(blocks.content(root, 0, min(size, mediatypes.HEAD)))
    except Unavailable:
        return mediatypes.BINARY
    return mediatypes.sniff(head, size <= mediatypes.HEAD)


def _acceptable(ask: Ask, type: str) -> Answer | None:
    """Refuse a format that a file is not in; JSON in a file is JSON."""
    format = ask.wanted.format
    if format is None or ask.wanted.lenient or negotiation.TYPES[format] == type:
        return None
    return _unacceptable(ask, "UnixFS")


def _directory(blocks: Blocks, ask: Ask, block: bytes) -> Answer:
    """Give a directory's index.html, or a page that lists it."""
    refusal = _acceptable(ask, "text/html")
    if refusal is not None:
        return refusal
    if not ask.slash:
        query = f"?{ask.request.query}" if ask.request.query else ""
        there = f"{negotiation.escaped(ask.request.path)}/{query}"
        return ask.told(http.text(301, f"{there} is the directory"), ("location", there))

    def get(name: Cid) -> bytes:
        return need(blocks, name)

    index = hamt.find(block, _INDEX, get)
    size = None if index is None else _file_size(blocks, index.cid)
    if index is not None and size is not None:
        return _file(blocks, ask, index.cid, size, _INDEX.decode())
    # What a page cannot show is not looked for: a cache may have a million entries.
    entries = sorted(
        islice(hamt.unsorted(block, get), indexpage.MOST + 1), key=lambda each: each.name
    )
    written = ipld.as_written(block, [each.cid for each in entries])
    listed = zip(written, entries, strict=True)
    page = indexpage.directory(ask.base, ask.parts, ask.place.written, listed, ask.site)
    return _page(ask, page, "DirIndex")


def _file_size(blocks: Blocks, root: Cid) -> int | None:
    """Return the size of the file at `root`; None if it is no file."""
    if cid.codec(root) == cid.RAW:
        size = blocks.block_size(root)
        return len(need(blocks, root)) if size is None else size
    if cid.codec(root) != cid.DAG_PB:
        return None
    data = unixfs.parse(need(blocks, root)).data
    if data is None or data.kind not in (unixfs.FILE, unixfs.RAW):
        return None
    return len(data.data or b"") if data.filesize is None else data.filesize
