"""Narinfos: what a binary cache says of one store path.

    StorePath: /nix/store/HASH-NAME       References: BASE BASE ...    (may be empty)
    URL: nar/FILE                         Deriver: BASE                (absent: not known)
    Compression: zstd                     Sig: KEY:BASE64              (any number)
    FileHash: sha256:NIX32                CA: CONTENT-ADDRESS          (at most one)
    FileSize: BYTES
    NarHash: sha256:NIX32                 ... and fields this house does not know
    NarSize: BYTES

That is Nix's order for writing; any order is read. Reading goes by position, as in Nix: a value
begins two bytes behind the colon and ends at the next line feed (nix: src/libstore/nar-info.cc).
The invariant: a text is read exactly as Nix reads it, or refused. It is refused as well where Nix
is generous and two readers might differ: a field given twice, a blank line, a control character.

Signed are the path, NarHash, NarSize and the references (`fingerprint`); nothing else is.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from narbor.errors import Rejected
from narbor.names import contentaddress, digest, keys, storepath
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item
from narbor.names.storepath import StorePath

T = TypeVar("T")

LONGEST: Final = 1 << 20

# What Nix 2.35 knows by name; older ones crash on any other word. Not all can be unpacked here.
COMPRESSIONS: Final = frozenset(
    {"none", "br", "bzip2", "compress", "grzip", "gzip", "lrzip", "lz4", "lzip", "lzma", "lzop"}
    | {"xz", "zstd"}
)

_CONTROL: Final = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
FIELDS: Final = frozenset(
    {"StorePath", "URL", "Compression", "FileHash", "FileSize", "NarHash", "NarSize"}
    | {"References", "Deriver", "Sig", "CA"}
)


class MalformedNarinfo(Rejected):
    """A text is no narinfo that Nix would read."""


@dataclass(frozen=True, slots=True)
class Narinfo:
    """A claim about one store path, and where its archive lies. Nobody has vouched for it yet.

    `references` and `deriver` are base names; references and `signatures` stand in the order they
    came, each reference once. `ca` is in Nix's own spelling. `extra` holds the fields Nix does not
    know, and `text` the whole as it came; two claims that differ in `text` alone are equal.
    """

    path: StorePath
    url: str
    compression: str
    file_hash: Digest | None
    file_size: int | None
    seal: Seal
    references: tuple[str, ...]
    deriver: str | None
    signatures: tuple[str, ...]
    ca: str | None
    extra: tuple[tuple[str, str], ...]
    text: bytes = field(compare=False, repr=False)


def parse(text: bytes, limit: int = LONGEST) -> Narinfo:
    """Read a narinfo of at most `limit` bytes; raises MalformedNarinfo, which names the field."""
    if len(text) > limit:
        raise MalformedNarinfo(f"a narinfo of {len(text)} bytes: more than {limit}")
    fields = _Fields(_lines(text))
    path = _path(fields.needed("StorePath"))
    narhash = _digest("NarHash", fields.needed("NarHash"))
    if narhash.algorithm != "sha256":
        raise MalformedNarinfo(f"{path}: NarHash {narhash} is not sha256")
    size = _number("NarSize", fields.needed("NarSize"))
    if not size:
        raise MalformedNarinfo(f"{path}: NarSize is 0")
    compression = fields.one("Compression") or "bzip2"
    if compression not in COMPRESSIONS:
        raise MalformedNarinfo(f"{path}: the compression {compression!r} is not known")
    ca = fields.one("CA")
    return Narinfo(
        path,
        fields.needed("URL"),
        compression,
        fields.read("FileHash", _digest),
        fields.read("FileSize", _number) or None,
        Seal(narhash, size),
        tuple(dict.fromkeys(_base("References", base) for base in fields.words("References"))),
        fields.read("Deriver", _deriver),
        tuple(map(_signature, fields.all("Sig"))),
        _address(ca) if ca else None,
        tuple((name, value) for name, value in fields.fields if name not in FIELDS),
        text,
    )


def write(narinfo: Narinfo) -> bytes:
    """Spell the fields anew, in Nix's order, references sorted, unknown fields last."""
    return _spell(
        [
            ("StorePath", str(narinfo.path)),
            ("URL", narinfo.url),
            ("Compression", narinfo.compression),
            ("FileHash", narinfo.file_hash),
            ("FileSize", narinfo.file_size),
            ("NarHash", narinfo.seal.digest),
            ("NarSize", narinfo.seal.size),
            ("References", " ".join(sorted(set(narinfo.references)))),
            ("Deriver", narinfo.deriver),
            *(("Sig", signature) for signature in narinfo.signatures),
            ("CA", narinfo.ca),
            *narinfo.extra,
        ]
    )


