"""CARs: what is written comes back, each block is checked, nothing else is read."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import car, dagcbor, unixfs
from narbor.formats.car import MalformedCar
from narbor.formats.dagcbor import Link
from narbor.names import cid, cidtext
from narbor.names.cid import Cid

HELLO = (cid.raw(b"hello"), b"hello")
NODE = unixfs.directory_node([])
DIRECTORY = (cid.node(NODE), NODE)


def pairs() -> st.SearchStrategy[tuple[Cid, bytes]]:
    """Blocks with their CIDs."""
    data = st.binary(max_size=300)
    return data.map(lambda block: (cid.raw(block), block)) | data.map(
        lambda block: (cid.node(block), block)
    )


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """The same bytes in small chunks."""
    return (data[at : at + size] for at in range(0, len(data), size))


def second(first: bytes, before: int = 0, index: bytes = b"") -> bytes:
    """A CAR of version 2 round one of version 1."""
    start = 51 + before
    numbers = (start, len(first), start + len(first) if index else 0)
    fields = bytes(16) + b"".join(number.to_bytes(8, "little") for number in numbers)
    return bytes.fromhex("0aa16776657273696f6e02") + fields + bytes(before) + first + index


@given(st.lists(pairs(), max_size=5), st.lists(pairs(), max_size=3), st.integers(1, 70))
def test_what_is_written_comes_back(
    blocks: list[tuple[Cid, bytes]], roots: list[tuple[Cid, bytes]], size: int
) -> None:
    names = tuple(name for name, _ in roots)
    data = b"".join(car.write(names, blocks))
    assert len(data) == car.size(names, ((name, len(block)) for name, block in blocks))
    for form in (data, second(data), second(data, 9, b"an index")):
        read = car.read(cut(form, size))
        assert read.roots == names
        assert [(block.cid, block.data) for block in read.blocks] == blocks


def test_the_bytes_of_the_specification() -> None:
    # The header by hand: {"roots": [link], "version": 1}, keys sorted by length.
    block = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00" + HELLO[0] + b"\x67version\x01"
    expected = bytes([len(block)]) + block + bytes([36 + 5]) + HELLO[0] + b"hello"
    assert b"".join(car.write([HELLO[0]], [HELLO])) == expected


def test_version_0_keeps_its_form() -> None:
    written = cid.node(NODE)[2:]
    data = b"".join(car.write([written], [(written, NODE)]))
    read = car.read([data])
    assert read.roots == (written,)
    (block,) = read.blocks
    assert (block.cid, block.written, block.data) == (cid.node(NODE), written, NODE)
    assert cidtext.text(block.written) == "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"


def test_what_stands_in_a_cid_is_not_written() -> None:
    name = cid.inline(b"abc")
    data = b"".join(car.write([name], [(name, b"abc"), HELLO]))
    read = car.read([data])
    assert read.roots == (name,)
    assert [block.cid for block in read.blocks] == [HELLO[0]]
    assert len(data) == car.size([name], [(name, 3), (HELLO[0], 5)])


def test_an_identity_block_that_stands_there_all_the_same_is_read() -> None:
    name = cid.inline(b"abc")
    section = cid.varint(len(name) + 3) + name + b"abc"
    assert [block.data for block in car.read([car.header([]) + section]).blocks] == [b"abc"]


def section(name: bytes, block: bytes) -> bytes:
    """One section, whatever it holds."""
    return cid.varint(len(name) + len(block)) + name + block


def said(value: dagcbor.Value) -> bytes:
    """A header that says this."""
    block = dagcbor.encode(value)
    return cid.varint(len(block)) + block


WHOLE = b"".join(car.write([HELLO[0]], [HELLO, DIRECTORY]))
REFUSED = {
    "nothing": b"",
    "half a header": WHOLE[:20],
    "half a block": WHOLE[:-1],
    "half a length": car.header([]) + b"\x80",
    "a block with other bytes": car.header([]) + section(HELLO[0], b"hellO"),
    "an identity block with other bytes": car.header([]) + section(cid.inline(b"a"), b"b"),
    "a hash that is not known": car.header([])
    + section(bytes.fromhex("01551340") + bytes(64), b""),
    "no CID": car.header([]) + section(b"\xff" * 40, b""),
    "a CID that is cut": car.header([]) + section(HELLO[0][:20], b""),
    "nothing in a section": car.header([]) + b"\0" + section(*HELLO),
    "a length with a needless byte": car.header([]) + b"\x80\x00",
    "a section past any block": car.header([]) + cid.varint(1 << 40),
    "a header past any header": cid.varint(1 << 40) + bytes(50),
    "version 3": said({"roots": [], "version": 3}),
    "no version": said({"roots": []}),
    "no roots": said({"version": 1}),
    "a root that is no link": said({"roots": [1], "version": 1}),
    "a header that is no map": said([1]),
    "a header that is no CBOR": b"\x01\xff",
    "version 2 with its data in its header": second(WHOLE).replace(
        (51).to_bytes(8, "little"), (50).to_bytes(8, "little"), 1
    ),
    "version 2 that ends early": second(WHOLE)[:-1],
    "version 2 without its data": second(WHOLE)[:51],
    "version 2 cut in its header": second(WHOLE)[:30],
    "version 2 that ends between blocks": second(WHOLE)[: -len(section(*DIRECTORY))],
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=list(REFUSED))
def test_refused(data: bytes) -> None:
    with pytest.raises(MalformedCar):
        list(car.read([data]).blocks)


def test_a_block_that_is_too_large_is_refused_before_it_is_read() -> None:
    given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal given
        name = cid.raw(bytes(5000))
        for chunk in cut(car.header([]) + section(name, bytes(5000)), 100):
            given += len(chunk)
            yield chunk

    with pytest.raises(MalformedCar, match="5036"):
        list(car.read(chunks(), largest=1000).blocks)
    assert given < 1000


def test_blocks_before_the_bad_one_are_given() -> None:
    bad = car.header([]) + section(*HELLO) + section(HELLO[0], b"?")
    blocks = car.read([bad]).blocks
    assert next(blocks).data == b"hello"
    with pytest.raises(MalformedCar):
        next(blocks)


@given(st.data())
def test_a_changed_car_raises_only_malformed(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from((WHOLE, second(WHOLE, 3)))))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        for block in car.read(cut(bytes(whole), 7)).blocks:
            assert cid.matches(block.cid, block.data)
    except MalformedCar:
        return


def test_many_roots_are_read() -> None:
    roots = [cid.raw(b"%d" % number) for number in range(1000)]
    assert car.read(car.write(roots, [])).roots == tuple(roots)
    assert dagcbor.encode([Link(roots[0])])[0] == 0x81


def test_blocks_that_lie_can_be_passed_over() -> None:
    lie = (cid.raw(b"true"), b"a lie")
    data = b"".join(car.write([HELLO[0]], [lie, HELLO, lie, DIRECTORY]))
    told: list[str] = []
    found = car.read(cut(data, 7), refuse=lambda error: told.append(str(error)))
    assert [(block.cid, block.data) for block in found.blocks] == [HELLO, DIRECTORY]
    assert len(told) == 2
    assert all(cidtext.text(lie[0]) in text for text in told)
    # Where the sections themselves are not to be followed, nothing behind is believed.
    with pytest.raises(MalformedCar):
        list(car.read([data[:-1]], refuse=lambda error: None).blocks)
