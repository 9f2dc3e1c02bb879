"""Find the main text of a web page: the article without navigation and standing notices."""

from __future__ import annotations

import re
from typing import cast

from lxml import etree
from lxml.html import HTMLParser, document_fromstring

from elara.collect.blocks import Block, leading, opening
from elara.collect.boilerplate import is_boxed_advice, prune
from elara.collect.htmltext import HEADINGS, HtmlWalker, tokens
from elara.collect.pagenotices import (
    ADVICE,
    DOWNLOAD,
    is_citation,
    is_elsewhere,
    is_menu,
    is_notice,
)
from elara.collect.parsed import Dropped
from elara.collect.xmlrecords import Element, text_of
from elara.records import Section

# Where a page says what its main part is: the standard element, the parts that CDC pages offer
# to other sites, and a comment in CDC pages from before 2010.
_MAIN = "//main | //*[@role='main']"
_OFFERED = "//div[contains(concat(' ', @class, ' '), ' syndicate ')]"
_CONTENT_AREA = re.compile(r"<!--\s*content area\s*-->(.*)<!--\s*end content area\s*-->", re.DOTALL)
# Where pages without such marks usually have it; it counts if most paragraphs are in it.
_CONTENT = {
    "content", "main", "main-content", "maincontent", "page-content", "article", "article-body",
    "entry-content", "post-content", "body-content", "content-main", "primary-content", "mainbody",
}  # fmt: skip
_MOST = 0.7
_LEAST = 0.2  # of the page's paragraphs; a part with less is no main one, whatever it is called
_TEXT = ("p", "li", "tr")
_AROUND = ("nav", "header", "footer")
_UNSEEN = {"head", "script", "style", "noscript", "template", etree.Comment}
_LINKED = 0.6  # a block with a larger part of its text in links may be navigation
_ENDS = (".", "?", "!", ":", ";")  # of a sentence
_REFERENCES = re.compile(
    r"(?:selected |additional )?(?:references?|bibliography|works cited|literature cited|citations?"
    r"|sources?|références|referencias|bibliografía|bibliographie)(?: cited| and notes)?:?",
    re.IGNORECASE,
)
# Parts of journal pages that carry a course for readers.
_COURSE = re.compile(
    r"(?:medscape )?CME\b.*|earning CME credit|learning objectives|post-test information"
    r"|activity evaluation|article title: .*|editors?|authors?(?: and credentials)?",
    re.IGNORECASE,
)
# Parts that are about the page.
_ABOUT = re.compile(
    r"about this (?:pdq )?(?:summary|page|site|content|information)|permission to use .*"
    r"|reviewers?(?: and updates)?|review date\b.*",
    re.IGNORECASE,
)
_ACCREDITED = "AMA PRA Category 1"
_MARKERS = re.compile(r"^ *(?:- |\w{1,5}\. )", re.MULTILINE)  # of the items of a list
# What a line has that is no date, name or counter, though it is no sentence.
_DOSE = re.compile(
    r"\d\s*(?:mg|g|kg|m[lL]|µg|mcg|IU|units?|mmol|%|°|×|times|hours?|days?|weeks?|months?)(?!\w)"
    r"|^(?:warning|caution|important|danger|note|attention)\b",
    re.IGNORECASE,
)


def main_text(page: str, tree: Element, dropped: list[Dropped], title: str = "") -> list[Section]:
    """The main text of a page, cut into sections at its headings.

    The part that the page marks as its main one is read, else the part that holds most of its
    paragraphs, without navigation and boilerplate: paragraphs, lists, tables, quotes, captions,
    boxes, panels that open on a click.

    Args:
        page: the decoded page.
        tree: the same page, parsed; changed in place.
        dropped: takes a row for each piece of the page that is not in the sections.
        title: what the page is called elsewhere; a heading that says the same has no row.

    Returns:
        Sections that have text, in reading order; none for a page of navigation.

    Source: https://html.spec.whatwg.org/multipage/grouping-content.html#the-main-element
    """
    parts, marked = _main_parts(page, tree, dropped)
    blocks: list[Block] = []
    for part in parts:
        prune(part, dropped, whole=not marked)
        walker = HtmlWalker()
        blocks += walker.blocks(part)
        dropped += walker.left_out()
    return _ArticleFilter(dropped, title).sections(blocks)


def document_text(tree: Element, dropped: list[Dropped]) -> list[Section]:
    """Everything that an HTML document says, cut into sections at its headings.

    Args:
        tree: the document, parsed.
        dropped: takes a row for each piece of the document that is not in the sections.

    Returns:
        Sections in reading order, also those that have nothing but a heading.
    """
    walker = HtmlWalker()
    body = tree.find("body")
    sections = [Section("", "")]
    for block in walker.blocks(tree if body is None else body):
        if block.kind == "heading":
            sections.append(Section(block.text, ""))
        else:
            _add(sections[-1], block.text)
    dropped += walker.left_out()
    has_text = any(s.text for s in sections)
    return [s for s in sections if has_text and (s.text or s.heading)]


