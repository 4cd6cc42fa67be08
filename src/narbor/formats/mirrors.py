"""`mirror://SITE/FILE`, and the table of sites that nixpkgs has for it.

The table is Nix (nixpkgs: pkgs/build-support/fetchurl/mirrors.nix), of which only this is read:

    [rec] { SITE = LIST [++ LIST|SITE ...]; ... }      LIST = [ "ADDRESS" ADDRESS ... ]

A file's address is a mirror's with the file's behind it. `hashedMirrors` is no site: these keep
files under their hash, `MIRROR/ALGORITHM/HEX`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from narbor.errors import Rejected
from narbor.names.digest import Digest

SCHEME: Final = "mirror://"
_HASHED: Final = "hashedMirrors"
_DEEPEST: Final = 16
_TOKEN: Final = re.compile(
    r"""(?P<gap>\s+|\#[^\n]*|/\*.*?\*/)
    |"(?P<string>(?:[^"\\]|\\.)*)"
    |(?P<address>[a-zA-Z][a-zA-Z0-9+.-]*:[a-zA-Z0-9%/?:@&=+$,_.!~*'-]+)
    |(?P<word>[a-zA-Z_][a-zA-Z0-9_'-]*)
    |(?P<mark>\+\+|[{}\[\]=;()])""",
    re.VERBOSE | re.DOTALL,
)

_Token: TypeAlias = tuple[str, str]
_Term: TypeAlias = "tuple[str, ...] | str"


class MalformedMirrors(Rejected):
    """A text is no table of mirrors that can be read here."""


class UnknownSite(Rejected):
    """There are no mirrors for a `mirror://` address."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """The mirrors of each site, the best first, and those that know files by their hash."""

    sites: Mapping[str, tuple[str, ...]]
    hashed: tuple[str, ...] = ()

    def expand(self, url: str) -> tuple[str, ...]:
        """Return where a file may lie: `url` itself unless it is a site's; raises UnknownSite."""
        if not url.startswith(SCHEME):
            return (url,)
        site, _, file = url.removeprefix(SCHEME).partition("/")
        if not self.sites.get(site):
            raise UnknownSite(f"{url}: no mirror is known for {site!r}")
        return tuple(_join(mirror, file) for mirror in self.sites[site])

    def by_hash(self, digest: Digest) -> tuple[str, ...]:
        """Return where those that know files by their hash would have this one."""
        return tuple(_join(each, f"{digest.algorithm}/{digest.hex}") for each in self.hashed)


def _join(mirror: str, file: str) -> str:
    return mirror + file if mirror.endswith(("/", "=")) else f"{mirror}/{file}"


def parse(text: str) -> Mirrors:
    """Read a table of mirrors; raises MalformedMirrors."""
    terms = _Reader(text).table()
    found = {name: tuple(dict.fromkeys(_resolved(name, terms, 0))) for name in terms}
    hashed = found.pop(_HASHED, ())
    return Mirrors(found, hashed)


def _resolved(name: str, terms: Mapping[str, list[_Term]], depth: int) -> Iterator[str]:
    if name not in terms or depth > _DEEPEST:
        raise MalformedMirrors(f"{name} is not defined, or by way of itself")
    for term in terms[name]:
        if isinstance(term, str):
            yield from _resolved(term, terms, depth + 1)
        else:
            yield from term


class _Reader:
    """A table of mirrors, token by token."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)

    def table(self) -> dict[str, list[_Term]]:
        """Read the whole."""
        if self._next == ("word", "rec"):
            self._take()
        self._expect("{")
        found: dict[str, list[_Term]] = {}
        while self._next != ("mark", "}"):
            kind, name = self._take()
            if kind not in ("word", "string"):
                raise MalformedMirrors(f"there is {name!r} where a site's name should be")
            self._expect("=")
            found[name] = [self._term()]
            while self._next == ("mark", "++"):
                self._take()
                found[name].append(self._term())
            self._expect(";")
        self._take()
        if self._next[0] != "end":
            raise MalformedMirrors(f"behind its end there is {self._next[1]!r}")
        return found

    def _term(self) -> _Term:
        if self._next[0] == "word":
            return self._take()[1]
        self._expect("[")
        found = []
        while self._next[0] in ("string", "address"):
            address = self._take()[1]
            if "${" not in address:  # what would have to be evaluated is left out
                found.append(address)
        self._expect("]")
        return tuple(found)

    def _expect(self, mark: str) -> None:
        kind, text = self._take()
        if (kind, text) != ("mark", mark):
            raise MalformedMirrors(f"there is {text[:60]!r} where {mark!r} should be")

    def _take(self) -> _Token:
        token = self._next
        self._next = next(self._tokens, ("end", "its end"))
        return token


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            line = text.count("\n", 0, at) + 1
            raise MalformedMirrors(f"line {line}: {text[at : at + 20]!r} cannot be read here")
        at = match.end()
        if match.lastgroup is not None and match.lastgroup != "gap":
            yield match.lastgroup, match[match.lastgroup]
    yield "end", "its end"


# The master site and one or two that carry everything, for when no nixpkgs is at hand.
BUILT_IN: Final = Mirrors(
    {
        "alsa": ("https://www.alsa-project.org/files/pub/",),
        "apache": ("https://dlcdn.apache.org/", "https://archive.apache.org/dist/"),
        "bioc": ("https://bioconductor.org/packages/",),
        "cpan": ("https://cpan.metacpan.org/", "https://backpan.perl.org/"),
        "cran": ("https://cran.r-project.org/src/contrib/",),
        "fedora": ("https://archives.fedoraproject.org/pub/fedora/",),
        "gcc": ("https://gcc.gnu.org/pub/gcc/", "https://mirrorservice.org/sites/gcc.gnu.org/"),
        "gentoo": ("https://distfiles.gentoo.org/",),
        "gnome": ("https://download.gnome.org/", "https://ftp.acc.umu.se/pub/GNOME/"),
        "gnu": ("https://ftpmirror.gnu.org/", "https://ftp.gnu.org/pub/gnu/"),
        "gnupg": ("https://gnupg.org/ftp/gcrypt/",),
        "hackage": ("https://hackage.haskell.org/package/",),
        "ibiblioPubLinux": ("https://www.ibiblio.org/pub/Linux/",),
        "imagemagick": ("https://imagemagick.org/archive/",),
        "kde": ("https://download.kde.org/", "https://cdn.download.kde.org/"),
        "kernel": ("https://cdn.kernel.org/pub/", "https://mirrors.edge.kernel.org/pub/"),
        "luarocks": ("https://luarocks.org/",),
        "maven": ("https://repo1.maven.org/maven2/",),
        "mozilla": ("https://archive.mozilla.org/pub/",),
        "mysql": ("https://cdn.mysql.com/Downloads/",),
        "openbsd": ("https://cdn.openbsd.org/pub/OpenBSD/", "https://ftp.openbsd.org/pub/OpenBSD/"),
        "opensuse": ("https://download.opensuse.org/",),
        "postgresql": ("https://ftp.postgresql.org/pub/",),
        "qt": ("https://download.qt.io/",),
        "sageupstream": ("https://files.sagemath.org/spkg/upstream/",),
        "samba": ("https://download.samba.org/pub/",),
        "savannah": (
            "https://download.savannah.nongnu.org/releases/",
            "https://ftp.gnu.org/gnu/savannah/",
        ),
        "sourceforge": ("https://downloads.sourceforge.net/",),
        "steamrt": ("https://repo.steampowered.com/steamrt/",),
        "tcsh": ("https://astron.com/pub/tcsh/",),
        "ubuntu": (
            "https://archive.ubuntu.com/ubuntu/",
            "https://old-releases.ubuntu.com/ubuntu/",
        ),
        "xfce": ("https://archive.xfce.org/",),
        "xorg": ("https://xorg.freedesktop.org/releases/", "https://ftp.x.org/pub/"),
    },
    ("https://tarballs.nixos.org/",),
)