def of_item(
    item: Item,
    url: str,
    compression: str,
    file_hash: Digest | None,
    file_size: int | None,
    signatures: Sequence[str],
) -> bytes:
    """Write the narinfo of `item` as found under `url`, with exactly these signatures."""
    return write(
        Narinfo(
            item.path,
            url,
            compression,
            file_hash,
            file_size,
            item.seal,
            item.references,
            item.deriver,
            tuple(signatures),
            item.ca,
            item.extra,
            b"",
        )
    )


def fingerprint(path: StorePath, seal: Seal, references: Iterable[str]) -> str:
    """Return the text that signatures are made over; `references` are base names."""
    full = ",".join(f"{path.store}/{base}" for base in sorted(set(references)))
    return f"1;{path};{seal.digest};{seal.size};{full}"


def _lines(text: bytes) -> list[tuple[str, str]]:
    """Cut the text into names and values."""
    odd = _CONTROL.search(text)
    if odd is not None:
        raise MalformedNarinfo(f"a narinfo with the control character {odd[0]!r} at {odd.start()}")
    if not text.endswith(b"\n"):
        raise MalformedNarinfo(f"a narinfo that does not end with a line feed: {text[-40:]!r}")
    fields = []
    for number, line in enumerate(text[:-1].split(b"\n"), 1):
        name, colon, value = line.partition(b":")
        if not name or not colon:
            raise MalformedNarinfo(f"line {number} of a narinfo is no field: {line[:80]!r}")
        if not value:
            # Nix would skip the line feed and take the next line for the value.
            raise MalformedNarinfo(f"line {number} of a narinfo lacks the blank behind {line!r}")
        try:
            fields.append((name.decode(), value[1:].decode()))
        except UnicodeDecodeError as error:
            raise MalformedNarinfo(f"line {number} of a narinfo is no UTF-8: {error}") from error
    return fields


class _Fields:
    """The fields of one narinfo, asked for by name."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._values.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def one(self, name: str) -> str | None:
        values = self.all(name)
        if len(values) > 1:
            raise MalformedNarinfo(f"a narinfo with {name} twice: {values[0]!r}, {values[1]!r}")
        return values[0] if values else None

    def needed(self, name: str) -> str:
        value = self.one(name)
        if not value:
            raise MalformedNarinfo(f"a narinfo without {name}")
        return value

    def words(self, name: str) -> list[str]:
        return [word for word in (self.one(name) or "").split(" ") if word]

    def read(self, name: str, reader: Callable[[str, str], T]) -> T | None:
        value = self.one(name)
        return None if value is None else reader(name, value)


def _path(value: str) -> StorePath:
    try:
        return storepath.parse(value)
    except storepath.MalformedStorePath as error:
        raise MalformedNarinfo(f"StorePath: {error}") from error


def _digest(name: str, value: str) -> Digest:
    try:
        return digest.parse(value)
    except digest.MalformedDigest as error:
        raise MalformedNarinfo(f"{name}: {error}") from error


def _number(name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value) or int(value) >= 1 << 64:
        raise MalformedNarinfo(f"{name}: {value!r} is no number of bytes")
    return int(value)


def _base(name: str, value: str) -> str:
    try:
        return storepath.of_base(value, "").base
    except storepath.MalformedStorePath as error:
        raise MalformedNarinfo(f"{name}: {error}") from error


def _deriver(name: str, value: str) -> str | None:
    return None if value == "unknown-deriver" else _base(name, value)


def _signature(value: str) -> str:
    try:
        keys.Signature.parse(value)
    except keys.CorruptSignature as error:
        raise MalformedNarinfo(f"Sig: {error}") from error
    return value


def _address(value: str) -> str:
    try:
        return str(contentaddress.parse(value))
    except contentaddress.MalformedContentAddress as error:
        raise MalformedNarinfo(f"CA: {error}") from error


def _spell(fields: Iterable[tuple[str, object]]) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in fields if value is not None).encode()