def _add(section: Section, text: str) -> None:
    section.text = f"{section.text}\n\n{text}" if section.text else text


def _main_parts(page: str, tree: Element, dropped: list[Dropped]) -> tuple[list[Element], bool]:
    """The parts of a page that hold its text, and whether the page itself marks them."""
    if marked := _CONTENT_AREA.search(page):
        parser = HTMLParser(encoding="utf-8")
        around = page[: marked.start(1)] + page[marked.end(1) :]
        for piece in document_fromstring(around.encode(), parser=parser).iterfind("body/*"):
            _name_outside(piece, dropped)
        return [document_fromstring(f"<main>{marked[1]}</main>".encode(), parser=parser)], True
    body = tree.find("body")
    whole = tree if body is None else body
    for path in (_MAIN, _OFFERED):
        outer = _outer(cast(list[Element], tree.xpath(path)))
        if outer and _holds_the_text(outer, whole):
            return _with_the_rest_named(whole, outer, dropped), True
    length = _length([whole], *_TEXT)
    parts = whole.iter("div", "section", "td")
    named = [e for e in parts if _CONTENT & {*tokens(e), (e.get("id") or "").lower()}]
    for candidates in (list(whole.iter("article")), named):
        outer = _outer(candidates)
        if outer and length and _length(outer, *_TEXT) >= _MOST * length:
            return _with_the_rest_named(whole, outer, dropped), True
    return [whole], False


def _with_the_rest_named(
    whole: Element, parts: list[Element], dropped: list[Dropped]
) -> list[Element]:
    """The main parts and the warnings that stand beside them, in reading order."""
    above = {e for part in parts for e in part.iterancestors()}
    chosen = set(parts)
    for aside in whole.iter("aside"):
        outside = aside not in above and chosen.isdisjoint((aside, *aside.iterancestors()))
        if outside and next(aside.iterancestors(*_AROUND), None) is None and is_boxed_advice(aside):
            chosen.add(aside)
    found = parts if len(chosen) == len(parts) else [e for e in whole.iter() if e in chosen]
    path = dict.fromkeys(above for part in found for above in part.iterancestors())
    for child in (child for above in reversed(path) for child in above):
        if child not in path and child not in found:
            _name_outside(child, dropped)
    return found


def _outer(found: list[Element]) -> list[Element]:
    return [e for e in found if not any(above in found for above in e.iterancestors())]


def _length(elements: list[Element], *names: str) -> int:
    return sum(len(text_of(p)) for e in elements for p in e.iter(*names))


def _holds_the_text(parts: list[Element], whole: Element) -> bool:
    """Whether parts that a page calls its main ones are that; some are empty, or a teaser."""
    inside = sum(1 for part in parts for _ in part.iter("p"))
    if inside and 2 * inside >= sum(1 for _ in whole.iter("p")):
        return True
    return any(map(text_of, parts)) and _length(parts, "p") >= _LEAST * _length([whole], "p")


def _name_outside(piece: Element, dropped: list[Dropped]) -> None:
    if piece.tag not in _UNSEEN and (words := opening(piece)):
        dropped.append(Dropped(str(piece.tag), words, "outside the main part of the page"))


