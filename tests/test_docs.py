"""The documents against what they speak of."""

import ast
import re
from pathlib import Path
from typing import TypeGuard

from tests import checklist
from tests.test_house_rules import FLOORS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def rows(document: Path) -> list[list[str]]:
    """Return the cells of every table row in a document, heads and rules left out."""
    found = []
    for line in document.read_text("utf-8").splitlines():
        if line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_floors_are_those_of_the_house_rules() -> None:
    table = [row for row in rows(ROOT / "ARCHITECTURE.md") if row[0].isdecimal()]
    assert [row[1] for row in table] == FLOORS
    assert [int(row[0]) for row in table] == list(range(1, len(FLOORS) + 1))


def test_the_architecture_is_two_pages() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines()) <= 120


def test_decisions_are_numbered_without_gap_and_one_page() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for number, path in enumerate(decisions, 1):
        assert path.name.startswith(f"{number:04}-"), path.name
        text = path.read_text("utf-8")
        assert text.startswith(f"# {number}. "), path.name
        assert len(text.splitlines()) <= 60, path.name


def test_files_that_are_named_are_there() -> None:
    """A path in backquotes stands for a file of the repository, or of the package."""
    absent = []
    for document in DOCUMENTS:
        for name in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|sql|json))`", document.read_text()):
            if not any((base / name).exists() for base in (ROOT, ROOT / "src" / "narbor")):
                absent.append(f"{document.relative_to(ROOT)}: {name}")
    assert not absent


def test_the_checklist_has_every_row_once() -> None:
    assert [row.number for row in checklist.rows()] == list(range(1, 151))


def test_every_ticked_row_names_tests_that_are_there() -> None:
    absent = []
    for row in checklist.rows():
        assert bool(row.tests) == row.ticked, f"row {row.number}"
        for test in row.tests:
            file, _, function = test.partition("::")
            path = ROOT / file
            names = (
                {node.name for node in ast.parse(path.read_text("utf-8")).body if is_test(node)}
                if path.is_file()
                else set()
            )
            if function not in names:
                absent.append(f"row {row.number}: {test}")
    assert not absent


def is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    """Tell whether a statement is a test."""
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
