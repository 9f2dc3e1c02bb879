"""Write tables as lines of text, with spans filled in: each row can be read on its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_WIDEST = 50  # columns: a span of 99 or 1000 means the whole width
_NUMBER = re.compile(r"\s*(\d{1,5})")


class Cell(NamedTuple):
    """A cell of a table.

    Args:
        text: on one line.
        rows: over how many rows of its group it reaches; 0 for all that follow.
        columns: over how many columns.
    """

    text: str
    rows: int = 1
    columns: int = 1


def span(value: str | None) -> int:
    """The number in a `rowspan` or `colspan`; 1 where there is none.

    Args:
        value: the attribute.
    """
    found = _NUMBER.match(value or "")
    return int(found[1]) if found else 1


def table_lines(groups: Iterable[Sequence[Sequence[Cell]]]) -> list[str]:
    """The rows of a table, ` | ` between cells.

    Args:
        groups: head, bodies and foot, each a list of rows; a span ends with its group.

    Returns:
        One line per row. A cell that spans rows or columns stands in each of them, except one that
        fills its row alone, such as a heading within the table. Columns without text are left out.

    Source: https://html.spec.whatwg.org/multipage/tables.html#forming-a-table
    """
    rows = [row for group in groups for row in _filled(group)]
    used = sorted({column for row in rows for column, text in row.items() if text})
    return [
        " | ".join([row.get(c, "") for c in used] if len(row) > 1 else row.values()) for row in rows
    ]


def _filled(group: Sequence[Sequence[Cell]]) -> list[dict[int, str]]:
    """Text by column for each row that has text of its own."""
    rows: list[dict[int, str]] = []
    width = max(
        (sum(c.columns if c.columns <= _WIDEST else 1 for c in r) for r in group), default=0
    )
    reaching: dict[int, tuple[str, int]] = {}  # by column: text, and how many rows are left
    for number, cells in enumerate(group):
        row = {column: text for column, (text, _) in reaching.items()}
        reaching = {c: (text, left - 1) for c, (text, left) in reaching.items() if left > 1}
        alone = len(cells) == 1 and not row
        column = 0
        for cell in cells:
            while column in row:
                column += 1
            below = (cell.rows or len(group)) - 1
            below = min(below, len(group) - number - 1)
            end = column + (1 if alone else max(1, min(cell.columns, width - column)))
            for at in range(column, end):
                if at in row:  # two spans overlap: the one from above stays
                    break
                row[at] = cell.text
                if below:
                    reaching[at] = (cell.text, below)
            column = max(end, column + 1)
        if any(cell.text for cell in cells):
            rows.append(row)
    return rows
