"""Read the running text of JATS: paragraphs, lists, tables, formulas and captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from lxml import etree

from elara.collect.blocks import MARK, Block, Flow, besides, numbered, span
from elara.collect.parsed import Dropped
from elara.collect.walker import Role, Walker
from elara.collect.xmlrecords import Element, text_of

_BLOCKS = (
    "p", "disp-formula-group", "fig-group", "table-wrap-group", "verse-group",
    "verse-line", "speech", "caption", "sec", "attrib", "app",
    "taxon-treatment", "treatment-sec", "question", "answer", "explanation", "subtitle",
)  # fmt: skip
# Numbers and names of parts, which are no text.
_UNREAD = (
    "label", "object-id", "index-term-range-end", "milestone-start", "milestone-end", "col",
    "colgroup", "colspec", "x", "custom-meta", "processing-meta",
    etree.Comment, etree.ProcessingInstruction,
)  # fmt: skip
_NAMED = {
    "supplementary-material": "supplementary file", "media": "file", "fn": "note",
    "fn-group": "notes", "permissions": "rights", "alt-text": "description of a picture",
    "long-desc": "description of a picture", "ref-list": "references",
    "sec-meta": "about a section", "index-term": "entry of an index",
}  # fmt: skip
_LISTS = {
    "order": "1", "ordered": "1", "alpha-lower": "a", "alpha-upper": "A", "roman-lower": "i",
    "roman-upper": "I",
}  # fmt: skip
_NOTES = {"bibr", "fn", "table-fn", "corresp", "aff", "author-notes", "ref", "footnote"}
_FORMULA = "[formula]"  # stands for a formula that the source has as a picture only
HREF = "{http://www.w3.org/1999/xlink}href"


class JatsWalker(Walker):
    """Reads JATS.

    Source: https://jats.nlm.nih.gov/archiving/tag-library/1.3/
    """

    break_in_line = " "

    def _name_it(self, element: Element, flow: Flow) -> None:
        self.drop(element, _NAMED[element.tag])

    def _picture(self, element: Element, flow: Flow) -> None:
        name = element.get(HREF) or element.get("id") or "picture"
        self.dropped.append(Dropped(element.tag, name, "picture without text"))

    def _labelled(self, element: Element, flow: Flow) -> None:
        """A box or statement, below its label: Box 1, Rule 2."""
        flow.end()
        flow.run.append(text_of(element.find("label")))
        self.block(element, flow)

    def _inline(self, element: Element, flow: Flow) -> None:
        """An abbreviation with what it means, inside a sentence."""
        flow.run.append(self.line(element))

    def _styled(self, element: Element, flow: Flow) -> None:
        if "line-through" in (element.get("style") or ""):
            self.strike(element, flow)
        else:
            self.walk(element, flow)

    def _wrapped_table(self, element: Element, flow: Flow) -> None:
        flow.end()
        lines = [self.caption(element)]
        notes: list[str] = []
        tables = 0
        for child in element.iterdescendants("table", "table-wrap-foot"):
            if next(child.iterancestors("table-wrap-foot", "table"), None) is not None:
                continue
            if child.tag == "table":
                tables += 1
                lines += self.table_text(child)[0]
            else:
                notes += self._foot(child)
        loose = self.own_blocks(*(c for c in element if c.tag not in _OF_TABLES))
        if not tables and not loose and (lines[0] or element.find("graphic") is not None):
            self.dropped.append(Dropped("table-wrap", lines[0], "table as a picture"))
        lines += [line for block in loose for line in block.text.split("\n")]
        if text := "\n".join(line for line in [*lines, *notes] if line):
            flow.blocks.append(Block("table", text))

    def _foot(self, foot: Element) -> Iterator[str]:
        """The notes below a table, each behind its mark."""
        for note in foot:
            if note.tag == "fn-group":
                yield from self._foot(note)
                continue
            if inner := [block.text.replace("\n", " ") for block in self.blocks(note)]:
                yield " ".join(filter(None, [text_of(note.find("label")), *inner]))

    def spans(self, cell: Element) -> tuple[int, int]:
        """Over how many rows and columns a cell reaches, in either model of tables."""
        if cell.tag != "entry":
            return super().spans(cell)
        names = [str(c.get("colname")) for g in cell.iterancestors("tgroup") for c in g]
        first, last = cell.get("namest"), cell.get("nameend")
        known = first in names and last in names
        columns = names.index(str(last)) - names.index(str(first)) + 1 if known else 1
        more = cell.get("morerows")
        return (span(more) + 1 if more and more != "0" else 1), columns

    def _figure(self, element: Element, flow: Flow) -> None:
        flow.end()
        if caption := self.caption(element):
            flow.blocks.append(Block("paragraph", caption))
        elif element.find("graphic") is not None:
            name = element.get("id") or "figure"
            self.dropped.append(Dropped("fig", name, "picture without text"))
        for child in element:
            picture = child.tag == "graphic" or (child.tag == "alternatives" and not text_of(child))
            if not picture and child.tag not in ("label", "caption"):
                self.child(child, flow)
        flow.end()

    def caption(self, element: Element) -> str:
        """The label and caption of a figure or table on one line, each with its full stop."""
        caption = element.find("caption")
        parts = [text_of(element.find("label"))]
        for child in [] if caption is None else caption:
            parts.append(" ".join(b.text.replace("\n", " ") for b in self.own_blocks(child)))
        return " ".join(p if p[-1] in ".?!:" else f"{p}." for p in parts if p)

    def _displayed(self, element: Element, flow: Flow) -> None:
        """A formula on a line of its own, with its number."""
        flow.end()
        parts = [self._formula_text(element), text_of(element.find("label"))]
        flow.blocks.append(Block("paragraph", " ".join(filter(None, parts))))

    def _formula(self, element: Element, flow: Flow) -> None:
        flow.run.append(self._formula_text(element))

    def _formula_text(self, element: Element) -> str:
        known = len(self.dropped)
        text = self.line(element)
        if not text:
            del self.dropped[known:]
            name = element.get("id") or _FORMULA
            self.dropped.append(Dropped(str(element.tag), name, "formula as a picture"))
        return text or _FORMULA

    def _alternatives(self, element: Element, flow: Flow) -> None:
        """The same thing in several forms; the first that has text is read."""
        lost = len(self.dropped)
        for child in element:
            known = len(flow.blocks), len(flow.run)
            self.child(child, flow)
            if known != (len(flow.blocks), len(flow.run)):
                del self.dropped[lost:]
                return

    def _link(self, element: Element, flow: Flow) -> None:
        """A link inside the article: those to notes and references go where they are raised."""
        kind = element.get("ref-type")
        if kind is None or kind in _NOTES:
            text = text_of(element)
            if len(text) < 12 and self.is_note(element, text, flow):
                self.note(element, flow)
                return
        self.walk(element, flow)

    def is_note(self, element: Element, text: str, flow: Flow) -> bool:
        """Whether it is a raised link to a reference or note, or its bare mark behind a word."""
        if element.tag == "sup":
            return self._is_raised_note(element, text, flow)
        kind = element.get("ref-type", "")
        if kind == "table-fn" and not any(map(str.isalnum, text)):
            return False  # * and † cannot run into a number, and the notes below the table are read
        raised = element.find("sup")
        if raised is not None and text_of(raised) == text:
            return kind in _NOTES or not kind
        if kind not in _NOTES or not MARK.fullmatch(text) or text[:1] in "[(":
            return False
        if kind in ("fn", "table-fn") or self.follows_note(flow):
            return True
        before = flow.before()
        return before[-1:].isalnum() or before.rstrip()[-1:].isdigit()

    def _is_raised_note(self, raised: Element, text: str, flow: Flow) -> bool:
        parent = raised.getparent()
        linked = parent is not None and parent.tag == "xref"
        kind = "" if parent is None or not linked else parent.get("ref-type", "bibr")
        if kind == "table-fn" and not any(map(str.isalnum, text)):
            return False
        links = [x for x in raised.iter("xref") if x.get("ref-type", "bibr") in _NOTES]
        # In 10<sup>9,<xref>3</xref></sup> the 9 may be a power of ten; behind a word it is a note.
        power = any(map(str.isalnum, besides(text, links))) and flow.before()[-1:].isdigit()
        return kind in _NOTES or (bool(links) and not power)

    def lists(self, element: Element, flow: Flow) -> None:
        """A list, below its title."""
        for name in list(element.iterchildren("label", "title")):
            self.block(name, flow)
            element.remove(name)
        super().lists(element, flow)

    def markers(self, element: Element) -> Iterator[str]:
        """The labels of the items, or dashes, or numbers where the list is said to be ordered."""
        kind = _LISTS.get(element.get("list-type") or "", "")
        for number, item in enumerate(element.iterfind("list-item"), start=1):
            label = text_of(item.find("label"))
            usual = f"{numbered(number, kind)}. " if kind else "- "
            yield f"{label} " if any(map(str.isalnum, label)) else usual

    roles_of_blocks = frozenset({*_BLOCKS, "list", "list-item", "table-wrap", "title", "break"})
    roles: ClassVar[Mapping[Any, Role]] = {
        **dict.fromkeys(_BLOCKS, Walker.block),
        **dict.fromkeys(("statement", "boxed-text", "chem-struct-wrap", "kwd-group"), _labelled),
        **dict.fromkeys(_UNREAD, Walker.skip),
        **dict.fromkeys(_NAMED, _name_it),
        **dict.fromkeys(("graphic", "inline-graphic"), _picture),
        "title": Walker.block,
        "list": lists,
        "list-item": Walker.block,
        "def-list": Walker.define,
        "def": Walker.block,
        "abbrev": _inline,
        "disp-quote": Walker.quote,
        "table-wrap": _wrapped_table,
        "table": Walker.table,
        "array": Walker.table,
        "fig": _figure,
        "disp-formula": _displayed,
        "inline-formula": _formula,
        "alternatives": _alternatives,
        "preformat": Walker.code,
        "code": Walker.code,
        "break": Walker.break_line,
        "sup": Walker.raise_text,
        "sub": Walker.lower_text,
        "strike": Walker.strike,
        "styled-content": _styled,
        "xref": _link,
    }


_OF_TABLES = {
    "label", "caption", "table", "table-wrap-foot", "alternatives", "graphic", "object-id",
}  # fmt: skip
