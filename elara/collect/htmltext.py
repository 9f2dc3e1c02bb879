"""Turn HTML into blocks of plain text: whole pages, and fragments that other formats carry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from lxml import etree, html

from elara.collect.blocks import MARK, Flow, besides, leading, numbered
from elara.collect.formulas import linear
from elara.collect.parsed import Dropped
from elara.collect.walker import Role, Walker
from elara.collect.xmlrecords import Element, text_of

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_BLOCKS = (
    "html", "body", "p", "div", "section", "article", "main", "header", "footer", "aside", "nav",
    "address", "hgroup", "fieldset", "legend", "center", "figure", "figcaption", "details", "form",
    "td", "th", "tr", "tbody", "caption", "dt", "dd", "dialog", "search",
)  # fmt: skip
_UNREAD = (
    etree.Comment, etree.ProcessingInstruction, "script", "style", "noscript", "template", "head",
    "title", "input", "link", "meta", "col", "colgroup",
)  # fmt: skip
_FIELDS = ("button", "select", "textarea", "option", "datalist", "progress", "meter")
_MEDIA = ("iframe", "object", "video", "audio", "canvas", "svg")
# Class names that mark a link as one to a note.
_NOTE_CLASSES = {
    "footnote", "footnotes", "footnote-ref", "footnote-reference", "footnoteref", "fn", "fnref",
    "fn-ref", "noteref", "note-ref", "reference", "cite", "cite-ref", "citation", "endnote",
    "endnote-ref", "ref", "xref-bibr", "xref-fn", "bibr", "footnote-anchor",
}  # fmt: skip
_LIST_STYLES = {
    "lower-alpha": "a", "lower-latin": "a", "upper-alpha": "A", "upper-latin": "A",
    "lower-roman": "i", "upper-roman": "I", "decimal": "1", "none": "",
}  # fmt: skip
_STRUCK = {"strike", "strikethrough", "line-through", "struck"}
_SHOWN_AS_BLOCK = re.compile(r"display\s*:\s*(?:block|flex|grid|table|list-item)\b")
_STYLE = re.compile(r"list-style(?:-type)?\s*:\s*([a-z-]+)")
_INTEGER = re.compile(r"\s*-?\d{1,6}")


def tokens(element: Element) -> set[str]:
    """The classes of an element, in small letters.

    Args:
        element: of HTML.
    """
    return set((element.get("class") or "").lower().split())


def is_struck(element: Element, names: set[str]) -> bool:
    """Whether the style or class of an element strikes its text out.

    Args:
        element: of HTML.
        names: its classes.
    """
    style = element.get("style")
    return bool(style and "line-through" in style.lower()) or not _STRUCK.isdisjoint(names)


class HtmlWalker(Walker):
    """Reads HTML."""

    def _lists(self, element: Element, flow: Flow) -> None:
        """A list; one that holds headings lays out parts of a page."""
        if next(element.iter(*HEADINGS), None) is None:
            self.lists(element, flow)
        else:
            self.block(element, flow)

    def _item(self, element: Element, flow: Flow) -> None:
        """An item outside a list."""
        text = "\n".join(block.text for block in self.blocks(element))
        flow.add("list", text and "- " + text.replace("\n", "\n  "), element)

    def _table(self, element: Element, flow: Flow) -> None:
        if _lays_out(element):
            for cell in _cells(element):
                self.block(cell, flow)
        else:
            self.table(element, flow)

    def _quotation(self, element: Element, flow: Flow) -> None:
        """A quotation inside a sentence."""
        flow.run.append("“")
        self.walk(element, flow)
        flow.run.append("”")

    def _field(self, element: Element, flow: Flow) -> None:
        self.drop(element, "control of a form")
        flow.run.append(" ")

    def _media(self, element: Element, flow: Flow) -> None:
        self.drop(element, "not text")

    def _picture(self, element: Element, flow: Flow) -> None:
        if words := leading((element.get("alt") or "").split()):
            self.dropped.append(Dropped("img", words, "picture"))
        if flow.before()[-1:].isalnum() and self._after(element)[:1].isalnum():
            flow.run.append(" ")

    def _formula(self, element: Element, flow: Flow) -> None:
        flow.run.append(linear(element))

    def _link(self, element: Element, flow: Flow) -> None:
        """A link: its text counts as linked, also that of the blocks in it."""
        text = text_of(element)
        if len(text) < 12 and self.is_note(element, text, flow):
            self.note(element, flow)
            return
        pieces, blocks = len(flow.run), len(flow.blocks)
        self.walk(element, flow)
        if not element.get("href"):
            return
        if len(flow.blocks) == blocks:
            flow.linked += sum(map(len, flow.run[pieces:]))
            return
        flow.end()
        flow.blocks[blocks:] = [b._replace(linked=len(b.text)) for b in flow.blocks[blocks:]]

    def _span(self, element: Element, flow: Flow) -> None:
        """Markup that says in its class or style what other pages say with an element."""
        style, names = (element.get("style") or "").lower(), tokens(element)
        if is_struck(element, names):
            self.strike(element, flow)
        elif "display" in style and _SHOWN_AS_BLOCK.search(style):
            self.block(element, flow)
        elif ("vertical-align" in style and "super" in style) or names & {"sup", "superscript"}:
            self.raise_text(element, flow)
        elif ("vertical-align" in style and "sub" in style) or names & {"sub", "subscript"}:
            self.lower_text(element, flow)
        elif names and _declared(element) and MARK.fullmatch(text_of(element)):
            self.note(element, flow)
        else:
            self.walk(element, flow)

    def markers(self, element: Element) -> Iterator[str]:
        """Dashes, or the numbers that a browser would show."""
        style = _STYLE.search(element.get("style") or "")
        kind = element.get("type") or "1"
        if style:
            kind = _LIST_STYLES.get(style[1], kind)
        if element.tag != "ol" or not kind:
            yield from super().markers(element)
            return
        items = [child for child in element if child.tag == "li"]
        step = -1 if element.get("reversed") is not None else 1
        number = _integer(element.get("start"), len(items) if step < 0 else 1)
        for item in items:
            number = _integer(item.get("value"), number)
            yield f"{numbered(number, item.get('type') or kind)}. "
            number += step

    def is_note(self, element: Element, text: str, flow: Flow) -> bool:
        """Whether it is a mark that leads to a place on a page, or is declared to be a note."""
        if not MARK.fullmatch(text):
            marks = [t for a in element.iter("a") if (t := text_of(a))]
            if element.tag != "sup" or not marks or not all(map(MARK.fullmatch, marks)):
                return False
        if _declared(element) or any(_declared(a) for a in element.iterdescendants("a", "sup")):
            return True
        if element.tag == "sup":
            links = list(element.iter("a"))
            inside = bool(links) and not any(map(str.isalnum, besides(text, links)))
            return inside and all("#" in (a.get("href") or "") for a in links)
        if "#" not in (element.get("href") or ""):
            return False
        raised = element.find("sup")
        if raised is not None and text_of(raised) == text:
            return True
        before = flow.before()
        behind = before[-1:].isalnum() or before.rstrip()[-1:].isdigit()
        return text[0] in "[(" or behind or self.follows_note(flow)

    roles_of_blocks = frozenset({
        *_BLOCKS, *HEADINGS, "ul", "ol", "li", "dl", "table", "pre", "blockquote", "br", "hr",
    })  # fmt: skip
    roles: ClassVar[Mapping[Any, Role]] = {
        **dict.fromkeys(_BLOCKS, Walker.block),
        **dict.fromkeys((*HEADINGS, "summary"), Walker.heading),
        **dict.fromkeys(_UNREAD, Walker.skip),
        **dict.fromkeys(_FIELDS, _field),
        **dict.fromkeys(_MEDIA, _media),
        **dict.fromkeys(("del", "s", "strike"), Walker.strike),
        **dict.fromkeys(("ul", "ol", "menu", "dir"), _lists),
        **dict.fromkeys(("pre", "listing", "xmp"), Walker.code),
        "li": _item,
        "dl": Walker.define,
        "table": _table,
        "blockquote": Walker.quote,
        "q": _quotation,
        "br": Walker.break_line,
        "hr": Walker.block,
        "sup": Walker.raise_text,
        "sub": Walker.lower_text,
        "img": _picture,
        "math": _formula,
        "a": _link,
        "span": _span,
    }


def _declared(element: Element) -> bool:
    """Whether an element says that it is a link to a note."""
    role = element.get("role") or element.get("epub:type") or ""
    return role in ("doc-noteref", "noteref", "doc-biblioref") or bool(
        not _NOTE_CLASSES.isdisjoint(tokens(element))
    )


def _integer(text: str | None, otherwise: int) -> int:
    found = _INTEGER.match(text or "")
    return int(found[0]) if found else otherwise


def _cells(table: Element) -> Iterator[Element]:
    """The cells of a table and whatever else it holds, without those of tables inside it."""
    for child in table:
        if child.tag in ("tr", "tbody", "thead", "tfoot", "form"):
            yield from _cells(child)
        elif isinstance(child.tag, str) and child.tag not in ("colgroup", "col"):
            yield child


def _lays_out(table: Element) -> bool:
    """Whether a table is there to place parts of a page, not to be read by rows and columns."""
    if table.get("role") in ("presentation", "none"):
        return True
    rows = [r for r in table.iter("tr") if next(r.iterancestors("table")) is table]
    cells = [c for row in rows for c in row if isinstance(c.tag, str)]
    if any(c.tag == "th" for c in cells) or table.find("caption") is not None:
        return False
    if all(len(row) < 2 for row in rows):
        return True
    if next(table.iter("h1", "h2", "h3", "main", "article", "form"), None) is not None:
        return True
    # Data has many small cells; columns of prose are few and long.
    return len(rows) < 3 and any(len(text_of(c)) > 600 for c in cells)


def html_text(fragment: str, dropped: list[Dropped] | None = None) -> str:
    """Turn a fragment of HTML into plain text.

    Args:
        fragment: HTML as a source delivers it, entities and all; may be malformed.
        dropped: takes a row for each piece that is not in the text.

    Returns:
        Paragraphs separated by a blank line; items of lists on lines of their own behind `- ` or
        their number; rows of tables as lines with ` | ` between cells; `> ` before quoted lines;
        code with its line breaks. Markup inside a line is removed.
    """
    try:
        root = html.fragment_fromstring(fragment, create_parent="div")
    except (etree.ParserError, ValueError):  # control characters, or nothing but comments
        return " ".join(fragment.split())
    return plain_blocks(root, dropped)


def plain_blocks(root: Element, dropped: list[Dropped] | None = None) -> str:
    """Like `html_text`, for HTML that is parsed already.

    Args:
        root: the element whose content is wanted.
        dropped: takes a row for each piece that is not in the text.
    """
    walker = HtmlWalker()
    text = "\n\n".join(block.text for block in walker.blocks(root))
    if dropped is not None:
        dropped += walker.left_out()
    return text
