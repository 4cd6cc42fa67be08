"""Measure, and write the table and the plot: `make bench`, or `make bench ARGS="store serve"`.

Each part yields rows (bench/measure.py), each with the figure of a named peer of the same run. They
are kept in docs/benchmarks.json; docs/benchmarks.md and docs/benchmarks.svg are made from them.
A part that is measured again replaces its own rows only.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench import agent, catalogue, large, memory, plan, serve, store, table, unpack
from bench.measure import Row
from tests.world import world

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
PARTS: Final[dict[str, Callable[[Path], Iterator[Row]]]] = {
    "store": lambda folder: store.rows(world.prepare(), folder),
    "serve": lambda folder: serve.rows(world.prepare(), folder),
    "unpack": lambda folder: unpack.rows(world.prepare(), folder),
    "large": large.rows,
    "memory": memory.rows,
    "catalogue": catalogue.rows,
    "plan": plan.rows,
    "agent": agent.rows,
}

# Parts whose files lie in memory where there is such a place: programs are compared, not disks.
IN_MEMORY: Final = ("store", "serve", "unpack", "catalogue")
RAM: Final = Path("/dev/shm")


def machine() -> str:
    """Say what machine this is: processor, cores, system, Python."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    python = platform.python_version()
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {python}"


def measure(part: str) -> dict[str, Any]:
    """Measure one part in a folder that goes away; give its rows as JSON has them."""
    load = os.getloadavg()[0]
    rows = []
    place = RAM if part in IN_MEMORY and RAM.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="narbor-bench-", dir=place) as folder:
        for row in PARTS[part](Path(folder)):
            print(f"{'  ' if row.held else '! '}{row}", flush=True)
            rows.append(row.as_dict())
    return {"machine": machine(), "load": round(load, 1), "rows": rows}


def main() -> int:
    """Measure what was asked for; 1 when a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parts = parser.parse_args().parts or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    kept = DOCS / "benchmarks.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for part in parts:
        print(f"{part}:", flush=True)
        results[part] = measure(part)
        results = {name: results[name] for name in PARTS if name in results}
        kept.write_text(json.dumps(results, indent=1) + "\n")
        table.write(results, DOCS)
    return 0 if all(row["held"] for part in parts for row in results[part]["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
