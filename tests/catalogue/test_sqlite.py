"""The file: several processes, versions of the schema, and what goes wrong."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from narbor.catalogue import Catalogue
from narbor.catalogue.sqlite import VERSION, Database, migrate, migrations, statements
from narbor.errors import Refused, Unavailable
from tests.catalogue.world import admitted, base, hash_part, item

_WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from narbor.catalogue import Catalogue
from tests.catalogue.world import admitted, item
catalogue = Catalogue.open(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    admission = catalogue.begin_admission(1, sys.argv[2])
    catalogue.record([admitted(item(number, [number - 1] if number else []), admission)])
    catalogue.end_admission(admission)
catalogue.close()
"""


def _fill(catalogue: Catalogue, *numbers: int) -> None:
    admission = catalogue.begin_admission(1, "test")
    catalogue.record([admitted(item(number), admission) for number in numbers])
    catalogue.end_admission(admission)


def test_a_catalogue_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    first = Catalogue.open(path)
    _fill(first, 1, 2)
    first.close()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    second = Catalogue.open(path, write=False)
    assert list(second.items()) == [item(1), item(2)]
    second.close()


def test_an_admission_number_is_not_given_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    first = Catalogue.open(path)
    number = first.begin_admission(1, "a")
    first.end_admission(number)
    first.close()
    second = Catalogue.open(path)
    assert second.begin_admission(1, "b") > number
    second.close()


def test_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(start), str(start + 20)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        for start in (60, 40, 20, 0)
    ]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    catalogue = Catalogue.open(path, write=False)
    assert catalogue.count() == 80
    assert all(catalogue.complete(base(number)) for number in range(80))
    assert catalogue.admissions() == ()
    catalogue.close()


def test_a_reader_sees_what_another_wrote_and_that_it_did(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    writer = Catalogue.open(path)
    reader = Catalogue.open(path, write=False)
    before = reader.version()
    assert reader.find(hash_part(1)) is None
    _fill(writer, 1)
    assert reader.version() != before
    assert reader.find(hash_part(1)) == item(1)
    writer.close()
    reader.close()


def test_a_reader_never_writes(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with pytest.raises(Refused, match="no catalogue"):
        Catalogue.open(path, write=False)
    assert list(tmp_path.iterdir()) == []
    Catalogue.open(path).close()
    reader = Catalogue.open(path, write=False)
    with pytest.raises(Refused, match="reading only"):
        reader.pin(base(1), 1, False)
    reader.close()


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    Catalogue.open(path).close()
    _set_version(path, VERSION + 1)
    for write in (True, False):
        with pytest.raises(Refused, match=rf"version {VERSION + 1}.* {VERSION}"):
            Catalogue.open(path, write=write)
    assert _version(path) == VERSION + 1


def test_an_empty_file_is_filled_by_a_writer_and_refused_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    path.touch()
    with pytest.raises(Refused, match="version 0"):
        Catalogue.open(path, write=False)
    Catalogue.open(path).close()
    assert _version(path) == VERSION


def test_migrations_run_forward_from_the_version_that_is_there() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    steps = {2: "INSERT INTO t VALUES (2);", 3: "INSERT INTO t VALUES (3);\n-- ; done\n"}
    migrate(connection, 1, "CREATE TABLE t (n);", {})
    migrate(connection, 3, "CREATE TABLE never (n);", steps)
    migrate(connection, 3, "CREATE TABLE never (n);", steps)
    assert connection.execute("SELECT n FROM t").fetchall() == [(2,), (3,)]
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("t",)]
    connection.close()


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, 1, "CREATE TABLE t (n);\nCREATE TABLE t (n);", {})
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []
    connection.close()
    assert _version(path) == 0


def test_no_migration_is_missing() -> None:
    assert sorted(migrations()) == list(range(2, VERSION + 1))


def test_who_asks_for_the_version_does_not_wait_for_who_writes(tmp_path: Path) -> None:
    database = Database(tmp_path / "catalogue.sqlite", True)
    with database.writing() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("UPDATE total SET items = 5")
        before = pool.submit(database.version).result(timeout=20)
        assert pool.submit(database.rows, "SELECT items FROM total").result(timeout=20) == [(0,)]
    assert database.version() != before
    database.close()


def test_statements_are_split_where_sqlite_would() -> None:
    script = "SELECT ';\n';\n-- one; two\nSELECT 2;\n"
    assert list(statements(script)) == ["SELECT ';\n';\n", "-- one; two\nSELECT 2;\n"]


def test_what_is_no_database_is_unavailable_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    path.write_bytes(b"not a database at all\n" * 100)
    for write in (True, False):
        with pytest.raises(Unavailable, match=r"catalogue\.sqlite.*not a database"):
            Catalogue.open(path, write=write)
    assert path.read_bytes().startswith(b"not a database")
    with pytest.raises(Unavailable, match="unable to open"):
        Catalogue.open(tmp_path / "no" / "such.sqlite")


def test_damage_is_unavailable_and_never_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    catalogue = Catalogue.open(path)
    _fill(catalogue, *range(200))
    catalogue.close()
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xee" * (len(data) - 4096))
    damaged = Catalogue.open(path, write=False)
    with pytest.raises(Unavailable, match="malformed"):
        damaged.find(hash_part(1))
    damaged.close()


def test_after_close_nothing_is_read_or_written(tmp_path: Path) -> None:
    catalogue = Catalogue.open(tmp_path / "catalogue.sqlite")
    pages = catalogue.items()
    catalogue.close()
    catalogue.close()
    with pytest.raises(Unavailable, match="closed"):
        next(pages)
    with pytest.raises(Unavailable, match="closed"):
        catalogue.pin(base(1), 1, False)


def test_a_rebuilt_world_costs_little(tmp_path: Path) -> None:
    """96 items with six references each: less than 150 KB, or 0.06 % of their 240 MB."""
    path = tmp_path / "catalogue.sqlite"
    catalogue = Catalogue.open(path)
    worlds = []
    for start in (0, 1000):
        admission = catalogue.begin_admission(1, "test")
        made = [item(start + n, [start + m for m in range(max(0, n - 6), n)]) for n in range(96)]
        catalogue.record([admitted(each, admission) for each in made])
        catalogue.end_admission(admission)
        catalogue.close()
        worlds.append(path.stat().st_size)
        catalogue = Catalogue.open(path)
    catalogue.close()
    assert worlds[1] - worlds[0] < 150_000


def _version(path: Path) -> int:
    connection = sqlite3.connect(path)
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    connection.close()
    return found


def _set_version(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
