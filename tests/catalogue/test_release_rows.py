"""What releases leave in the file: rows are shared, and go when nobody has them."""

import sqlite3
from pathlib import Path

from narbor.catalogue import Catalogue, Package, Release
from tests.catalogue.world import base

TABLES = ("release", "path", "listed", "package", "output", "offer")


def rows(path: Path) -> dict[str, int]:
    """How many rows each table has."""
    connection = sqlite3.connect(path)
    found = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES
    }
    connection.close()
    return found


def release(catalogue: Catalogue, number: int, numbers: range) -> str:
    """Record a release that lists some paths and has a package of each and one beside."""
    name = f"nixos-25.05pre{number}.0123456789ab"
    catalogue.record_release(
        Release("channel", name, None, "source", "revision", 1), [base(n) for n in numbers]
    )
    made = [
        Package(f"p{n}", "x86_64-linux", f"p-{n}", (("out", base(n)), ("dev", base(n + 5000))))
        for n in numbers
    ]
    catalogue.record_packages("channel", name, made)
    catalogue.publish_release("channel", name, 1)
    return name


def test_releases_share_rows_and_leave_none(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    catalogue = Catalogue.open(path)
    first = release(catalogue, 1, range(100))
    alone = rows(path)
    second = release(catalogue, 2, range(5, 105))
    both = rows(path)
    for table in ("path", "package", "output"):
        assert (both[table] - alone[table]) * 20 == alone[table]
    catalogue.remove_release("channel", first)
    assert rows(path) == alone
    catalogue.remove_release("channel", second)
    assert set(rows(path).values()) == {0}
    catalogue.close()
