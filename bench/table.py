"""The table and the plot of what was measured."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

HEAD = """\
# Benchmarks

Made by `make bench`; `make bench ARGS="store serve"` measures some parts anew. Every figure stands
beside that of a peer from the same run on the same machine, and *ratio* is ours over the peer's,
where more is better; where there is no peer, it is the value itself, which must stay below the bar.
Inputs, configurations and clients are named at the head of each file of `bench/`.

![how far each bar is passed](benchmarks.svg)
"""

LIMITS = Path(__file__).with_name("limits.md")  # what is known of the bars that are missed


def write(results: dict[str, Any], folder: Path) -> None:
    """Write benchmarks.md and benchmarks.svg of these results."""
    lines = [HEAD]
    for part, result in results.items():
        where = f"`bench/{part}.py` on {result['machine']}; load before it: {result['load']}."
        lines += (f"## {part}", "", where, "")
        lines += ("| work | narbor | beside it | ratio | bar | |", "|---|---|---|---|---|---|")
        lines += [
            f"| {row['work']} | {row['ours']} | {row['peer']} | {row['ratio']:.3g} | {row['bar']} "
            f"| {'holds' if row['held'] else '**missed**'} |"
            for row in result["rows"]
        ]
        lines.append("")
    lines.append(LIMITS.read_text("utf-8"))
    (folder / "benchmarks.md").write_text("\n".join(lines), "utf-8")
    _plot(results, folder / "benchmarks.svg")


def _plot(results: dict[str, Any], file: Path) -> None:
    """Draw how many times each bar is reached, on a logarithmic axis."""
    rows = [row for result in results.values() for row in result["rows"]][::-1]
    mpl.rcParams["svg.hashsalt"] = "narbor"
    figure, axes = pyplot.subplots(figsize=(10, 0.6 + 0.28 * len(rows)))
    colours = ["#2a7f62" if row["held"] else "#c0392b" for row in rows]
    axes.barh([row["work"] for row in rows], [row["reached"] - 1 for row in rows],
              left=1, color=colours)  # fmt: skip
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("how many times the bar is reached (right of 1: it holds)")
    axes.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
