"""The vectors of docs/formats/profile.md: small descriptions of inputs, and what must come out.

Contents are lists of parts. `{"stream": SEED, "length": N}` is the first N bytes of the blocks
SHA-256(SEED, number of the block as 8 bytes, big-endian), from number 0 on;
`{"text": T, "times": N}` is the UTF-8 of T, N times.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from narbor.formats import nar

FOLDER = Path(__file__).parent.parent / "vectors" / "profile"


def load(name: str) -> list[dict[str, Any]]:
    """Read one file of vectors."""
    found: list[dict[str, Any]] = json.loads((FOLDER / name).read_text("utf-8"))
    return found


def stream(seed: str, length: int) -> bytes:
    """Return `length` bytes of the stream that `seed` names."""
    blocks = -(-length // 32)
    name = seed.encode()
    made = b"".join(sha256(name + at.to_bytes(8, "big")).digest() for at in range(blocks))
    return made[:length]


def content(parts: list[dict[str, Any]]) -> bytes:
    """Return the bytes that the parts stand for."""
    out = []
    for part in parts:
        if "stream" in part:
            out.append(stream(part["stream"], part["length"]))
        else:
            out.append(part["text"].encode() * part.get("times", 1))
    return b"".join(out)


def events(tree: dict[str, Any], name: bytes = b"") -> Iterator[nar.Event[bytes]]:
    """Give the events of a described tree."""
    match tree["type"]:
        case "file":
            data = content(tree["content"])
            yield nar.File(name, tree.get("executable", False), len(data))
            if data:
                yield nar.Data(data)
        case "symlink":
            yield nar.Symlink(name, tree["target"].encode())
        case "directory":
            yield nar.Directory(name)
            for below in sorted(tree["entries"], key=str.encode):
                yield from events(tree["entries"][below], below.encode())
            yield nar.END
        case "many":  # `count` equal files, named PREFIX and their number in five digits
            yield nar.Directory(name)
            for number in range(tree["count"]):
                yield from events(tree["each"], f"{tree['prefix']}{number:05}".encode())
            yield nar.END
