"""Hold blocks of text, lines of tables, and the small steps that walkers over markup share."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from elara.collect.formulas import GOES_ON
from elara.collect.xmlrecords import Element, text_of

LINE = "\ue001"  # a private character stands for a break while white space is normalised
_WORDS = 12  # of a dropped block that its row tells
# A note's number, letter or sign, or several of them: 2 | 1,3–5 | [4] | a,b | iv | ‡
MARK = re.compile(
    r"[\[(]?(?:\d{1,3}[a-z]?|[a-z]|[ivx]{1,4})(?:\s*[,;–-]\s*(?:\d{1,3}|[a-z]))*[\])]?"
    r"|[*†‡§¶‖#↑↩^⁎∗]+",
    re.IGNORECASE,
)
CLOSED = (".", ":", ";", ",", "?", "!")
_NUMBERS = {
    "a": [ten + one for ten in ("", "a", "b") for one in string.ascii_lowercase],
    "i": [
        ten + one
        for ten in ("", "x", "xx", "xxx", "xl")
        for one in ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
    ][1:],
}
_WIDEST = 50  # columns: a span of 99 or 1000 means the whole width
_NUMBER = re.compile(r"\s*(\d{1,5})")


class Block(NamedTuple):
    """A piece of text that stands on its own.

    Args:
        kind: `paragraph`, `heading`, `list`, `definitions`, `quote`, `table` or `code`.
        text: its text, with line breaks between items, rows and lines.
        linked: how many of its characters stand in links.
        element: where it comes from, if that matters.
    """

    kind: str
    text: str
    linked: int = 0
    element: Element | None = None


class Flow:
    """The blocks that are done, and the line that is being gathered.

    Args:
        line: what a line break inside a paragraph becomes.
    """

    __slots__ = ("blocks", "line", "linked", "noted", "run")

    def __init__(self, line: str) -> None:
        self.blocks: list[Block] = []
        self.run: list[str] = []
        self.line = line
        self.linked = 0
        self.noted = -1  # how long the run was when a link to a note was left out of it

    def add(self, kind: str, text: str, element: Element, linked: int = 0) -> None:
        """Add a block behind the line that is being gathered, if it has text."""
        self.end()
        if text:
            self.blocks.append(Block(kind, text, linked, element))

    def end(self, element: Element | None = None) -> None:
        """Close the line that is being gathered; it is a paragraph if it has text."""
        if not self.run:
            return
        text = "".join(self.run)
        if LINE in text:
            text = self.line.join(filter(None, (" ".join(r.split()) for r in text.split(LINE))))
        else:
            text = " ".join(text.split())
        if text:
            self.blocks.append(Block("paragraph", text, self.linked, element))
        self.run = []
        self.linked = 0
        self.noted = -1

    def before(self) -> str:
        """The end of the line so far, white space included."""
        text = ""
        for piece in reversed(self.run):
            text = piece[-8:] + text
            if text.strip().rstrip(GOES_ON):
                break
        return text


def joined(parts: list[str], apart: str = "; ") -> str:
    """Pieces on one line, each kept apart from the one before it.

    Args:
        parts: texts without line breaks.
        apart: what goes between two pieces unless the first ends with a mark of its own.
    """
    line = ""
    for part in parts:
        if line:
            line += " " if line.endswith(CLOSED) else apart
        line += part
    return line


def besides(text: str, links: Iterable[Element]) -> str:
    """What a text says besides its links.

    Args:
        text: of an element.
        links: those in it.
    """
    for link in links:
        text = text.replace(text_of(link), "", 1)
    return text


def leading(words: Iterable[str]) -> str:
    """The first of some words, as rows about dropped pieces have them.

    Args:
        words: no more of them are read than the row has.
    """
    return " ".join(itertools.islice(words, _WORDS))


def opening(element: Element) -> str:
    """The first words of an element, those of one block apart from those of the next.

    Args:
        element: however long it is, only its beginning is read.
    """
    return leading(word for piece in element.itertext(None) for word in str(piece).split())


def numbered(number: int, kind: str) -> str:
    """The number of an item as the list's kind writes it.

    Args:
        number: of the item.
        kind: `1`, `a`, `A`, `i` or `I`.

    Returns:
        The number without its full stop; digits where letters cannot say it.
    """
    names = _NUMBERS.get(kind.lower(), [])
    text = names[number - 1] if 0 < number <= len(names) else str(number)
    return text.upper() if kind.isupper() else text


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
