"""`_redirects`: which rules there are, what they fit, and where they lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.doors.ipfs import redirects
from narbor.doors.ipfs.redirects import BadRedirects

FILE = b"""
# a comment
/one        /one.html
/two  /two.html\t302
/posts/:year/:title  /articles/:year-:title 308
/splat/*  /new/:splat\r
/out/*  https://other.example/:splat?x=1#y 307
/gone/*  /410.html  410
/same /same
/* /index.html 200
"""


@pytest.mark.parametrize(
    ("path", "target", "status"),
    [
        ("/one", "/one.html", 301),
        ("/two", "/two.html", 302),
        ("/posts/2022/hello", "/articles/2022-hello", 308),
        ("/posts/2022/", "/index.html", 200),
        ("/splat/a/b c", "/new/a/b%20c", 301),
        ("/splat/", "/new/", 301),
        ("/splat", "/index.html", 200),
        ("/splat//evil.example", "/new//evil.example", 301),
        ("/out/\u00fc\r\nx: y", "https://other.example/%C3%BC%0D%0Ax%3A%20y?x=1#y", 307),
        ("/gone/x", "/410.html", 410),
        ("/", "/index.html", 200),
    ],
)
def test_the_first_rule_that_fits_counts(path: str, target: str, status: int) -> None:
    found = redirects.find(redirects.parse(FILE), path)
    assert found is not None
    assert (found[0].target(found[1]), found[0].status) == (target, status)


def test_no_rule_may_fit() -> None:
    assert redirects.find(redirects.parse(b"/a /b\n"), "/c") is None
    assert redirects.find((), "/c") is None


def test_a_path_never_becomes_another_host() -> None:
    rules = redirects.parse(b"/a/* /:splat\n")
    found = redirects.find(rules, "/a//evil.example/x")
    assert found is not None and found[0].target(found[1]) == "/evil.example/x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"/a\n", "line 1 is not FROM TO"),
        (b"\n/a /b 301 x\n", "line 2 is not FROM TO"),
        (b"/a /b 301!\n", "unsupported redirect status 301!"),
        (b"/a /b 306\n", "unsupported redirect status 306"),
        (b"a /b\n", "is no path"),
        (b"/a*b/c /b\n", "a \\* that does not end it"),
        (b"/a https://x.example 200\n", "is no path, nor a URL"),
        (b"/a javascript:alert(1)\n", "is no path, nor a URL"),
        (b"/a http://[x\n", "is no path, nor a URL"),
        (b"/a \xff\n", "no UTF-8"),
        (b"#" * (64 << 10) + b"\n", "redirects file size cannot exceed 65536"),
    ],
)
def test_what_cannot_be_read(text: bytes, words: str) -> None:
    with pytest.raises(BadRedirects, match=f"could not parse _redirects: .*{words}"):
        redirects.parse(text)


@given(st.binary(max_size=300), st.text(max_size=40))
def test_any_bytes_are_rules_or_refused(text: bytes, path: str) -> None:
    try:
        rules = redirects.parse(text)
    except BadRedirects:
        return
    found = redirects.find(rules, f"/{path}")
    if found is not None:
        target = found[0].target(found[1])
        assert target.isascii() and "\n" not in target and "\r" not in target
        assert not target.startswith("//")
