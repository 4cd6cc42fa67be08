"""What a file is, by its name, else by its first bytes.

A small table of what people publish, the same on every machine (the standard library's reads files
of the system). Text is UTF-8 or it is not text.
"""

import json
import re
from typing import Final

BINARY: Final = "application/octet-stream"
PLAIN: Final = "text/plain; charset=utf-8"
HEAD: Final = 16 << 10
"""Bytes that `sniff` wants to see, if there are so many."""

_TEXTS: Final = {
    "html": "html htm",
    "css": "css",
    "javascript": "js mjs",
    "csv": "csv",
    "markdown": "md markdown",
    "xml": "xml",
    "plain": "txt text log nix conf cfg ini toml yaml yml sh py c h cc cpp hpp rs go hs scm el pl"
    " rb lua java narinfo ls asc sig patch diff drv",
}
_OTHERS: Final = {
    "application/json": "json map",
    "application/pdf": "pdf",
    "application/wasm": "wasm",
    "application/gzip": "gz tgz",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/x-bzip2": "bz2",
    "application/zstd": "zst",
    "application/zip": "zip",
    "application/x-nix-nar": "nar",
    "application/vnd.ipld.car": "car",
    "application/x-iso9660-image": "iso",
    "application/xhtml+xml": "xhtml",
    "application/manifest+json": "webmanifest",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "application/postscript": "ps eps",
    "application/x-sqlite3": "sqlite",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "image/avif": "avif",
    "image/gif": "gif",
    "image/jpeg": "jpg jpeg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/ogg": "oga ogg opus",
    "audio/wav": "wav",
    "audio/mp4": "m4a",
    "video/mp4": "mp4 m4v",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
}
_BY_ENDING: Final = {
    ending: f"text/{name}; charset=utf-8"
    for name, endings in _TEXTS.items()
    for ending in endings.split()
} | {ending: name for name, endings in _OTHERS.items() for ending in endings.split()}

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"PK\x03\x04", "application/zip"),
    (b"\0asm", "application/wasm"),
    (b"\x0d\0\0\0\0\0\0\0nix-archive-1", "application/x-nix-nar"),
    (b"wOF2", "font/woff2"),
    (b"OggS", "audio/ogg"),
)
_HTML: Final = re.compile(rb"\s*<(?:!doctype html|html|head|body)[\s>]", re.IGNORECASE)
_SVG: Final = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<svg[\s>]", re.DOTALL)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def of_name(name: str) -> str | None:
    """Return the type that a file's name tells; None where it tells none."""
    return _BY_ENDING.get(name.rpartition(".")[2].lower()) if "." in name else None


def sniff(head: bytes, whole: bool) -> str:
    """Return the type that the first bytes of a file tell; `whole`: there are no more."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if _CONTROL.search(head) or not _is_utf8(head, whole):
        return BINARY
    if _SVG.match(head):
        return "image/svg+xml"
    if _HTML.match(head):
        return "text/html; charset=utf-8"
    if whole and head.lstrip()[:1] in (b"{", b"[") and _is_json(head):
        return "application/json"
    return PLAIN


def _is_utf8(head: bytes, whole: bool) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last letter may be cut.
        return not whole and error.start > len(head) - 4
    return True


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
