"""The access log: one line an answer, whatever a client says."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.errors import Refused
from narbor.serve.access import AccessLog


def line(raw_path: bytes, agent: bytes, query: bytes = b"") -> str:
    """Return what is written for one answer."""
    reading, writing = os.pipe()
    scope = {
        "client": ("10.0.0.7", 4),
        "method": "GET",
        "raw_path": raw_path,
        "query_string": query,
        "http_version": "2",
        "headers": [(b"host", b"x"), (b"user-agent", agent)],
    }
    try:
        AccessLog(writing, lambda: 1_795_274_621.0).write(scope, 206, 17, 0.25)
        return os.read(reading, 1 << 20).decode()
    finally:
        os.close(reading)
        os.close(writing)


def test_the_common_format() -> None:
    assert line(b"/x.narinfo", b"Nix/2.34", b"a=b") == (
        '10.0.0.7 - - [21/Nov/2026:15:23:41 +0000] "GET /x.narinfo?a=b HTTP/2" 206 17 0.2500 '
        '"Nix/2.34"\n'
    )


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_nobody_writes_a_line_of_his_own(path: bytes, agent: bytes) -> None:
    text = line(path, agent)
    assert len(text.splitlines()) == 1
    assert text.count('"') == 4
    assert text.isprintable() or text[:-1].isprintable() or "\xad" in text or "\xa0" in text


def test_it_is_appended_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    scope: dict[str, Any] = {
        "client": None,
        "method": "GET",
        "raw_path": b"/",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [],
    }
    log = AccessLog.open(str(path))
    log.write(scope, 200, 1, 0.1)
    log.write(scope, 200, 1, 0.1)
    assert path.read_text().startswith("before\n- - - [")
    assert len(path.read_text().splitlines()) == 3


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no log"):
        AccessLog.open(str(tmp_path / "no" / "log"))
