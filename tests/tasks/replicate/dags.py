"""DAGs of all kinds in a store: what is given to others, and taken from them."""

from collections.abc import Iterable
from typing import TypeVar

from hypothesis import strategies as st

from narbor.formats import dagcbor, unixfs
from narbor.formats.dagcbor import Link
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid

Blocks = dict[Cid, bytes]
Kind = TypeVar("Kind")


def only(kind: type[Kind], events: Iterable[object]) -> list[Kind]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def named(block: bytes, codec: int) -> Cid:
    """Return the CID of a block under a codec."""
    return Cid(b"\1" + cid.varint(codec) + cid.raw(block)[2:])


def put(library: Library, blocks: Blocks) -> None:
    """Keep blocks, durably."""
    library.blocks.put_many(list(blocks.items()))
    library.blocks.sync()


def join(blocks: Blocks, targets: Iterable[Cid], codec: int, salt: int) -> Cid:
    """Add a node that links to these, in one of the ways there are; return its name."""
    names = list(targets)
    if codec == cid.DAG_PB:
        links = [unixfs.Link(name, 1, b"%d-%d" % (salt, at)) for at, name in enumerate(names)]
        block = unixfs.directory_node(links)
    elif codec == cid.DAG_CBOR:
        block = dagcbor.encode({"links": [Link(name) for name in names], "salt": salt})
    elif codec == cid.DAG_JSON:
        spelt = ",".join(f'{{"/":"{cid.text(name)}"}}' for name in names)
        block = f'{{"links":[{spelt}],"salt":{salt}}}'.encode()
    else:
        block = b"leaf %d" % salt
    name = named(block, codec)
    blocks[name] = block
    return name


CODECS = (cid.RAW, cid.DAG_PB, cid.DAG_CBOR, cid.DAG_JSON)


@st.composite
def dags(draw: st.DrawFn) -> tuple[Cid, Blocks]:
    """A random DAG of all codecs, with identity CIDs and shared nodes; every block hangs from its
    root, which is the last one."""
    made: Blocks = {}
    names: list[Cid] = []
    loose: dict[Cid, None] = {}
    for salt in range(draw(st.integers(1, 12))):
        codec = draw(st.sampled_from(CODECS))
        chosen = draw(st.lists(st.sampled_from(names), max_size=4)) if names else []
        if draw(st.booleans()):
            chosen.append(cid.inline(b"short %d" % salt))
        name = join(made, [] if codec == cid.RAW else chosen, codec, salt)
        if codec != cid.RAW:
            for each in chosen:
                loose.pop(each, None)
        names.append(name)
        loose[name] = None
    root = join(made, loose, draw(st.sampled_from(CODECS[1:])), 99)
    return root, made
