"""On which line of a TOML file a value is set, as far as a message needs it."""

import re
from collections.abc import Iterator
from typing import Final

_TABLE: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY: Final = re.compile(r"""\s*([A-Za-z0-9_\-]+|"[^"]*"|'[^']*')\s*[.=]""")
_QUOTES: Final = "\"'"


def find(text: str, where: str) -> int | None:
    """Return the line on which `where` (`table.key`, `tables[1].key`) is set.

    What stands inside a list is near enough at the line of the list.
    """
    lines: dict[str, int] = {}
    for number, place in _places(text):
        lines.setdefault(place, number)
    while where not in lines and "[" in where:
        where = where.rpartition("[" if where.endswith("]") else ".")[0]
    return lines.get(where)


def _places(text: str) -> Iterator[tuple[int, str]]:
    """Give what each line sets: a table, one of several tables, or a key."""
    table = ""
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if heading := _TABLE.match(line):
            table = ""
            words = [word.strip().strip(_QUOTES) for word in heading[2].split(".")]
            for at, word in enumerate(words):
                table = f"{table}.{word}".lstrip(".")
                if heading[1] == "[[" and at == len(words) - 1:
                    yield number, table
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = f"{table}[{counts[table]}]"
            yield number, table
            for at in range(1, len(words)):
                yield number, ".".join(words[:at])
        elif key := _KEY.match(line):
            yield number, f"{table}.{key[1].strip(_QUOTES)}".lstrip(".")
