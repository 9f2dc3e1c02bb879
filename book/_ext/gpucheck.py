"""Sphinx extension: what the GPU check measured, read from the file that it wrote.

    ```{gpu-check}
    ```

becomes the targets, the runs, the memory that was predicted and taken, and a figure of where time
goes. No card is needed to build the book: where none was measured, the page says so instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from elara.display.figures import COLOURS, GREY, figure_svg, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.json"
UNMEASURED = (
    "No card has been measured for this book: there is no benchmarks/gpu.json. Run the check on a "
    "machine with a card and build the book, and its figures stand here."
)
# Titles of the tables and what stands in their columns: heading, and key in a row.
BARS = {"Target": "bar", "Wanted": "wanted", "Measured": "measured", "Run": "run", "Holds": "holds"}
RUNS = {
    **{"Run": "run", "Tokens a second": "tokens_per_second", "MFU, %": "mfu_percent"},
    **{"Peak, GiB": "peak_gib", "Warm-up's extra seconds": "start_seconds"},
}
MEMORY = {
    **{"Run": "run", "Weights": "weights", "Batch": "batch"},
    **{"Recomputed layers": "checkpointed_layers", "Compiled": "compiled"},
    **{
        "Predicted from the shape, GiB": "predicted_by_shape_gib",
        "Predicted, GiB": "predicted_gib",
    },
    **{"Measured, GiB": "peak_gib", "Off by, %": "off_percent"},
}


class GpuCheck(SphinxDirective):
    """Tables and a figure of one card, or a sentence that there are none."""

    def run(self) -> list[nodes.Node]:
        """Read the file and show what is in it."""
        self.env.note_dependency(str(FILE))
        found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
        where = found.get("environment", {"device": "none"})
        if where["device"].startswith("none"):  # a rehearsal on a CPU
            return [nodes.paragraph(text=UNMEASURED)]
        versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
        said = f"Measured on {where['date']} on one {where['device']}, {where['memory_gib']} GiB, "
        shown: list[nodes.Node] = [
            nodes.paragraph(text=f"{said}driver {where['driver']}: {versions}.")
        ]
        shown.append(table("Targets", BARS, found["bars"]["rows"]))
        runs = [{"run": n} | run for n, run in found.items() if "tokens_per_second" in run]
        shown.append(table("Runs", RUNS, runs))
        left = [f"{n} ({why})" for n, run in found.items() if (why := reason(run))]
        if left:
            shown.append(nodes.paragraph(text=f"Not run: {'; '.join(left)}."))
        shown.append(table("Peak memory", MEMORY, found["memory"]["rows"]))
        times = {name: run["time"] for name, run in found.items() if "time" in run}
        if times:
            figure = figure_svg(time_figure(times), "Where time goes", told(times))
            shown.append(nodes.raw("", f'<div class="fitting">{figure}</div>', format="html"))
        return shown


def reason(run: dict[str, Any]) -> str:
    """Why a step has no result; "" where it has one."""
    return str(run.get("not_run") or run.get("error") or "")


def time_figure(times: dict[str, dict[str, float]]) -> Figure:
    """Draw shares of training steps' time, a bar for each run.

    Args:
        times: of each run, seconds by group, in one order.
    """
    figure = new_figure(7, 1.6 + 0.5 * len(times))
    axes = figure.subplots()
    groups = list(next(iter(times.values())))
    names, start = list(times), [0.0] * len(times)
    for at, group in enumerate(groups):
        colour = GREY if group == "idle" else COLOURS[at]
        share = [100 * spent[group] / sum(spent.values()) for spent in times.values()]
        axes.barh(names, share, left=start, color=colour, label=group)
        start = [a + b for a, b in zip(start, share, strict=True)]
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="share of the time of a training step, %")
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    plain(axes)
    return figure


def told(times: dict[str, dict[str, float]]) -> str:
    """What the figure shows, for those who cannot see it."""
    said = []
    for name, spent in times.items():
        shares = (f"{group} {value / sum(spent.values()):.1%}" for group, value in spent.items())
        said.append(f"{name}: {', '.join(shares)}")
    return "; ".join(said)


def table(title: str, columns: dict[str, str], rows: Iterable[dict[str, Any]]) -> nodes.table:
    """A table with a title; what a row lacks is a dash.

    Args:
        title: stands above it.
        columns: heading to key.
        rows: the values, by key.
    """
    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=1) for _ in columns]
    group += nodes.thead("", _row(columns))
    body = nodes.tbody()
    for row in rows:
        body += _row(_shown(row.get(key)) for key in columns.values())
    group += body
    return nodes.table("", nodes.title(text=title), group)


def _row(cells: Iterable[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("gpu-check", GpuCheck)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
