"""What the tests of the configuration share."""

from pathlib import Path

import pytest

from tests.cli.program import Program


@pytest.fixture
def narbor(tmp_path: Path) -> Program:
    """The program with an empty home."""
    return Program(tmp_path / "home")
