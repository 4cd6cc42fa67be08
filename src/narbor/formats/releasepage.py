"""Pages for people: a release, and folders of releases.

The page of a release has what mirrors read out of upstream's (nixos-channel-scripts, since 2018): a
paragraph that begins `Released on DATE from`, and a table of name, size and SHA-256.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape, unescape
from typing import Final
from urllib.parse import quote

from narbor.errors import Rejected
from narbor.names.digest import Digest, Seal
from narbor.names.file import File

TYPE: Final = "text/html; charset=utf-8"
_STYLE: Final = (
    "body{font-family:sans-serif;margin:2em}td,th{padding:.15em 1em .15em 0;text-align:left}"
    "td.n{text-align:right}code{font-size:90%}"
)

# Upstream writes <tt> where we write <code>.
_ROW: Final = re.compile(
    r"<tr><td><a href=['\"][^'\"]*['\"]>([^<]{1,300})</a></td><td[^>]*>([0-9]{1,15})</td>"
    r"<td><(tt|code)>([0-9a-f]{64})</\3></td></tr>"
)
_DATE: Final = re.compile(
    r"<p>Released on ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) from"
)


class MalformedPage(Rejected):
    """A page is not that of a release."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that the page of a release lists."""

    name: str
    seal: Seal


@dataclass(frozen=True, slots=True)
class Page:
    """What the page of a release says. `published` is in seconds since 1970."""

    published: int
    files: tuple[Listed, ...]


def parse(text: bytes) -> Page:
    """Read the page of a release, ours or upstream's; raises MalformedPage.

    Upstream's has no files whose name ends in `.sha256`.
    """
    page = text.decode("utf-8", "replace")
    date = _DATE.search(page)
    if date is None:
        raise MalformedPage("this is no page of a release: it does not say when that came")
    try:
        published = datetime.strptime(f"{date[1]} +0000", "%Y-%m-%d %H:%M:%S %z")
    except ValueError as error:
        raise MalformedPage(f"{date[1]!r} is no date") from error
    files = (
        Listed(unescape(name), Seal(Digest("sha256", bytes.fromhex(digest)), int(size)))
        for name, size, _, digest in _ROW.findall(page)
    )
    return Page(int(published.timestamp()), tuple(files))


def release(
    name: str, files: Iterable[File], published: int, revision: str, source: str, base: str = ""
) -> bytes:
    """Return the page of a release; its links begin with `base`.

    `published` is in seconds since 1970; `source` is the address it was released from.
    """
    rows = "".join(
        f"<tr><td><a href='{_url(base + file.name)}'>{escape(file.name)}</a></td>"
        f"<td class='n'>{file.seal.size}</td><td><code>{file.seal.digest.hex}</code></td></tr>\n"
        for file in files
    )
    date = datetime.fromtimestamp(published, UTC).strftime("%Y-%m-%d %H:%M:%S")
    origin = escape(source)
    if source.startswith(("http://", "https://")):
        origin = f"<a href='{origin}'>{origin}</a>"
    body = (
        f"<p>Released on {date} from Git commit <code>{escape(revision)}</code> via {origin}.</p>\n"
        "<table>\n<thead><tr><th>File name</th><th>Size</th><th>SHA-256 hash</th></tr></thead>\n"
        f"<tbody>\n{rows}</tbody>\n</table>\n"
    )
    return _page(f"Release {name}", body)


def folder(title: str, entries: Iterable[tuple[str, str, str]]) -> bytes:
    """Return the page of a folder: (link, name, what is said of it) for each entry."""
    rows = "".join(
        f"<tr><td><a href='{_url(link)}'>{escape(name)}</a></td><td>{escape(what)}</td></tr>\n"
        for link, name, what in entries
    )
    return _page(title, f"<table>\n<tbody>\n{rows}</tbody>\n</table>\n")


def day(time: int) -> str:
    """Spell a time in seconds since 1970 as a date."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def _page(title: str, body: str) -> bytes:
    text = escape(title)
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head><meta charset='utf-8'>"
        f"<title>{text}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n<h1>{text}</h1>\n{body}</body>\n</html>\n"
    ).encode()


def _url(text: str) -> str:
    return escape(quote(text, safe="/:?=&+"))
