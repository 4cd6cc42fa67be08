"""mirror:// addresses, and nixpkgs' table of mirrors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import mirrors
from narbor.formats.mirrors import BUILT_IN, MalformedMirrors, Mirrors, UnknownSite
from narbor.names.digest import Digest

# In the ways that nixpkgs has had: bare addresses and strings, comments, `rec` and `++`.
TABLE = """rec {

  # Content-addressable Nix mirrors.
  hashedMirrors = [
    http://tarballs.nixos.org
  ];

  /* The KDE
     mirrors */
  kde = [
    "http://download.kde.org/download.php?url="
    ftp://ftp.kde.org/pub/kde/ # often incomplete (e.g. files missing)
  ];
  pypi = [ "https://files.example/packages/source/" "https://${x}.example/" ];
  savannah = [ http://mirror6.layerjet.com/nongnu ];
  both = kde ++ [ "https://last.example/" ] ++ pypi;
}
"""


def test_the_table_of_nixpkgs_is_read() -> None:
    table = mirrors.parse(TABLE)
    assert table.hashed == ("http://tarballs.nixos.org",)
    kde = ("http://download.kde.org/download.php?url=", "ftp://ftp.kde.org/pub/kde/")
    pypi = ("https://files.example/packages/source/",)
    assert table.sites["kde"] == kde
    assert table.sites["both"] == (*kde, "https://last.example/", *pypi)
    assert "hashedMirrors" not in table.sites


def test_an_address_is_put_behind_each_mirror() -> None:
    table = mirrors.parse(TABLE)
    assert table.expand("mirror://kde/stable/x.tar.xz") == (
        "http://download.kde.org/download.php?url=stable/x.tar.xz",
        "ftp://ftp.kde.org/pub/kde/stable/x.tar.xz",
    )
    assert table.expand("mirror://savannah/a/b") == ("http://mirror6.layerjet.com/nongnu/a/b",)
    assert table.expand("https://example.org/x") == ("https://example.org/x",)
    with pytest.raises(UnknownSite, match="gnome"):
        table.expand("mirror://gnome/x")


def test_hashed_mirrors_are_asked_by_algorithm_and_hexadecimal() -> None:
    hash = Digest("sha1", bytes(range(20)))
    assert Mirrors({}, ("http://a", "http://b/c/")).by_hash(hash) == (
        f"http://a/sha1/{hash.hex}",
        f"http://b/c/sha1/{hash.hex}",
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[ ]",
        "{ a = 1; }",
        "{ a = [ http://x/ ] }",
        "{ a = [ b ]; }",
        "{ a = b; }",
        "{ a = b; b = a; }",
        "{ a = [ ]; } b",
        "{ a = [ ''x'' ]; }",
        "{ a = [ ",
        '{ a = [ "http://x ]; }',
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(MalformedMirrors):
        mirrors.parse(text)


SITES = st.from_regex(r"[a-z][a-zA-Z]{0,8}", fullmatch=True).filter(lambda word: word != "rec")
ADDRESSES = st.from_regex(r"(http|https|ftp)://[a-z]{1,8}\.example/([a-z]{1,4}/)?", fullmatch=True)


@given(st.dictionaries(SITES, st.lists(ADDRESSES, unique=True)), st.booleans(), st.booleans())
def test_any_table_comes_back(sites: dict[str, list[str]], quoted: bool, rec: bool) -> None:
    mark = '"' if quoted else ""
    lines = [
        f"  {name} = [ {' '.join(f'{mark}{url}{mark}' for url in urls)} ]; # {name}\n"
        for name, urls in sites.items()
    ]
    table = mirrors.parse(f"{'rec ' if rec else ''}{{\n{''.join(lines)}}}\n")
    assert table.sites == {name: tuple(urls) for name, urls in sites.items()}


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f"{{ {text} }}", f"{{ a = [ {text} ]; }}"):
        try:
            assert isinstance(mirrors.parse(whole), Mirrors)
        except MalformedMirrors as error:
            assert str(error)


def test_the_well_known_ones_are_built_in() -> None:
    for site in ("gnu", "sourceforge", "savannah", "kernel", "gnome", "kde", "cpan"):
        assert all(url.startswith("https://") for url in BUILT_IN.expand(f"mirror://{site}/x"))
    assert BUILT_IN.by_hash(Digest("md5", bytes(16))) == (
        f"https://tarballs.nixos.org/md5/{'0' * 32}",
    )
