"""Pages for people: what is in a directory, and what a document of the DAG codecs says.

A directory's page is made from its own blocks: sizes are the links' (with all below), no child is
read. The layout of crumbs and links is what the gateway conformance suite looks for.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final
from urllib.parse import quote

from narbor.doors.ipfs.site import PATH, Site
from narbor.formats.dagcbor import Link, Value
from narbor.formats.unixfs import Link as Entry
from narbor.names import cidtext

VERSION: Final = "narbor1"
"""Part of the pages' ETags: to be changed with what the pages look like."""

MOST: Final = 10_000
"""Entries that a page shows."""

_STYLE: Final = (
    "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}td{padding:.15em .6em;border-top:1px solid #ddd}"
    "td+td{text-align:right;white-space:nowrap}a{text-decoration:none}"
    ".ipfs-hash{font-family:monospace;color:#777}"
)


def directory(
    path: str,
    parts: Sequence[bytes],
    here: bytes,
    entries: Iterable[tuple[bytes, Entry]],
    site: Site = PATH,
) -> bytes:
    """Write the page of a directory. `path` is `/ipfs/CID` or `/ipns/NAME`, `parts` the rest.

    Each entry is its CID as it stands, and its link. `site`: how all of them are spelled.
    """
    base = _href(site.own(path), parts)
    rows = []
    if parts:
        rows.append(f'<tr><td><a href="{base}/..">..</a></td><td></td><td></td></tr>')
    for number, (written, entry) in enumerate(entries):
        if number == MOST:
            rows.append("<tr><td>… and more, which this page does not show</td></tr>")
            break
        rows.append(_row(base, written, entry, site))
    title = f"Index of {_text(path, parts)}"
    crumbs = _crumbs(path, parts, site)
    body = f"<p>Index of {crumbs}</p><p class=ipfs-hash>{cidtext.text(here)}</p>"
    return _page(title, body + f"<table>{''.join(rows)}</table>")


def _row(base: str, written: bytes, entry: Entry, site: Site) -> str:
    name = cidtext.text(written)
    # Twice escaped, as the suite has it: the name in a query is that of a URL's last part.
    saved = quote(quote(entry.name, safe=""), safe="")
    shown = escape(entry.name.decode("utf-8", "replace"))
    link = site.link(name, f"?filename={saved}")
    return (
        f'<tr><td><a href="{base}/{quote(entry.name, safe="")}">{shown}</a></td>'
        f'<td><a class="ipfs-hash" translate="no" {link}>'
        f"{name[:8]}…{name[-4:]}</a></td><td>{amount(entry.tsize)}</td></tr>"
    )


def document(
    path: str, parts: Sequence[bytes], here: bytes, value: Value, codec: str, site: Site = PATH
) -> bytes:
    """Write the page of a document: what it says, with its links to be followed."""
    name = cidtext.text(here)
    links = "".join(
        f"<li><a {site.link(text)}>{text}</a></li>" for text in dict.fromkeys(_links(value))
    )
    said = escape(json.dumps(_plain(value), indent=2, ensure_ascii=False))
    own = _href("", parts) or "/" if site.isolated else f"/ipfs/{name}"
    body = (
        f"<p>{_crumbs(path, parts, site)}</p><p class=ipfs-hash>{name} ({codec})</p>"
        f'<p><a href="{own}?format={codec}">as it is</a> · '
        f'<a href="{own}?format=raw">the block</a></p><pre>{said}</pre><ul>{links}</ul>'
    )
    return _page(_text(path, parts), body)


def _plain(value: Value) -> object:
    """Spell a value as DAG-JSON would, for reading."""
    if isinstance(value, Link):
        return {"/": cidtext.text(value.cid)}
    if isinstance(value, bytes):
        return {"/": {"bytes": f"{len(value)} bytes: {value[:64].hex()}"}}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _links(value: Value) -> Iterable[str]:
    if isinstance(value, Link):
        yield cidtext.text(value.cid)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _links(each)
    elif isinstance(value, list):
        for each in value:
            yield from _links(each)


def _crumbs(path: str, parts: Sequence[bytes], site: Site) -> str:
    """Spell a path so that each of its parts is a link."""
    _, space, name = path.split("/", 2)
    base = site.crumb(path)
    top = f"{_href(base, ())}{'/' if site.domain is not None else ''}"
    crumbs = [f'/{space}/<a href="{top}">{escape(name)}</a>']
    for number, part in enumerate(parts, 1):
        shown = escape(part.decode("utf-8", "replace"))
        crumbs.append(f'<a href="{_href(base, parts[:number])}">{shown}</a>')
    return "/".join(crumbs)


def _href(path: str, parts: Sequence[bytes]) -> str:
    return "/".join((escape(path), *(quote(part, safe="") for part in parts)))


def _text(path: str, parts: Sequence[bytes]) -> str:
    return escape("/".join((path, *(part.decode("utf-8", "replace") for part in parts))))


def _page(title: str, body: str) -> bytes:
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    ).encode("utf-8", "replace")


def amount(size: int) -> str:
    """Spell a number of bytes for a person."""
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{size} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
