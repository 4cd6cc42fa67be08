"""The house rules, kept by a test; there is no exception list.

Imports point downwards, rooms on one floor ignore each other, pure rooms touch nothing outside the
process, doors never reach past the library, and each outside package enters where it is said to.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "narbor"
MODULES = sorted(SRC.rglob("*.py"))

FLOORS = [
    "errors",
    "names",
    "formats",
    "dag net",
    "blocks catalogue upstream pins",
    "library images",
    "doors tasks",
    "config",
    "wiring",
    "cli serve",
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
BEHIND_THE_LIBRARY = {"net", "blocks", "catalogue", "upstream", "pins"}
PURE = {"errors", "names", "formats", "dag", "images", "doors"}
EFFECTS = {
    "asyncio", "os", "pathlib", "random", "shutil", "socket", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib.request",
}  # fmt: skip
ENTRANCES = {  # outside package -> the rooms it may enter
    "brotli": "formats",
    "cryptography": "names serve",
    "granian": "serve",
    "h11": "net serve",
    "httpx": "net",
    "isal": "formats",
    "lz4": "formats",
    "mmh3": "formats",
    "msgspec": "config formats doors",
    "prometheus_client": "serve",
    "pyfastcdc": "dag",
    "rich": "cli",
    "sqlite3": "formats blocks catalogue",
    "tomllib": "config",
    "zstandard": "formats blocks",
}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
SILENCERS = ("# type: " + "ignore", "# no" + "qa")


def room(path: Path) -> str:
    """Return the room a module stands in."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give every import as a dotted name, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def is_effect(name: str) -> bool:
    """Tell whether an imported name lets a module touch the world outside the process."""
    return any(name == effect or name.startswith(effect + ".") for effect in EFFECTS)


def check_import(here: str, line: int, name: str) -> None:
    """Hold one import against floors, doors, purity and entrances."""
    top, _, rest = name.partition(".")
    there = rest.partition(".")[0] if top == "narbor" else ""
    if there in FLOOR and here in FLOOR and there != here:
        assert FLOOR[there] < FLOOR[here], f"line {line}: {here} imports {there}"
    if here == "doors":
        assert there not in BEHIND_THE_LIBRARY, f"line {line}: ask the library, not {there}"
    if here in PURE:
        assert not is_effect(name), f"line {line}: {here} is pure, {name} is not"
    allowed = ENTRANCES.get(top)
    assert allowed is None or here in allowed.split(), f"line {line}: {top} enters by {allowed}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_module(path: Path) -> None:
    """Hold one module against all rules."""
    text = path.read_text()
    tree = ast.parse(text)
    here = room(path)
    assert here in FLOOR or here.startswith("__"), f"the room {here} is on no floor"
    assert ast.get_docstring(tree), "a module says what it is for"
    lines = text.count("\n")
    assert lines <= LONGEST_MODULE, f"{lines} lines: too long to hold in the head"
    for silencer in SILENCERS:
        assert silencer not in text, f"{silencer} hides what should be mended"
    for line, name in imports(tree):
        check_import(here, line, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} is {length} lines"


@pytest.mark.parametrize(
    ("here", "name"),
    [
        ("dag", "narbor.blocks.packs"),
        ("doors", "narbor.net"),
        ("doors", "narbor.tasks"),
        ("formats", "socket"),
        ("library", "sqlite3"),
        ("names", "os.path"),
    ],
)
def test_planted_faults_are_found(here: str, name: str) -> None:
    """A rule that cannot fail is no rule."""
    with pytest.raises(AssertionError):
        check_import(here, 1, name)
