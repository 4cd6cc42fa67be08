"""Values <-> columns: hash parts, digests, words, items, and the texts of claims."""

import base64
import json
import sqlite3
import zlib
from typing import Final

from narbor.catalogue.sqlite import Database, Row
from narbor.names import digest, storepath
from narbor.names.base32 import NIX_ALPHABET
from narbor.names.cid import Cid
from narbor.names.digest import Digest, Seal
from narbor.names.item import Item
from narbor.names.storepath import StorePath

COLUMNS: Final = (
    "id, hash, name, store, nar_hash, nar_size, refs, deriver, signatures, ca, extra, "
    "profile, tree, archive, origin"
)
_HASH_LETTERS: Final = 32
_TO_NUMBER: Final = str.maketrans(NIX_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_FROM_RFC4648: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", NIX_ALPHABET)


def key(hash_part: str) -> bytes | None:
    """Return the 20 bytes a hash part is kept as; None if it is none."""
    if not storepath.is_hash_part(hash_part):
        return None
    return int(hash_part.translate(_TO_NUMBER), 32).to_bytes(20, "big")


def hash_part(kept: bytes) -> str:
    """Return the hash part that `key` turned into `kept`."""
    return base64.b32encode(kept).decode().translate(_FROM_RFC4648)


def split(base: str) -> tuple[bytes, str] | None:
    """Split a base name into the key of its hash part and its name; None if it is none."""
    found = key(base[:_HASH_LETTERS])
    if found is None or base[_HASH_LETTERS : _HASH_LETTERS + 1] != "-":
        return None
    return found, base[_HASH_LETTERS + 1 :]


def keep_digest(value: Digest) -> bytes | str:
    """Return the column value of a digest."""
    return value.value if value.algorithm == "sha256" else str(value)


def digest_of(kept: bytes | str) -> Digest:
    """Return the digest that `keep_digest` turned into `kept`."""
    return Digest("sha256", kept) if isinstance(kept, bytes) else digest.parse(kept)


class Words:
    """Texts that many rows share, by their ids. Rows of `word` never change, so they are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._texts: dict[int, str] = {}

    def text(self, id: int) -> str:
        """Return the text with this id."""
        found = self._texts.get(id)
        if found is None:
            found = str(self._database.rows("SELECT text FROM word WHERE id = ?", (id,))[0][0])
            self._texts[id] = found
        return found


def word(connection: sqlite3.Connection, text: str) -> int:
    """Return the id of a text, given it now if it has none, within the open transaction."""
    found = connection.execute("SELECT id FROM word WHERE text = ?", (text,)).fetchone()
    if found is not None:
        return int(found[0])
    return int(connection.execute("INSERT INTO word (text) VALUES (?)", (text,)).lastrowid or 0)


def written_word(connection: sqlite3.Connection, id: int) -> str:
    """Return a text by its id, also one that this transaction has only just written."""
    return str(connection.execute("SELECT text FROM word WHERE id = ?", (id,)).fetchone()[0])


def item(row: Row, store: str, profile: str, origin: str) -> Item:
    """Make an item of a row of COLUMNS; the texts of its three words are given."""
    refs, signatures, extra = row[6], row[8], row[10]
    return Item(
        path=StorePath(store, hash_part(row[1]), row[2]),
        seal=Seal(digest_of(row[4]), row[5]),
        references=tuple(refs.split(" ")) if refs else (),
        deriver=row[7],
        signatures=tuple(signatures.split("\n")) if signatures else (),
        ca=row[9],
        extra=tuple((name, value) for name, value in json.loads(extra)) if extra else (),
        profile=profile,
        tree=Cid(row[12]),
        archive=Cid(row[13]),
        origin=origin,
    )


def item_values(connection: sqlite3.Connection, id: int, kept: bytes, value: Item) -> Row:
    """Return the column values, in the order of COLUMNS, under which `item` finds `value`."""
    return (
        id,
        kept,
        value.path.name,
        word(connection, value.path.store),
        keep_digest(value.seal.digest),
        value.seal.size,
        " ".join(value.references),
        value.deriver,
        "\n".join(value.signatures),
        value.ca,
        json.dumps(value.extra) if value.extra else None,
        word(connection, value.profile),
        value.tree,
        value.archive,
        word(connection, value.origin),
    )


def dictionary(value: Item) -> bytes:
    """Return what the texts of an item's claims are likely to repeat, for `deflate`.

    Only fields that never change go in: signatures are united, roots and origin are ours. The
    most likely text stands last, as RFC 1950 advises. Changing this needs a migration.
    """
    store, seal = value.path.store, value.seal
    full = ",".join(f"{store}/{base}" for base in value.references)
    narinfo = (
        f"StorePath: {value.path}\nURL: nar/.nar.zst\nURL: nar/.nar.xz\nCompression: zstd\n"
        f"Compression: xz\nFileHash: sha256:\nFileSize: {seal.size}\nNarHash: {seal.digest}\n"
        f"NarSize: {seal.size}\nReferences: {' '.join(value.references)}\n"
        f"Deriver: {value.deriver or ''}\nSystem: x86_64-linux\nSig: cache.nixos.org-1:"
    )
    return f"{narinfo}1;{value.path};{seal.digest};{seal.size};{full}".encode()


def deflate(text: bytes, prior: bytes = b"") -> bytes:
    """Compress a text, raw DEFLATE, with `prior` as dictionary."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=prior)
    return packer.compress(text) + packer.flush()


def inflate(packed: bytes, prior: bytes = b"") -> bytes:
    """Return the text that `deflate` packed with the same `prior`."""
    unpacker = zlib.decompressobj(-15, zdict=prior)
    return unpacker.decompress(packed) + unpacker.flush()
