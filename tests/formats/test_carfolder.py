"""What stands beside CARs: what is written comes back, and nothing else is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import carfolder
from narbor.formats.carfolder import Listed, MalformedManifest, Manifest, Named
from narbor.names import cid
from tests.strategies import cids

FILES = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._-]{0,20}", fullmatch=True)
NUMBERS = st.integers(0, 1 << 50)
LISTED = st.builds(
    Listed,
    FILES,
    st.integers(1, 9),
    cids(),
    st.none() | cids(),
    NUMBERS,
    NUMBERS,
    st.binary(min_size=32, max_size=32),
)
NAMES = st.dictionaries(
    st.text(min_size=1, max_size=20),
    st.builds(Named, cids(), st.integers(1, 9)),
    max_size=4,
)
MANIFESTS = st.builds(Manifest, NAMES, st.lists(LISTED, max_size=4).map(tuple))


@given(MANIFESTS)
def test_what_is_written_comes_back(manifest: Manifest) -> None:
    text = carfolder.write(manifest)
    assert carfolder.parse(text) == manifest
    said = json.loads(text)
    for car, listed in zip(said["cars"], manifest.cars, strict=True):
        assert car["superseded"] == manifest.is_superseded(listed)


def whole() -> dict[str, object]:
    """A manifest as JSON, to be spoiled."""
    root = cid.raw(b"root")
    listed = Listed("000001.car", 1, root, None, 1, 100, bytes(32))
    read: dict[str, object] = json.loads(
        carfolder.write(Manifest({"name": Named(root)}, (listed,)))
    )
    return read


def test_what_is_none_is_refused() -> None:
    good = whole()
    assert carfolder.parse(json.dumps(good).encode()).series == 1
    cars = good["cars"]
    assert isinstance(cars, list)
    (car,) = cars
    spoilt = [
        {**good, "format": "narbor-cars-2"},
        {**good, "names": []},
        {**good, "names": {"": {"root": cid.text(cid.raw(b"")), "series": 1}}},
        {**good, "names": {"name": {"root": "no cid", "series": 1}}},
        *(
            {**good, "cars": [{**car, name: value}]}
            for name, value in (
                ("file", "../000001.car"),
                ("file", ".hidden.car"),
                ("file", "a/b.car"),
                ("size", -1),
                ("sha256", "00"),
                ("root", "bafy"),
                ("series", "1"),
            )
        ),
        {"format": "narbor-cars-1"},
        [],
    ]
    for each in spoilt:
        with pytest.raises(MalformedManifest):
            carfolder.parse(json.dumps(each).encode())
    for text in (b"", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(MalformedManifest):
            carfolder.parse(text)
    with pytest.raises(MalformedManifest, match="more than"):
        carfolder.parse(bytes(carfolder.LONGEST + 1))


@given(st.binary(max_size=200))
def test_rubbish_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedManifest):
        carfolder.parse(text)
