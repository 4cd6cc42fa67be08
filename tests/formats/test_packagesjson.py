"""packages.json, read while it comes."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats.packagesjson import LARGEST, MalformedPackages, descriptions

# One package as channels.nixos.org has it, with what surrounds its description.
HELLO = {
    "meta": {
        "available": True,
        "description": "Program that produces a familiar, friendly greeting",
        "license": {"spdxId": "GPL-3.0-or-later", "fullName": 'a "quoted" \\ {name}'},
        "maintainers": [{"name": "x", "keys": [{"fingerprint": "]}"}]}],
        "outputsToInstall": ["out"],
    },
    "name": "hello-2.12.1",
    "outputs": {"out": None},
    "system": "x86_64-linux",
}


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    """Cut a text."""
    return (text[at : at + size] for at in range(0, len(text), size))


def read(document: object, size: int = 1 << 20) -> dict[str, str]:
    """Read a document that comes in pieces."""
    return dict(descriptions(pieces(json.dumps(document).encode(), size)))


def test_attributes_come_with_their_descriptions() -> None:
    bare = {"name": "bare", "meta": {}}
    packages = {"hello": HELLO, "python3Packages.x": {**HELLO}, "bare": bare, "empty": {}}
    packages |= {"null": {"meta": {"description": None}}, "b": {"meta": {"description": " a\n b "}}}
    document = {"version": 2, "before": {"meta": {"description": "no"}}, "packages": packages}
    said = "Program that produces a familiar, friendly greeting"
    expected = {"hello": said, "python3Packages.x": said, "b": "a b"}
    assert read({**document, "after": [HELLO, {"packages": packages}]}) == expected
    assert read({"packages": "none"}) == read({}) == read({"packages": {}}) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TEXT = st.text(min_size=1, max_size=20)


@given(
    st.dictionaries(TEXT, st.tuples(TEXT, JSON)),
    st.sampled_from([True, False]),
    st.dictionaries(st.text().filter(lambda key: key != "packages"), JSON, max_size=3),
)
def test_any_packages_come_back(
    said: dict[str, tuple[str, object]], spaced: bool, around: dict[str, object]
) -> None:
    packages = {
        key: {"a": more, "meta": {"x": more, "description": text, "y": more}, "z": more}
        for key, (text, more) in said.items()
    }
    document = {**around, "packages": packages, "last": [packages]}
    whole = json.dumps(document, indent=2 if spaced else None, ensure_ascii=spaced)
    found = dict(descriptions([whole.encode()]))
    assert found == {key: " ".join(text.split()) for key, (text, _) in said.items() if text.strip()}


@pytest.mark.parametrize("size", [65_535, 65_536, 70_001])
def test_packages_lie_across_pieces(size: int) -> None:
    said = {f"p{number}": f"d{number} {'{' * 50}" for number in range(5000)}
    packages = {key: {"meta": {"description": text}, "x": [[{}]]} for key, text in said.items()}
    found = read({"version": 2, "packages": packages}, size)
    assert found == said


def test_only_what_is_read_is_held() -> None:
    """A text of any length comes through, but for one package that is too large."""

    def large() -> Iterator[bytes]:
        yield b'{"packages":{'
        package = json.dumps({"meta": {"description": "d", "filler": "x" * 20_000}})
        for number in range(2000):
            yield f'"p{number}": {package},'.encode()
        yield b'"last":{}}}'

    assert len(list(descriptions(large()))) == 2000
    long = {"packages": {"a": {"x": "y" * (LARGEST + 1)}}}
    with pytest.raises(MalformedPackages, match="larger"):
        read(long, 1 << 16)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b'{"packages":{"a":{"meta":{"description":"x"}}',
        b'{"packages":{"a":{"meta":{"description":7}}}}',
        b'{"packages":{"a":{"meta":[]}}}',
        b'{"packages":{"a":{"meta":',
        b'{"packages":{"a":{"meta":{"description":"x',
        b"[" * 100,
        b'{"packages":{"a":{"meta":{"description":"\xff"}}}}',
    ],
)
def test_damage_is_told(text: bytes) -> None:
    with pytest.raises(MalformedPackages):
        list(descriptions([text]))
