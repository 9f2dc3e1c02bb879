"""Fragments of HTML to plain text that keeps paragraphs, lists and code."""

from __future__ import annotations

from lxml import etree, html

from elara.collect.xmlrecords import Element, keep_exponents

_BLOCKS = {
    "p", "div", "ul", "ol", "dl", "blockquote", "pre", "table", "h1", "h2", "h3", "h4", "h5",
    "h6", "hr", "section", "article",
}  # fmt: skip
_LINES = {"li": "- ", "tr": "", "dt": "", "dd": "", "br": ""}
_DROPPED = {"script", "style", "noscript"}
# Private-use characters hold the place of breaks while white space is normalised.
_PARAGRAPH, _LINE, _SPACE = "\ue000", "\ue001", "\ue002"


def html_text(fragment: str) -> str:
    """Turn a fragment of HTML into plain text.

    Args:
        fragment: HTML as a source delivers it, entities and all; may be malformed.

    Returns:
        Paragraphs separated by a blank line, list items on lines of their own that start with
        `- `, code with its line breaks. Markup inside a line is removed.
    """
    try:
        root = html.fragment_fromstring(fragment, create_parent="div")
    except (etree.ParserError, ValueError):  # control characters, or nothing but comments
        return " ".join(fragment.split())
    return tree_text(keep_exponents(root))


def tree_text(root: Element) -> str:
    """Like `html_text`, for HTML that is parsed already.

    Args:
        root: the element whose content is wanted.
    """
    pieces: list[str] = []
    _walk(root, pieces)
    blocks = " ".join("".join(pieces).split()).split(_PARAGRAPH)
    tidy = ("\n".join(r for row in b.split(_LINE) if (r := row.strip())) for b in blocks)
    return "\n\n".join(block for block in tidy if block).replace(_SPACE, " ")


def _walk(element: Element, pieces: list[str]) -> None:
    if element.tag == "pre":
        lines = "".join(map(str, element.itertext(None))).strip("\r\n").rstrip().splitlines()
        pieces.append(_LINE.join(_verbatim(line) for line in lines))
        return
    pieces.append(element.text or "")
    for child in element:
        if isinstance(child.tag, str) and child.tag not in _DROPPED:
            edge = _edge(child, element)
            pieces.append(edge + _LINES.get(child.tag, ""))
            _walk(child, pieces)
            if child.tag in _BLOCKS:
                pieces.append(edge)
        pieces.append(child.tail or "")


def _edge(child: Element, parent: Element) -> str:
    if child.tag in _LINES:
        return _LINE
    if child.tag not in _BLOCKS:
        return ""
    if parent.tag not in ("li", "dd"):
        return _PARAGRAPH
    # Inside a list item, its first paragraph stays on the line of the dash.
    return "" if child is parent[0] and child.tag == "p" else _LINE


def _verbatim(line: str) -> str:
    return line.expandtabs(4).replace(" ", _SPACE) or _SPACE
