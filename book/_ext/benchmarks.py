"""Sphinx extension: figures of the benchmarks, read from the files that they wrote.

A page names the file and, line by line, a label and where the value stands in it:

    ```{benchmark} harvest.json
    Articles per second = throughput/articles_per_second
    ```

`{confusion}` draws the table of numbers that stands at a place, as a figure:

    ```{confusion} specialties.json
    unseen/matrix
    ```

`{recall}` and `{coverage}` do so with shares of what was found, and with counts of examples;
`{power}` draws the curves that stand at a place: effects, and what was found of them by number of
topics.

    ```{power} verdict.json
    power
    ```

So no figure is typed by hand, and one that is no longer there fails the build. With `:bars:` each
line also gets a bar, as long as its value; that suits lines that share a unit. With `:awaited:` a
sentence says that there is no result where the file is missing.

Source: https://www.sphinx-doc.org/en/master/extdev/markupapi.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from elara.display.figures import figure_svg
from elara.evaluate.figures import simulated_power_figure
from elara.expand.report import confusion_figure, coverage_figure, recall_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


class Benchmark(SphinxDirective):
    """A table of two columns: what was measured, and the figure."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"bars": directives.flag, "awaited": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Read the values and build the table."""
        if "awaited" in self.options and not (FOLDER / self.arguments[0]).exists():
            return [nodes.paragraph(text="No result has been published yet.")]
        rows = []
        for line in self.content:
            label, _, place = line.partition(" = ")
            rows.append((label.strip(), self.value(place.strip())))
        return [_table(rows, bars="bars" in self.options)]

    def value(self, place: str) -> Any:
        """What stands at a place of the file."""
        path = FOLDER / self.arguments[0]
        self.env.note_dependency(str(path))
        try:
            return _value(json.loads(path.read_text(encoding="utf-8")), place)
        except (OSError, ValueError) as error:
            raise self.error(f"{path.name} cannot be read ({error}): run its benchmark.") from error
        except (KeyError, IndexError, TypeError) as error:
            raise self.error(f"{path.name} has no {place!r}.") from error


class Drawing(Benchmark):
    """A figure of what stands at one place of a file."""

    def run(self) -> list[nodes.Node]:
        """Read the numbers and draw them."""
        value = self.value(self.content[0].strip())
        figure = figure_svg(*self.drawn(value))
        return [nodes.raw("", f'<div class="fitting">{figure}</div>', format="html")]

    def drawn(self, value: Any) -> tuple[Figure, str, str]:
        """The figure, its short name, and what it shows, for those who cannot see it."""
        raise NotImplementedError


class Confusion(Drawing):
    """A figure of how often what was taken for what."""

    def drawn(self, value: Any) -> tuple[Figure, str, str]:
        """See `Drawing`."""
        rows = (
            f"{name}: " + ", ".join(f"{count} {said}" for said, count in row.items())
            for name, row in value.items()
        )
        told = "Readers' specialty, and what the classifier said. " + "; ".join(rows)
        return confusion_figure(value), "Confusion matrix", told


class Recall(Drawing):
    """A figure of the share of planted items that was found, by kind."""

    def drawn(self, value: Any) -> tuple[Figure, str, str]:
        """See `Drawing`."""
        rows = (
            f"{name}: {found['dropped']['share']:.1%} dropped, {found['flagged']['share']:.1%} "
            f"flagged, of {found['items']:,}"
            for name, found in value.items()
        )
        return recall_figure(value), "Leaks that the certificate finds", "; ".join(rows)


class Coverage(Drawing):
    """A figure of how many examples each specialty has, by source and recipe."""

    def drawn(self, value: Any) -> tuple[Figure, str, str]:
        """See `Drawing`."""
        counts = pl.DataFrame(value)
        each = counts.group_by("specialty", "source", "recipe").agg(pl.col("examples").sum())
        rows = (
            f"{specialty}, {source} {recipe}: {count:,}"
            for specialty, source, recipe, count in each.sort(pl.all()).rows()
        )
        return coverage_figure(counts), "Examples by specialty", "; ".join(rows)


class Power(Drawing):
    """A figure of how often effects were found."""

    def drawn(self, value: Any) -> tuple[Figure, str, str]:
        """See `Drawing`."""
        effects = value["effects"]
        told = "; ".join(
            f"{topics} topics: "
            + ", ".join(f"{share:.2f} at {e:g}" for e, share in zip(effects, shares, strict=True))
            for topics, shares in value["helped"].items()
        )
        figure = simulated_power_figure(effects, value["helped"])
        return figure, "Power", f"Share of sets called helped, by effect. {told}"


def _value(found: Any, place: str) -> Any:
    for key in place.split("/"):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(_shown(v) for v in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _table(rows: list[tuple[str, Any]], *, bars: bool) -> nodes.table:
    group = nodes.tgroup(cols=2)
    group += [nodes.colspec(colwidth=3), nodes.colspec(colwidth=1)]
    group += nodes.thead("", _row(nodes.paragraph(text="Measured"), nodes.paragraph(text="Result")))
    body = nodes.tbody()
    longest = max(value for _, value in rows) if bars else None
    for label, value in rows:
        shown = nodes.paragraph(text=_shown(value))
        if longest:
            style = f"width:{value / longest:.1%}"
            bar = f'<span class="bar" aria-hidden="true" style="{style}"></span>'
            shown += nodes.raw("", bar, format="html")
        body += _row(nodes.paragraph(text=label), shown)
    group += body
    return nodes.table("", group)


def _row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("benchmark", Benchmark)
    for drawing in (Confusion, Recall, Coverage, Power):
        app.add_directive(drawing.__name__.lower(), drawing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
