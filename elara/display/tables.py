"""Show a table to people: in JupyterLab, in the book and as text.

polars writes the shape, the types, quotes and six decimals, which help whoever debugs and nobody
who reads.
"""

from __future__ import annotations

import datetime
import html
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import polars as pl

_TEXT_WIDTH = 60  # of a column, where a table is shown as plain text
_NONE = "–"
_LEFT = "text-align:left;vertical-align:top"
_RIGHT = "text-align:right;vertical-align:top;white-space:nowrap"


class Shown:
    """A table that a notebook displays.

    Args:
        table: the rows.
        caption: what the table is about.
    """

    def __init__(self, table: pl.DataFrame, caption: str) -> None:
        self.caption = caption
        self.heads = [name.replace("_", " ") for name in table.columns]
        self.numeric = [dtype.is_numeric() for dtype in table.dtypes]
        columns = [_cells(table[name]) for name in table.columns]
        self.rows = list(zip(*columns, strict=True))

    def _repr_html_(self) -> str:
        """HTML that carries its alignment along: JupyterLab has no style sheet of ours."""
        styles = [_RIGHT if numeric else _LEFT for numeric in self.numeric]
        head = _row(self.heads, 'th scope="col"', styles)
        body = "\n".join(_row(row, "td", styles) for row in self.rows)
        caption = f'<caption style="caption-side:top;{_LEFT}">{html.escape(self.caption)}</caption>'
        return (
            f'<table class="elara-table">{caption}\n<thead>{head}</thead>\n'
            f"<tbody>\n{body}\n</tbody></table>"
        )

    def __repr__(self) -> str:
        """The same as aligned text."""
        cells = [[_wrapped(cell) for cell in row] for row in (self.heads, *self.rows)]
        columns = zip(*cells, strict=True)
        widths = [max(len(line) for cell in column for line in cell) for column in columns]
        cells.insert(1, [["-" * width] for width in widths])
        forms = [f"{'>' if n else '<'}{w}" for n, w in zip(self.numeric, widths, strict=True)]
        lines = [self.caption]
        for row in cells:
            for parts in zip_longest(*row, fillvalue=""):
                lines.append("  ".join(map(format, parts, forms)).rstrip())
        return "\n".join(lines)


def show(table: pl.DataFrame | Sequence[Mapping[str, Any]], caption: str) -> Shown:
    """Show a table as people read one.

    Numbers are rounded alike within a column, with commas between thousands; yes and no stand for
    booleans; lists are joined; underscores in names become blanks.

    Args:
        table: a polars table, or its rows.
        caption: what the table is about, in a few words.

    Returns:
        What a cell displays when it ends with it, and prints as aligned text.
    """
    if not isinstance(table, pl.DataFrame):
        table = pl.DataFrame(table, infer_schema_length=None)
    return Shown(table, caption)


def _row(cells: Sequence[str], tag: str, styles: Sequence[str]) -> str:
    inside = (html.escape(cell).replace("\n", "<br>") for cell in cells)
    parts = (f'<{tag} style="{s}">{c}</{tag[:2]}>' for c, s in zip(inside, styles, strict=True))
    return f"<tr>{''.join(parts)}</tr>"


def _cells(column: pl.Series) -> list[str]:
    values = column.to_list()
    return _floats(values) if column.dtype.is_float() else [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')}: {_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or _NONE
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "seconds")
    return str(value)


def _floats(values: list[float | None]) -> list[str]:
    """As many decimals for all as the largest asks for, and none that are 0 in every row."""
    sizes = [abs(value) for value in values if value]
    if sizes and min(sizes) < 0.001:  # no number of decimals suits all of them
        return [_NONE if value is None else f"{value:.2g}" for value in values]
    largest = max(sizes, default=0.0)
    most = 1 if largest >= 100 else 2 if largest >= 1 else 3
    texts = [_NONE if value is None else f"{value:,.{most}f}" for value in values]
    kept = max((len(t.rstrip("0")) - len(t) for t in texts if t != _NONE), default=0)
    if -kept == most:
        kept -= 1  # the point
    return [t if t == _NONE or not kept else t[:kept] for t in texts]


def _wrapped(cell: str) -> list[str]:
    return [part for line in cell.split("\n") for part in textwrap.wrap(line, _TEXT_WIDTH) or [""]]
