"""Sphinx extension: figures of the benchmarks, read from the files that they wrote.

A page names the file and, line by line, a label and where the value stands in it:

    ```{benchmark} harvest.json
    Articles per second = throughput/articles_per_second
    ```

So no figure is typed by hand, and one that is no longer there fails the build.

Source: https://www.sphinx-doc.org/en/master/extdev/markupapi.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


class Benchmark(SphinxDirective):
    """A table of two columns: what was measured, and the figure."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Read the values and build the table."""
        path = FOLDER / self.arguments[0]
        self.env.note_dependency(str(path))
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.error(f"{path.name} cannot be read ({error}): run its benchmark.") from error
        rows = []
        for line in self.content:
            label, _, place = line.partition(" = ")
            try:
                value = self._value(found, place.strip())
            except (KeyError, IndexError, TypeError) as error:
                raise self.error(f"{path.name} has no {place.strip()!r}.") from error
            rows.append((label.strip(), value))
        return [_table(rows)]

    def _value(self, found: Any, place: str) -> str:
        for key in place.split("/"):
            found = found[int(key)] if isinstance(found, list) else found[key]
        if isinstance(found, list):
            return " to ".join(_shown(v) for v in found)
        return _shown(found)


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _table(rows: list[tuple[str, str]]) -> nodes.table:
    group = nodes.tgroup(cols=2)
    group += [nodes.colspec(colwidth=3), nodes.colspec(colwidth=1)]
    body = nodes.tbody()
    for row in rows:
        entries = [nodes.entry("", nodes.paragraph(text=cell)) for cell in row]
        body += nodes.row("", *entries)
    group += body
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("benchmark", Benchmark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
