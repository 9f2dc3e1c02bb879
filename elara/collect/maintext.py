"""The main text of a web page: the article without navigation and standing notices."""

from __future__ import annotations

import copy
import re
from typing import cast

from lxml.html import HTMLParser, document_fromstring

from elara.collect.htmltext import tree_text
from elara.collect.xmlrecords import Element, keep_exponents, text_of
from elara.records import Section

# Where a page says what its main part is: the standard element, the parts that CDC pages offer
# to other sites, and a comment in CDC pages from before 2010.
_MAIN = "//main | //*[@role='main']"
_OFFERED = "//div[contains(concat(' ', @class, ' '), ' syndicate ')]"
_CONTENT_AREA = re.compile(r"<!--\s*content area\s*-->(.*)<!--\s*end content area\s*-->", re.DOTALL)
_PRUNED = (
    ".//script | .//style | .//noscript | .//nav | .//form | .//button | .//iframe | .//aside"
    " | .//footer | .//*[@role='navigation'] | .//*[@aria-hidden='true']"
    " | .//*[contains(@class, 'no-syndicate') or contains(@class, 'breadcrumb')"
    " or contains(@class, 'modal') or contains(@class, 'sr-only')]"
)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_HEADING = "\ue010"  # a private character marks headings while the tree becomes text
_LINKED = 0.6  # a block with a larger part of its text in links is navigation
# Sections that are no part of the article, by heading.
_NOT_TEXT = re.compile(
    r"references|related links|tables|figures|navigate this article|suggested citation.*"
    r"|cite this article|on this page|top|return to top|article title: .*|post-test information"
    r"|learning objectives|activity evaluation|disclaimer|authors?|.*\bCME\b.*"
    r"|.*\barticle citations?\b.*",
    re.IGNORECASE,
)
# Notices that stand on every page of a series.
_NOTICE = re.compile(
    r"Persons using assistive technology|Use of trade names|References to non-CDC sites"
    r"|Disclaimer\b|All (?:HTML versions of MMWR|MMWR HTML versions)|Date last reviewed"
    r"|Page (?:created|converted|last|updated)|Last Reviewed|Suggested citation|Please note:"
    r"|Morbidity and Mortality Weekly Report Centers|Department of Health and Human Services$"
    r"|MMWR and Morbidity and Mortality Weekly Report are|View suggested citation|PEER REVIEWED$"
    r"|The opinions expressed by authors|Questions or messages regarding errors"
    r"|An original paper copy of this issue|URL addresses listed in MMWR|Author affiliations:"
    r"|.*\(View author affiliations\)$|Was this page helpful|(?:Figure|Table) \d+$"
)
_BACK = re.compile(r"(?:Return to|Back to|Top\b)", re.IGNORECASE)  # links to the page's own top
_ENDS = (".", "?", "!", ":")  # of a sentence


def main_text(page: str, tree: Element) -> list[Section]:
    """The main text of a page, cut into sections at its headings.

    Where the page itself marks its main part, that part is read whole: paragraphs, lists, data
    tables. Elsewhere trafilatura finds it.

    Args:
        page: the decoded page.
        tree: the same page, parsed.

    Returns:
        Sections that have text, in reading order; none for a page of navigation.

    Source: https://html.spec.whatwg.org/multipage/grouping-content.html#the-main-element and
        https://trafilatura.readthedocs.io/en/latest/corefunctions.html
    """
    parts = _main_parts(page, tree)
    if not parts:
        return _found(tree)
    text = "\n\n".join(tree_text(_prepared(part)) for part in parts)
    return _sections(text.split("\n\n"))


def _main_parts(page: str, tree: Element) -> list[Element]:
    if marked := _CONTENT_AREA.search(page):
        parser = HTMLParser(encoding="utf-8")
        return [document_fromstring(f"<main>{marked[1]}</main>".encode(), parser=parser)]
    for path in (_MAIN, _OFFERED):
        found = cast(list[Element], tree.xpath(path))
        outer = [e for e in found if not any(above in found for above in e.iterancestors())]
        if outer:
            return [copy.deepcopy(e) for e in outer]
    return []


def _prepared(part: Element) -> Element:
    """The part without navigation, its headings marked and its data tables as lines."""
    pruned = cast(list[Element], part.xpath(_PRUNED))
    for element in [*pruned, *(a for a in part.iter("a") if _BACK.match(text_of(a)))]:
        _drop(element)
    keep_exponents(part)
    for element in reversed(list(part.iter("p", "li", "ul", "ol", "td", "div", "h5", "h6"))):
        length = len(text_of(element))
        linked = sum(len(text_of(a)) for a in element.iter("a") if a.get("href"))
        if length and linked > _LINKED * length:
            _drop(element)
    for table in [t for t in part.iter("table") if next(t.iter("th"), None) is not None]:
        rows = [" | ".join(map(text_of, row.iterchildren("td", "th"))) for row in table.iter("tr")]
        caption = text_of(table.find("caption"))
        _fill(table, "pre", "\n".join(line for line in [caption, *rows] if line.strip(" |")))
    for heading in list(part.iter(*_HEADINGS)):
        text = text_of(heading)
        # A list of authors may be set as a heading.
        _fill(heading, "p", text if ";" in text else _HEADING + text)
    return part


def _drop(element: Element) -> None:
    """Remove an element; the text that follows it stays."""
    parent = element.getparent()
    if parent is None:
        return
    before = element.getprevious()
    if before is None:
        parent.text = f"{parent.text or ''} {element.tail or ''}"
    else:
        before.tail = f"{before.tail or ''} {element.tail or ''}"
    parent.remove(element)


def _fill(element: Element, tag: str, text: str) -> None:
    tail = element.tail
    element.clear()
    element.tag, element.text, element.tail = tag, text, tail


def _sections(paragraphs: list[str]) -> list[Section]:
    sections = [Section("", "")]
    head = True  # before the first sentence stand dates, authors, menus and counters
    for paragraph in paragraphs:
        if paragraph.startswith(_HEADING):
            sections.append(Section(paragraph.removeprefix(_HEADING).strip(), ""))
        elif paragraph and not _NOTICE.match(paragraph) and not (head and _furniture(paragraph)):
            head = False
            last = sections[-1]
            last.text = f"{last.text}\n\n{paragraph}" if last.text else paragraph
    return [s for s in sections if s.text and not _NOT_TEXT.fullmatch(s.heading)]


def _furniture(paragraph: str) -> bool:
    """Whether no line is a sentence, a list item or a row of a table."""
    return all(
        line[:2] != "- " and " | " not in line and line.rstrip('])”"')[-1:] not in _ENDS
        for line in paragraph.splitlines()
    )


def _found(tree: Element) -> list[Section]:
    """The main text as trafilatura finds it."""
    import trafilatura

    found = trafilatura.bare_extraction(
        keep_exponents(copy.deepcopy(tree)), include_comments=False, include_tables=False
    )
    if found is None or found.body is None:
        return []
    paragraphs = []
    for element in found.body:
        text = text_of(element)
        if element.tag == "head":
            text = _HEADING + text
        elif element.tag == "list":
            text = "\n".join(f"- {t}" for t in map(text_of, element) if t)
        paragraphs.append(text)
    return _sections(paragraphs)