class _ArticleFilter:
    """Tells the article's blocks from those that stand around it, each by what is before it."""

    def __init__(self, dropped: list[Dropped], title: str) -> None:
        self._dropped = dropped
        self._title = title
        self._sections = [Section("", "")]
        self._above: list[tuple[int, str]] = []  # headings that have no text of their own yet
        self._titled = False
        self._head = True  # before the first sentence stand dates, authors, menus and counters
        self._prose = False  # whether the section has a sentence
        self._introduced = False  # whether what follows is announced by a colon
        self._citations = False  # whether the section is a list of references
        self._before: Block | None = None
        self._following: Block | None = None
        self._course = False
        self._about = 0  # the level of a heading below which the page speaks of itself
        self._emptied = False  # whether something below the last heading was left out

    def sections(self, blocks: list[Block]) -> list[Section]:
        accredited = any(_ACCREDITED in block.text for block in blocks)
        for block, self._following in zip(blocks, [*blocks, None][1:], strict=True):
            # A list of authors may be set as a heading.
            if block.kind == "heading" and not (self._head and ";" in block.text):
                self._open(block, accredited)
            elif reason := self._reason(block):
                kind = block.kind if block.element is None else str(block.element.tag)
                self._dropped.append(Dropped(kind, leading(block.text.split()), reason))
                self._emptied = bool(self._above)
            else:
                self._keep(block)
            self._before = block
        self._close_empty(0)
        return [s for s in self._sections if s.text]

    def _open(self, block: Block, accredited: bool) -> None:
        level = _level(block)
        if level == 1 and not self._titled:
            self._titled, level = True, 0
        self._close_empty(level)
        # Parts of an article are named by the headings above them that have no text.
        above = [t for n, t in self._above if n > 1 and not block.text.startswith(t)]
        self._above.append((level, block.text))
        self._sections.append(Section(": ".join([*above, block.text]), ""))
        self._prose = self._introduced = False
        self._citations = bool(_REFERENCES.fullmatch(block.text))
        if not self._about or level <= self._about:
            self._about = level if _ABOUT.fullmatch(block.text) else 0
        self._course = accredited and bool(_COURSE.fullmatch(block.text))

    def _close_empty(self, level: int) -> None:
        """Name the headings that have nothing below them, now that another one follows."""
        while self._above and (self._above[-1][0] >= level or self._emptied):
            number, text = self._above.pop()
            self._emptied = False
            if number > 0 or text != self._title:
                self._dropped.append(Dropped("heading", leading(text.split()), "nothing below it"))
        self._emptied = False

    def _keep(self, block: Block) -> None:
        heading = "" if self._citations else f"{self._sections[-1].heading}: "
        for _, text in self._above:
            if text != self._title and f"{text}: " not in heading:
                reason = "references" if self._citations else "said by the heading below it"
                self._dropped.append(Dropped("heading", leading(text.split()), reason))
        if self._citations:
            self._citations = False
            self._sections.append(Section("", ""))
        _add(self._sections[-1], block.text)
        self._above.clear()
        self._emptied = False
        self._head = self._head and block.kind == "paragraph" and not _is_sentence(block.text)
        linked = _is_linked(block)
        self._prose = self._prose or (block.kind == "paragraph" and not linked)
        if not (linked and self._introduced):
            colon = block.kind == "paragraph" and block.text.endswith(":")
            self._introduced = colon and not is_menu(block.text)

    def _reason(self, block: Block) -> str:
        """Why a block is no part of the article; "" if it is."""
        if self._course:
            return "course for readers"
        if self._about and not ADVICE.search(block.text):
            return "about the page"
        if is_notice(block.text):
            return "notice"
        if self._citations and is_citation(block.text, block.kind):
            return "references"
        heading = self._sections[-1].heading
        if _is_linked(block) and not self._is_linked_text(block, heading):
            return "links"
        if is_menu(block.text) and self._following is not None and _is_linked(self._following):
            return "links"
        if is_elsewhere(heading) and block.kind != "table" and not _is_text(block.text):
            return "other pages"
        if self._head and block.kind in ("paragraph", "heading") and not _is_text(block.text):
            return "before the first sentence"
        return ""

    def _is_linked_text(self, block: Block, heading: str) -> bool:
        """Whether a block of links belongs to the article."""
        announced = self._before is not None and is_menu(self._before.text)
        if announced or is_menu(heading) or all(map(DOWNLOAD.fullmatch, block.text.split("\n"))):
            return False
        if self._introduced:
            return True
        if block.kind == "table":
            return " | " in block.text
        if block.kind == "paragraph":
            if block.text.endswith((".", "!", "?")) and len(block.text.split()) > 5:
                return True
            beside = (self._before, self._following)
            if not any(b and b.kind == "paragraph" and _is_linked(b) for b in beside):
                return False
        links = [] if block.element is None else list(block.element.iter("a"))
        contents = bool(links) and all((a.get("href") or "").startswith("#") for a in links)
        # A paragraph is one of several lines of links here, which are a list as well.
        within = bool(heading) or (self._prose and block.kind != "paragraph")
        return within and not contents and not self._head


def _is_linked(block: Block) -> bool:
    text = _MARKERS.sub("", block.text) if block.kind == "list" else block.text
    return block.linked > _LINKED * len(text)


def _level(block: Block) -> int:
    if block.element is None:
        return 7
    if block.element.tag in HEADINGS:
        return HEADINGS.index(block.element.tag) + 1
    return 6 + max(len(list(block.element.iterancestors("details"))), 1)


def _is_text(paragraph: str) -> bool:
    """Whether a line is a sentence or says how much, how often or how long."""
    return _is_sentence(paragraph) or bool(_DOSE.search(paragraph) or ADVICE.search(paragraph))


def _is_sentence(paragraph: str) -> bool:
    return any(line.rstrip('])”"’*†').endswith(_ENDS) for line in paragraph.splitlines())
