"""Walk over markup and gather its text as blocks, for HTML and for JATS alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from elara.collect.blocks import (
    CLOSED,
    LINE,
    Block,
    Cell,
    Flow,
    joined,
    leading,
    opening,
    span,
    table_lines,
)
from elara.collect.formulas import one_line
from elara.collect.parsed import Dropped
from elara.collect.xmlrecords import Element, inner_text, text_of

# Parts of lists, lists of definitions and tables, in HTML and in JATS.
_ITEMS = ("li", "list-item")
_TERMS, _DEFINITIONS = ("dt", "term"), ("dd", "def")
_ROWS = ("tr", "row")
_BULLET = re.compile(r"^\s*(?:- |[•·▪‣]\s*)?")

Role = Callable[[Any, Element, Flow], None]


@dataclass(slots=True)
class _Table:
    """What is read of a table."""

    groups: list[list[list[Cell]]] = field(default_factory=lambda: [[]])
    feet: list[list[list[Cell]]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    linked: int = 0  # characters in links


class Walker:
    """Walks over an element and gathers its text as blocks, each piece once and in order.

    What each element is, its class says in `roles`; an element without a role is markup inside a
    line. What is left out has a row in `dropped`.
    """

    roles: ClassVar[Mapping[Any, Role]] = {}
    break_in_line: ClassVar[str] = "\n"

    def __init__(self) -> None:
        self.dropped: list[Dropped] = []
        self._notes: list[str] = []

    def left_out(self) -> list[Dropped]:
        """What was left out so far; links to notes and references share one row."""
        if not self._notes:
            return self.dropped
        reason = f"links to notes: {len(self._notes)}"
        return [*self.dropped, Dropped("note", leading(self._notes), reason)]

    def blocks(self, element: Element, line: str = "") -> list[Block]:
        """All that an element holds, as blocks.

        Args:
            element: of the language of this walker.
            line: what a line break inside a paragraph becomes, where that is not as usual.
        """
        flow = Flow(line or self.break_in_line)
        self.walk(element, flow)
        flow.end()
        return flow.blocks

    def own_blocks(self, *elements: Element) -> list[Block]:
        """Elements themselves, by their roles, as blocks.

        Args:
            elements: that stand beside each other.
        """
        flow = Flow(self.break_in_line)
        for element in elements:
            self.child(element, flow)
        flow.end()
        return flow.blocks

    def line(self, element: Element | None) -> str:
        """All that an element holds, on one line.

        Args:
            element: any element, or None.
        """
        if element is None:
            return ""
        if not len(element):
            return " ".join((element.text or "").split())
        return " ".join(block.text.replace("\n", " ") for block in self.blocks(element))

    def walk(self, parent: Element, flow: Flow) -> None:
        """Add what an element holds to a flow.

        Args:
            parent: the element.
            flow: where its text goes.
        """
        if parent.text:
            flow.run.append(parent.text)
        for child in parent:
            self.child(child, flow)
            if child.tail:
                flow.run.append(child.tail)

    def drop(self, element: Element, reason: str) -> None:
        """Name an element that is left out, if it has text.

        Args:
            element: it; or what the row says of it.
            reason: why.
        """
        if words := opening(element):
            self.dropped.append(Dropped(str(element.tag), words, reason))

    # Roles: what to do with an element of a kind.

    def skip(self, element: Element, flow: Flow) -> None:
        """Nothing that people read."""

    def block(self, element: Element, flow: Flow) -> None:
        """A paragraph, or a container of blocks."""
        flow.end()
        self.walk(element, flow)
        flow.end(element)

    def heading(self, element: Element, flow: Flow) -> None:
        """A heading: one line, whatever it is made of."""
        flow.add("heading", self.line(element), element)

    def break_line(self, element: Element, flow: Flow) -> None:
        """A break inside a paragraph."""
        flow.run.append(LINE)

    def raise_text(self, element: Element, flow: Flow) -> None:
        """Raised text: a link to a note goes, the rest is kept apart from what is before it."""
        text = text_of(element)
        beside = (element.getprevious(), element.getnext())
        linked = any(other is not None and other.tag in ("xref", "a") for other in beside)
        if self.is_note(element, text, flow):
            self.note(element, flow)
        elif text.strip(" ,;–-") or not linked:  # no comma or dash between two links to notes
            self._add_small("sup", element, flow)

    def lower_text(self, element: Element, flow: Flow) -> None:
        """Lowered text."""
        self._add_small("sub", element, flow)

    def _add_small(self, kind: str, element: Element, flow: Flow) -> None:
        """Add a raised or lowered run; spaces at its ends stay between words."""
        before, after = flow.before(), self._after(element)
        small = one_line(kind, self.line(element), before, after, notes=True)
        written = inner_text(element)
        if written[:1].isspace() and small[:1].isalnum() and before[-1:].isalpha():
            small = f" {small}"
        if written[-1:].isspace() and after[:1].isalnum():
            small = f"{small} "
        flow.run.append(small)

    def strike(self, element: Element, flow: Flow) -> None:
        """Text that was withdrawn."""
        self.drop(element, "struck out")

    def code(self, element: Element, flow: Flow) -> None:
        """Text whose line breaks and spaces count."""
        lines = self._verbatim(element).strip("\r\n").rstrip().splitlines()
        text = "\n".join(line.expandtabs(4) or " " for line in lines if any(lines))
        flow.add("code", text, element)

    def _verbatim(self, element: Element) -> str:
        pieces = [element.text or ""]
        for child in element:
            role = self.roles.get(child.tag)
            if role is Walker.strike:
                self.drop(child, "struck out")
            elif role is not Walker.skip:
                pieces.append("\n" if role is Walker.break_line else self._verbatim(child))
            pieces.append(child.tail or "")
        return "".join(pieces)

    def quote(self, element: Element, flow: Flow) -> None:
        """Words of somebody else, with `> ` before each line."""
        inner = self.blocks(element)
        lines = "\n\n".join(block.text for block in inner).split("\n")
        text = "\n".join(f"> {line}" if line else ">" for line in lines if inner)
        flow.add("quote", text, element, sum(b.linked for b in inner))

    def lists(self, element: Element, flow: Flow) -> None:
        """A list: each item behind its number or a dash, what belongs to it indented."""
        lines: list[str] = []
        linked = 0
        markers = self.markers(element)
        for child in element:
            if child.tag in _ITEMS:
                inner = self.blocks(child)
                marker = next(markers)
                text = "\n".join(block.text for block in inner)
                if text:
                    lines.append(marker + text.replace("\n", "\n" + " " * len(marker)))
            else:  # a list straight inside a list, or a heading
                inner = self.own_blocks(child)
                indent = "  " if lines and any(b.kind == "list" for b in inner) else ""
                lines += [indent + row for b in inner for row in b.text.split("\n")]
            linked += sum(block.linked for block in inner)
            if child.tail and child.tail.strip():
                lines.append(" ".join(child.tail.split()))
        flow.add("list", "\n".join(lines), element, linked)

    def child(self, element: Element, flow: Flow) -> None:
        """Add an element itself, by its role, to a flow."""
        self.roles.get(element.tag, Walker.walk)(self, element, flow)

    def markers(self, element: Element) -> Iterator[str]:
        """The dash or number before each item of a list."""
        while True:
            yield "- "

    def define(self, element: Element, flow: Flow) -> None:
        """A list of terms, each on a line with what it means."""
        lines: list[str] = []
        open_terms: list[str] = []
        linked = 0
        for part in self._definition_parts(element):
            inner = self.blocks(part)
            linked += sum(block.linked for block in inner)
            text = "\n".join(block.text for block in inner)
            if part.tag in _TERMS:
                open_terms += [text.replace("\n", " ")] if text else []
            elif part.tag in _DEFINITIONS and open_terms:
                term = ", ".join(open_terms)
                open_terms = []
                apart = " " if term.endswith(CLOSED) else ": "
                apart = "\n" if any(b.kind in ("list", "table") for b in inner[:1]) else apart
                lines.append(term + apart + text if text else term)
            elif text:  # a second meaning, or a heading of the list
                indent = "  " if part.tag in _DEFINITIONS else ""
                lines += [indent + line for line in text.split("\n")]
        flow.add("definitions", "\n".join([*lines, *open_terms]), element, linked)

    def _definition_parts(self, element: Element) -> Iterator[Element]:
        for child in element:
            if child.tag in ("div", "def-item"):
                yield from self._definition_parts(child)
            elif self.roles.get(child.tag) is not Walker.skip:
                yield child

    def table(self, element: Element, flow: Flow) -> None:
        """A table: caption, rows, notes, each on its line."""
        lines, linked = self.table_text(element)
        flow.add("table", "\n".join(lines), element, linked)

    def table_text(self, element: Element) -> tuple[list[str], int]:
        """The lines of a table, and how many of its characters stand in links."""
        table = _Table()
        self._read_table(element, table)
        return [*table.captions, *table_lines([*table.groups, *table.feet])], table.linked

    def _read_table(self, element: Element, table: _Table) -> None:
        """Add the rows and captions of a table, or of a part of it."""
        for child in element:
            if child.tag in _ROWS:
                line = " " if all(cell.tag == "th" for cell in child) else "; "
                cells = [c for c in child if self.roles.get(c.tag) is not Walker.skip]
                row = [Cell(self._cell_text(c, table, line), *self.spans(c)) for c in cells]
                table.groups[-1].append(row)
            elif child.tag in ("thead", "tbody", "tfoot"):
                before = len(table.groups)
                table.groups.append([])
                self._read_table(child, table)
                if child.tag == "tfoot":
                    table.feet += table.groups[before:]
                    del table.groups[before:]
                table.groups.append([])
            elif child.tag == "caption":
                table.captions += filter(None, [self._cell_text(child)])
            elif child.tag in ("form", "tgroup"):
                self._read_table(child, table)
            elif self.roles.get(child.tag) is not Walker.skip:
                table.groups[-1].append([Cell(self._cell_text(child, table))])

    def spans(self, cell: Element) -> tuple[int, int]:
        """Over how many rows and columns a cell reaches."""
        return span(cell.get("rowspan")), max(span(cell.get("colspan")), 1)

    def _cell_text(self, cell: Element, table: _Table | None = None, line: str = "; ") -> str:
        """The text of a cell on one line: breaks, paragraphs and items stay apart."""
        if not len(cell):
            return " ".join((cell.text or "").split())
        blocks = self.blocks(cell, "\n")
        parts = []
        for block in blocks:
            text = block.text.replace(" | ", ", ") if block.kind == "table" else block.text
            parts += [_BULLET.sub("", row) for row in text.split("\n")]
        if table is not None:
            table.linked += sum(b.linked for b in blocks)
        alone = len(blocks) == 1 and blocks[0].kind == "paragraph"
        return joined([p for p in parts if p], line if alone else "; ")

    # Notes

    def is_note(self, element: Element, text: str, flow: Flow) -> bool:
        """Whether an element is no more than a link to a note or reference."""
        raise NotImplementedError

    def note(self, element: Element, flow: Flow) -> None:
        """Leave a link to a note out; what stands on either side of it stays apart."""
        self._notes.append(text_of(element))
        if self.follows_note(flow):
            del flow.run[flow.noted :]
        if flow.before()[-1:].isalnum() and self._after(element)[:1].isalnum():
            flow.run.append(" ")
        flow.noted = len(flow.run)

    def follows_note(self, flow: Flow) -> bool:
        """Whether nothing but a comma or dash stands between here and a link to a note."""
        return flow.noted >= 0 and not "".join(flow.run[flow.noted :]).strip(" ,;–-−")

    def _after(self, element: Element | None) -> str:
        """The characters behind an element, in the same line."""
        while element is not None:
            if element.tail:
                return element.tail[:8]
            if (following := element.getnext()) is not None:
                return "" if following.tag in self.roles_of_blocks else text_of(following)[:8]
            element = element.getparent()
            if element is None or element.tag in self.roles_of_blocks:
                return ""
        return ""

    roles_of_blocks: ClassVar[frozenset[Any]] = frozenset()
