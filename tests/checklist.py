"""The checklist (docs/checklist.md): which tests its ticked rows name, and which of them passed."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "checklist.md"
_ROW = re.compile(r"\| (\d+) \| (.+) \| \[([x ])\] \| ?(.*) ?\|")

_passed: set[str] = set()
_not_passed: set[str] = set()


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number, what it says, whether it is ticked, the tests it names."""

    number: int
    feature: str
    ticked: bool
    tests: tuple[str, ...]


def rows() -> list[Row]:
    """Read the checklist."""
    found = []
    for line in DOCUMENT.read_text("utf-8").splitlines():
        if match := _ROW.fullmatch(line):
            tests = tuple(re.findall(r"`(\S+)`", match[4]))
            found.append(Row(int(match[1]), match[2], match[3] == "x", tests))
    return found


def note(test: str, passed: bool) -> None:
    """Note how one test went; with its parameters, if it has some."""
    name = test.partition("[")[0]
    (_passed if passed else _not_passed).add(name)


def not_shown() -> dict[str, list[int]]:
    """Return the tests named by ticked rows that did not pass in this run, with these rows."""
    found: dict[str, list[int]] = {}
    for row in rows():
        for test in row.tests if row.ticked else ():
            if test not in _passed or test in _not_passed:
                found.setdefault(test, []).append(row.number)
    return found
