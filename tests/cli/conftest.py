"""What the tests of the command line share."""

from pathlib import Path

import pytest

from tests.cli import program
from tests.cli.program import Farm, Program


@pytest.fixture
def narbor(tmp_path: Path) -> Program:
    """The program with an empty home."""
    return Program(tmp_path / "home")


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A small farm in a folder."""
    return program.grow(tmp_path / "farm")


@pytest.fixture
def filled(narbor: Program, farm: Farm) -> Program:
    """The program with a home that holds the small farm."""
    program.fill(narbor.home, farm)
    return narbor
