"""The order in which Debian packages become store items."""

from tests.world import debian

INDEX = """\
Package: git
Version: 1:2.39.5-0+deb12u2
Depends: libc6 (>= 2.36), libcurl3-gnutls (>= 7.56.1), perl:any | raku, git-man

Package: libc6
Version: 2.36-9
Depends: libgcc-s1
Description: shared libraries
 A line that goes on: with a colon.

Package: libgcc-s1
Version: 12.2.0-14
Depends: gcc-12-base (= 12.2.0-14), libc6 (>= 2.35)

Package: gcc-12-base
Version: 12.2.0-14

Package: libcurl-gnutls-other
Version: 1
Provides: libcurl3-gnutls (= 7.88), libcurl-any
Pre-Depends: libc6

Package: raku
Version: 6
"""


def test_dependencies_come_first_and_circles_are_cut() -> None:
    found = debian.closure(debian.read(INDEX), ["git"])
    order = list(found)
    assert order == ["gcc-12-base", "libgcc-s1", "libc6", "libcurl-gnutls-other", "raku", "git"]
    assert found["libgcc-s1"] == ["gcc-12-base"]
    assert all(order.index(need) < order.index(name) for name in order for need in found[name])


def test_alternatives_and_virtual_packages() -> None:
    found = debian.closure(debian.read(INDEX), ["git"])
    assert found["git"] == ["libc6", "libcurl-gnutls-other", "raku"]


def test_versions_are_read() -> None:
    versions = {package.name: package.version for package in debian.read(INDEX)}
    assert versions["git"] == "1:2.39.5-0+deb12u2"
