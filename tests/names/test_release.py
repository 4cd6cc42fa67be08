"""Names of releases: the vectors of Nix, names as channels have them, and an order that is one."""

import re
from itertools import pairwise, zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.names import release
from narbor.names.release import BackInTime, MalformedRelease, ReleaseName

# nix: tests/functional/lang/eval-okay-versions.nix
NIX = [
    ("1.0", "2.3", -1),
    ("2.1", "2.3", -1),
    ("2.3", "2.3", 0),
    ("2.5", "2.3", 1),
    ("3.1", "2.3", 1),
    ("2.3.1", "2.3", 1),
    ("2.3.1", "2.3a", 1),
    ("2.3pre1", "2.3", -1),
    ("2.3pre3", "2.3pre12", -1),
    ("2.3a", "2.3c", -1),
    ("2.3pre1", "2.3c", -1),
    ("2.3pre1", "2.3q", -1),
]

# From old to new. The forms are those of releases.nixos.org.
RELEASES = [
    "nixos-16.09beta430.c4469ed",
    "nixos-16.09.680.4e14fd5",
    "nixos-24.11pre718105.e2dd4e18cc1c",
    "nixos-24.11beta709057.76612b17c0ce",
    "nixos-24.11.709057.057f63b6dc1a",
    "nixos-25.05pre806273.650e572363c0",
    "nixos-25.05.802216.7282cb574e06",
    "nixos-25.05.806273.650e572363c0",
    "nixos-25.05.1000000.0123456789ab",
]


@pytest.mark.parametrize(("one", "other", "expected"), NIX)
def test_versions_compare_as_in_nix(one: str, other: str, expected: int) -> None:
    assert release.compare(one, other) == expected
    assert release.compare(other, one) == -expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("1.00", "1.0", 0),
        ("1-2.", "1.2", 0),
        ("", "pre", 1),
        ("2147483647", "2147483646", 1),
        ("2147483647", "1", 1),
        # Too large for an int of 32 bits: a word, older than any number.
        ("2147483648", "1", -1),
        ("2147483648", "10000000000", 1),
        ("1.9", "1.10", -1),
        ("1.a", "1.b1", -1),
    ],
)
def test_versions_at_the_edges(one: str, other: str, expected: int) -> None:
    assert release.compare(one, other) == expected


@pytest.mark.parametrize(
    ("text", "name", "version", "commits", "revision"),
    [
        (RELEASES[7], "nixos", "25.05.806273.650e572363c0", 806273, "650e572363c0"),
        (
            "nixpkgs-25.05pre718105.e2dd4e18cc1c",
            "nixpkgs",
            "25.05pre718105.e2dd4e18cc1c",
            718105,
            "e2dd4e18cc1c",
        ),
        (RELEASES[0], "nixos", "16.09beta430.c4469ed", 430, "c4469ed"),
        ("nixpkgs-darwin-24.05pre1.0123abc", "nixpkgs-darwin", "24.05pre1.0123abc", 1, "0123abc"),
        ("patchelf-0.18.0", "patchelf", "0.18.0", None, None),
        ("x-1.2.zzzzzzz", "x", "1.2.zzzzzzz", None, None),
        ("a-b-+", "a-b", "+", None, None),
        ("tool-12345", "tool", "12345", None, None),
    ],
)
def test_names_are_read(
    text: str, name: str, version: str, commits: int | None, revision: str | None
) -> None:
    found = release.parse(text)
    assert found == ReleaseName(text, name, version)
    assert (found.commits, found.short_revision) == (commits, revision)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "nixos", "nixos-", "nixos-unstable", "-25.05", "25.05", ".-1", "a/b-1", "a-1\n"),
        *("é-1", "../a-1", "a-1\0", "a-" + "1" * 210, "a 1-2"),
    ],
)
def test_what_names_no_release_is_refused(text: str) -> None:
    with pytest.raises(MalformedRelease):
        release.parse(text)


def test_releases_sort_from_old_to_new() -> None:
    parsed = [release.parse(text) for text in RELEASES]
    shuffled = parsed[::2] + parsed[1::2]
    assert sorted(shuffled, key=lambda each: release.order(each.version)) == parsed
    for old, new in pairwise(parsed):
        assert release.newer(new, old)
        assert not release.newer(old, new)
        assert release.forward(new, old)
        with pytest.raises(BackInTime, match=r"25\.05|24\.11|16\.09"):
            release.forward(old, new)
    assert not release.forward(parsed[0], parsed[0])
    assert not release.newer(parsed[0], parsed[0])
    assert release.forward(parsed[0], None)


VERSIONS = st.text("0123ab.-pre", max_size=12) | st.lists(
    st.sampled_from([".", "-", "pre", "1", "01", "10", "2147483648", "99999999999", "a", "rc"]),
    max_size=6,
).map("".join)


def number(component: str) -> int | None:
    """A component as an int of 32 bits, if it is one."""
    return int(component) if component.isdigit() and int(component) < 2**31 else None


def is_less(one: str, other: str) -> bool:
    """The order of two components, case by case as Nix words it (an absent one is empty)."""
    left, right = number(one), number(other)
    if left is not None and right is not None:
        return left < right
    if one == "pre" or other == "pre":
        return one == "pre" and other != "pre"
    if right is not None:
        return True
    return left is None and one < other


def plain(one: str, other: str) -> int:
    """Compare two versions component by component, without keys."""
    pattern = re.compile(r"[0-9]+|[^0-9.\-]+")
    for left, right in zip_longest(pattern.findall(one), pattern.findall(other), fillvalue=""):
        if is_less(left, right):
            return -1
        if is_less(right, left):
            return 1
    return 0


@given(VERSIONS, VERSIONS)
def test_keys_sort_as_the_plain_comparison_does(one: str, other: str) -> None:
    assert release.compare(one, other) == plain(one, other)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_one(one: str, other: str, third: str) -> None:
    assert release.compare(one, other) == -release.compare(other, one)
    if release.compare(one, other) <= 0 and release.compare(other, third) <= 0:
        assert release.compare(one, third) <= 0
