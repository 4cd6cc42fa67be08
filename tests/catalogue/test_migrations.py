"""A store of an older schema is brought to the newest, and loses nothing on the way."""

import sqlite3
from pathlib import Path

import pytest

from narbor.catalogue import Catalogue, Release
from narbor.catalogue.sqlite import VERSION
from tests.catalogue.world import admitted, base, item

# What each version brought: a store of the version before has none of it.
NEW = {
    2: ("offer", "output", "package", "listed", "path", "release", "channel"),
    3: ("absence", "file"),
    8: (
        "item_by_tree",
        "item_by_archive_root",
        "root_by_tree",
        "root_by_archive",
        "file_by_root",
        "tarball_by_root",
    ),
    9: ("kept_item",),
    7: ("kept",),
    6: ("record",),
    5: ("publication",),
    4: ("unfetched", "checkout", "named", "revision", "tarball"),
}


def schema(path: Path) -> list[tuple[str, str]]:
    """What a database consists of, by name."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return found


def age(path: Path, version: int) -> None:
    """Make a new store one of an older version."""
    connection = sqlite3.connect(path)
    for table in (table for n in range(VERSION, version, -1) for table in NEW[n]):
        connection.execute(f"DROP {'INDEX' if '_by_' in table else 'TABLE'} {table}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("version", range(1, VERSION))
def test_an_older_store_becomes_as_a_new_one(tmp_path: Path, version: int, write: bool) -> None:
    path = tmp_path / "catalogue.sqlite"
    catalogue = Catalogue.open(path)
    number = catalogue.begin_admission(1, "test")
    catalogue.record([admitted(item(1), number)])
    catalogue.end_admission(number)
    catalogue.close()
    expected = schema(path)
    age(path, version)
    assert schema(path) != expected
    catalogue = Catalogue.open(path, write=write)
    assert schema(path) == expected
    catalogue.close()
    catalogue = Catalogue.open(path)
    assert list(catalogue.items()) == [item(1)]
    release = Release("channel", "nixos-25.05", None, "source", "revision", 1)
    catalogue.record_release(release, [base(1)])
    assert catalogue.releases() == (release,)
    catalogue.close()
