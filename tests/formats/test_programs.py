"""programs.sqlite: read by the query of command-not-found, the same bytes for the same programs."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import programs

WORDS = st.text(min_size=1, max_size=8)
ROWS = st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=20)


@given(ROWS, st.randoms(use_true_random=False))
def test_what_is_written_is_read_again(rows: list[programs.Program], luck: Random) -> None:
    data = programs.write(rows)
    assert programs.parse(data) == tuple(sorted(set(rows)))
    other = [*rows, *rows]
    luck.shuffle(other)
    assert programs.write(other) == data


def test_command_not_found_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "programs.sqlite"
    file.write_bytes(programs.write([("hx", "x86_64-linux", "helix"), ("hx", "s", "other")]))
    # As nixpkgs has it: nixos/modules/programs/command-not-found/command-not-found.pl
    query = "select package from Programs where system = ? and name = ?"
    with closing(sqlite3.connect(file)) as database:
        assert database.execute(query, ("x86_64-linux", "hx")).fetchall() == [("helix",)]


@given(st.binary(max_size=2000), st.booleans())
def test_junk_is_refused(data: bytes, begins_well: bool) -> None:
    with pytest.raises(programs.MalformedPrograms):
        programs.parse(b"SQLite format 3\0" + data if begins_well else data)
