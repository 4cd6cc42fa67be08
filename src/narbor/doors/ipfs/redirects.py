"""`_redirects`: what a web site in a DAG says of paths that it does not have.

    FROM TO [STATUS]      a rule a line; `#` begins a comment; the first that fits counts

FROM begins with `/`; `:name` stands for one part of a path, a last `*` for all the rest. TO is a
path, or for other statuses than 200 and 4xx a URL, and may say `:name` and `:splat`.

    200                             the file at TO is given in place of what is not there
    301 (usual) 302 303 307 308     the client is sent to TO
    404 410 451                     the file at TO is given, with this status

Specification: https://specs.ipfs.tech/http-gateways/web-redirects-file/
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from narbor.errors import Rejected

NAME: Final = b"_redirects"
LARGEST: Final = 64 << 10
MOVED: Final = frozenset({301, 302, 303, 307, 308})
SHOWN: Final = frozenset({200, 404, 410, 451})
_HOLDER: Final = re.compile(r":([A-Za-z][A-Za-z0-9_]*)")
_SAFE: Final = "/:@!$&'()*+,;=~?#[]%"


class BadRedirects(Rejected):
    """A `_redirects` file cannot be read."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"could not parse _redirects: {reason}")


@dataclass(frozen=True, slots=True)
class Rule:
    """A line. `parts` are those of FROM, `rest`: whether a `*` follows them."""

    parts: tuple[str, ...]
    rest: bool
    to: str
    status: int

    def match(self, path: Sequence[str]) -> Mapping[str, str] | None:
        """Return what the holders stand for in a path, cut at `/`; None if it does not fit."""
        size = len(self.parts)
        if len(path) < size + 1 if self.rest else len(path) != size:
            return None
        found = {}
        for said, part in zip(self.parts, path, strict=False):
            if said.startswith(":") and part:
                found[said[1:]] = part
            elif said != part:
                return None
        return {**found, "splat": "/".join(path[size:])} if self.rest else found

    def target(self, found: Mapping[str, str]) -> str:
        """Return TO with what the holders stand for, escaped for a URL."""

        def said(match: re.Match[str]) -> str:
            value = found.get(match[1])
            return match[0] if value is None else quote(_bytes(value), safe="/")

        made = quote(_HOLDER.sub(said, self.to).encode("utf-8", "replace"), safe=_SAFE)
        # Two of them at the beginning would be another host.
        return "/" + made.lstrip("/") if made.startswith("/") else made


def parse(text: bytes) -> tuple[Rule, ...]:
    """Read a file; raises BadRedirects."""
    if len(text) > LARGEST:
        raise BadRedirects(f"redirects file size cannot exceed {LARGEST} bytes")
    try:
        lines = text.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadRedirects(f"it is no UTF-8: {error}") from error
    rules = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            rules.append(_rule(words, number))
    return tuple(rules)


def find(rules: Sequence[Rule], path: str) -> tuple[Rule, Mapping[str, str]] | None:
    """Return the first rule that fits a path, which is not escaped, and what its holders mean."""
    parts = path.split("/")
    for rule in rules:
        found = rule.match(parts)
        if found is not None:
            return rule, found
    return None


def inside(target: str) -> str:
    """Return the path that a rule's target names in the site, not escaped."""
    path = urlsplit(target).path
    return unquote_to_bytes(path).decode("utf-8", "surrogateescape")


def _rule(words: Sequence[str], number: int) -> Rule:
    if len(words) < 2 or len(words) > 3:
        raise BadRedirects(f"line {number} is not FROM TO [STATUS]")
    come, to, status = words[0], words[1], words[2] if len(words) == 3 else "301"
    if not re.fullmatch("[0-9]{3}", status) or int(status) not in MOVED | SHOWN:
        raise BadRedirects(f"line {number} has the unsupported redirect status {status}")
    parts = come.split("/")
    rest = parts[-1] == "*"
    if not come.startswith("/") or "*" in "".join(parts[:-1] if rest else parts):
        raise BadRedirects(f"line {number}: {come} is no path, or has a * that does not end it")
    if not to.startswith("/") and (int(status) not in MOVED or not _is_url(to)):
        raise BadRedirects(f"line {number}: {to} is no path, nor a URL to be sent to")
    return Rule(tuple(parts[:-1] if rest else parts), rest, to, int(status))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https", "ipfs", "ipns") and bool(parts.netloc)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
