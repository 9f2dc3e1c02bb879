"""The running text of a JATS article: paragraphs, lists, tables, formulas and captions."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from elara.collect.mathml import linear_formulas, replace_content
from elara.collect.xmlrecords import Element, keep_exponents, text_of
from elara.records import Section

# Never part of the running text: pictures, files, notes and numbers of parts.
_LEFT_OUT = {
    "supplementary-material", "media", "graphic", "inline-graphic", "fn", "fn-group",
    "permissions", "label", "object-id", "alt-text", "long-desc", "title", "sec-meta", "index-term",
}  # fmt: skip
_TABLES = {"table-wrap", "array", "table", "oasis:table"}
_SECTIONS = {"sec", "taxon-treatment", "treatment-sec"}
# Elements that stand on their own even where they are written inside a paragraph.
_BLOCKS = _TABLES | {
    "p", "list", "def-list", "disp-quote", "boxed-text", "statement", "disp-formula",
    "disp-formula-group", "fig", "fig-group", "table-wrap-group", "preformat", "code",
    "verse-group", "speech", "alternatives", "chem-struct-wrap", "caption", "sec",
}  # fmt: skip
_FORMULA = "[formula]"  # stands for a formula that the source has as a picture only


def readable(article: Element) -> Element:
    """Prepare an article for reading as plain text.

    Formulas become lines of text, exponents superscript digits, and superscript citation
    numbers go, which would run into the word before them (as the reference list, to which they
    point, goes too).

    Args:
        article: JATS without namespace; changed in place.

    Returns:
        The same element.

    Source: https://jats.nlm.nih.gov/archiving/tag-library/1.3/
    """
    linear_formulas(article)
    for raised in list(article.iter("sup")):
        links = raised.findall(".//xref[@ref-type='bibr']")
        if links or ((parent := raised.getparent()) is not None and _cites(parent)):
            replace_content(raised, "")
        elif len(raised):
            replace_content(raised, text_of(raised))
    for formula in article.iter("inline-formula", "disp-formula"):
        if not inline(formula):
            replace_content(formula, _FORMULA)
    return keep_exponents(article)


def _cites(element: Element) -> bool:
    return element.tag == "xref" and element.get("ref-type") == "bibr"


def sections(parent: Element, heading: str = "") -> Iterator[Section]:
    """The text of a section, then those of its subsections under `Parent: Child` headings.

    Args:
        parent: `body`, `sec` or `floats-group`, made `readable`.
        heading: of the parent.

    Yields:
        Sections that have text, in reading order.
    """
    blocks: list[str] = []
    inner: list[Element] = []
    for child in parent:
        if _name(child) in _SECTIONS:
            inner.append(child)
        elif _name(child) not in _LEFT_OUT:
            blocks += _blocks(child)
    if blocks:
        yield Section(heading, "\n\n".join(blocks))
    for child in inner:
        title = text_of(child.find("title"))
        yield from sections(child, ": ".join(part for part in (heading, title) if part))


def inline(element: Element | None, left_out: set[str] = _LEFT_OUT) -> str:
    """All text inside an element on one line.

    Args:
        element: any element, or None.
        left_out: names of elements that are not read.
    """
    if element is None:
        return ""
    pieces: list[str] = []
    _gather(element, left_out, pieces)
    return " ".join("".join(pieces).split())


def _gather(element: Element, left_out: set[str], pieces: list[str]) -> None:
    pieces.append(element.text or "")
    for child in element:
        if child.tag not in left_out:
            _gather(child, left_out, pieces)
        if child.tag in ("p", "list-item", "list", "break", "title"):
            pieces.append(" ")
        pieces.append(child.tail or "")


def _name(element: Element) -> str:
    return etree.QName(element).localname


def _blocks(element: Element) -> Iterator[str]:
    """The paragraphs of a block, in reading order."""
    match _name(element):
        case "table-wrap" | "table" | "array":
            found = _table(element)
        case "fig":
            found = _caption(element)
        case "list":
            found = "\n".join(_items(element))
        case "def-list":
            found = "\n".join(
                f"{inline(item.find('term'))}: {inline(item.find('def'))}"
                for item in element.iterfind("def-item")
            )
        case "disp-formula":
            found = " ".join(part for part in (inline(element), _label(element)) if part)
        case "preformat" | "code":
            found = "".join(map(str, element.itertext(None))).strip("\n").rstrip()
        case _:
            yield from _mixed(element)
            return
    if found:
        yield found


def _mixed(element: Element) -> Iterator[str]:
    """The paragraphs of an element that holds text, blocks, or blocks amid text."""
    run: list[str] = [element.text or ""]
    for child in element:
        name = _name(child)
        if name in _BLOCKS or name in _SECTIONS:
            yield from _finish(run)
            run = []
            yield from _blocks(child)
        elif name == "title":
            yield from _finish([text_of(child)])
        elif name not in _LEFT_OUT:
            _gather(child, _LEFT_OUT, run)
        run.append(child.tail or "")
    yield from _finish(run)


def _finish(run: list[str]) -> Iterator[str]:
    if text := " ".join("".join(run).split()):
        yield text


def _items(element: Element) -> Iterator[str]:
    for item in element.iterfind("list-item"):
        lines = [line for block in _mixed(item) for line in block.split("\n")]
        for number, line in enumerate(lines):
            yield line if number and line.startswith("- ") else f"- {line}" if not number else line


def _label(element: Element) -> str:
    return text_of(element.find("label"))


def _caption(element: Element) -> str:
    """The label and caption of a figure or table on one line, each with its full stop."""
    caption = element.find("caption")
    title = None if caption is None else caption.find("title")
    rest = [] if caption is None else [inline(p) for p in caption.iterfind("p")]
    parts = [part for part in (_label(element), inline(title), *rest) if part]
    return " ".join(part if part[-1] in ".?!:" else f"{part}." for part in parts)


def _table(element: Element) -> str:
    """A table as lines: caption, one line per row with ` | ` between cells, footnotes."""
    lines = [_caption(element)]
    for row in element.iter("{*}tr", "{*}row"):
        cells = [inline(cell, _LEFT_OUT - {"label", "title"}) for cell in row]
        if any(cells):
            lines.append(" | ".join(cells))
    foot = element.find("table-wrap-foot")
    if foot is not None:
        lines += [inline(p, _LEFT_OUT - {"label"}) for p in foot.iter("p")]
    return "\n".join(line for line in lines if line)
