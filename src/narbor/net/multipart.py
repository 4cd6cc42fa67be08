"""One file in a multipart/form-data body, streamed (RFC 7578)."""

import secrets
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Form(NamedTuple):
    """What goes into Content-Type, and the body, which can be read once."""

    kind: str
    body: Iterator[bytes]


def one_file(chunks: Iterable[bytes], name: str = "file") -> Form:
    """Make a form that has one file, whose content is `chunks`; pieces are not joined.

    Both the field and the file are called `name`, in plain ASCII. The boundary is drawn anew each
    time, 128 bits: that content holds it by chance is out of the question.
    """
    boundary = secrets.token_hex(16)
    return Form(f"multipart/form-data; boundary={boundary}", _body(chunks, name, boundary))


def _body(chunks: Iterable[bytes], name: str, boundary: str) -> Iterator[bytes]:
    yield (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode("ascii")
    yield from chunks
    yield f"\r\n--{boundary}--\r\n".encode("ascii")
