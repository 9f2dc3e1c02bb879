"""Sphinx extension: figures of the benchmarks, read from the files that they wrote.

A page names the file and, line by line, a label and where the value stands in it:

    ```{benchmark} harvest.json
    Articles per second = throughput/articles_per_second
    ```

`{confusion}` draws the table of numbers that stands at a place, as a figure:

    ```{confusion} specialties.json
    unseen/matrix
    ```

`{power}` draws the curves that stand at a place: effects, and what was found of them by number of
topics.

    ```{power} verdict.json
    power
    ```

So no figure is typed by hand, and one that is no longer there fails the build. With `:bars:` each
line also gets a bar, as long as its value; that suits lines that share a unit.

Source: https://www.sphinx-doc.org/en/master/extdev/markupapi.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from elara.display.figures import figure_svg
from elara.evaluate.figures import simulated_power_figure
from elara.expand.report import confusion_figure

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


class Benchmark(SphinxDirective):
    """A table of two columns: what was measured, and the figure."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"bars": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Read the values and build the table."""
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


class Confusion(Benchmark):
    """A figure of how often what was taken for what."""

    def run(self) -> list[nodes.Node]:
        """Read the numbers and draw them."""
        matrix = self.value(self.content[0].strip())
        figure = figure_svg(confusion_figure(matrix), "Confusion matrix", _told(matrix))
        return [nodes.raw("", f'<div class="fitting">{figure}</div>', format="html")]


class Power(Benchmark):
    """A figure of how often effects were found."""

    def run(self) -> list[nodes.Node]:
        """Read the numbers and draw them."""
        found = self.value(self.content[0].strip())
        told = "; ".join(
            f"{topics} topics: " + ", ".join(f"{share:.2f} at {e:g}" for e, share in pairs)
            for topics, shares in found["helped"].items()
            for pairs in [zip(found["effects"], shares, strict=True)]
        )
        drawn = simulated_power_figure(found["effects"], found["helped"])
        figure = figure_svg(drawn, "Power", f"Share of sets called helped, by effect. {told}")
        return [nodes.raw("", f'<div class="fitting">{figure}</div>', format="html")]


def _told(matrix: dict[str, dict[str, int]]) -> str:
    """What the figure shows, for those who cannot see it."""
    rows = (
        f"{name}: " + ", ".join(f"{count} {said}" for said, count in row.items())
        for name, row in matrix.items()
    )
    return "Readers' specialty, and what the classifier said. " + "; ".join(rows)


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
    app.add_directive("confusion", Confusion)
    app.add_directive("power", Power)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
