"""Take boilerplate out of a web page by its markup: navigation, controls, forms, hidden parts."""

from __future__ import annotations

import re
from typing import cast

from lxml import etree
from lxml.html import HtmlElement

from elara.collect.blocks import opening
from elara.collect.htmltext import HEADINGS, is_struck, tokens
from elara.collect.pagenotices import ADVICE
from elara.collect.parsed import Dropped
from elara.collect.xmlrecords import Element, text_of

# Classes and ids of boilerplate, compared as whole names. First those that parts of an article may
# have as well: boilerplate only if they hold no sentence.
_WEAK = {
    "ad", "ads", "menu", "navigation", "languages", "feedback", "comments", "social", "toc",
    "subscribe", "pager",
}  # fmt: skip
_BESIDE = {"sidebar", "side-bar"}  # boxed warnings are placed there as well
_UNSEEN_NAMES = {
    "sr-only", "visually-hidden", "visuallyhidden", "screen-reader-text", "element-invisible",
}  # fmt: skip
_BOILERPLATE = _WEAK | _BESIDE | _UNSEEN_NAMES | {
    "no-syndicate", "modal", "breadcrumb", "breadcrumbs", "usa-breadcrumb", "breadcrumb-nav",
    "breadcrumb-wrapper", "skip-link", "skip-nav", "skipnav", "skip-to-content", "skip-main",
    "usa-skipnav", "share", "share-nav", "social-share", "social-media", "share-buttons",
    "share-links", "sharing", "addthis", "addtoany", "a2a_kit", "page-share", "sf-social-share",
    "related", "related-content", "related-links", "related-pages", "related-articles",
    "related-posts", "related-items", "sf-related", "promo", "promotion", "teaser-list",
    "advertisement", "sponsor", "left-nav", "leftnav", "rightnav", "right-nav", "side-nav",
    "sidenav", "usa-sidenav", "local-nav", "nav", "navbar", "main-nav", "global-nav", "topnav",
    "usa-nav", "main-menu", "footer", "site-footer", "page-footer", "usa-footer", "global-footer",
    "site-header", "global-header", "usa-header", "usa-banner", "usa-identifier", "gov-banner",
    "masthead", "cookie", "cookies", "cookie-banner", "cookie-notice", "cookie-consent", "gdpr",
    "pagination", "table-of-contents", "on-this-page", "onthispage", "page-toc", "in-page",
    "usa-in-page-nav", "language-switcher", "language-selector", "newsletter", "email-signup",
    "search-form", "searchform", "reader-comments", "comment-form", "page-feedback", "print-only",
    "back-to-top", "backtotop", "page-tools", "tblsearchoptions", "metric-details",
    "altmetric-embed", "headerlink", "popup", "pop-up", "newsletter-signup", "newsletter-sign-up",
}  # fmt: skip
# As an id these name a place in the article.
_PLACES = _WEAK | {"related", "share", "sharing", "promo", "sponsor", "modal", "nav"}
_ROLES = {
    "navigation", "search", "contentinfo", "banner", "menu", "menubar", "toolbar", "dialog",
    "alertdialog", "complementary",
}  # fmt: skip
_CALL_OUTS = {
    "callout", "call-out", "warning", "alert", "caution", "important", "note", "notice", "danger",
    "box", "boxed", "key-points", "keypoints", "highlight", "tip", "admonition", "info", "panel",
    "usa-alert", "well", "summary-box", "usa-summary-box",
}  # fmt: skip
_TABS = ".//*[@role='tab' or @data-toggle='tab' or @data-bs-toggle='tab']"
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden")
# A class of this kind says that something opens what it hides.
_OPENS = re.compile(r"(?:^|[-_ ])(?:accordion|collapse|collapsible|panel|tab|toggle|expand|faq)")
_TOP = re.compile(
    r"(?:(?:(?:return|back|go) to )?(?:the )?top(?: of (?:the )?page)?|skip to .*)\.?",
    re.IGNORECASE,
)
_WARNS = re.compile(r"(?:boxed )?warning|caution|danger|important|attention", re.IGNORECASE)
_SIGN_UP = re.compile(
    r"e-?mail|subscri|sign (?:up|in)|log ?in|password|search|newsletter|submit|captcha|comment"
    r"|this form|personal information|feedback|helpful|useful",
    re.IGNORECASE,
)
_HIDES = ("struck out", "hidden on the page", "hidden duplicate")
_COPIED = 40  # characters that do not stand twice on a page by chance
_CODE = ("script", "style", "noscript", "template")
_TAGS = {
    "nav": "navigation", "dialog": "dialogue",
    **dict.fromkeys((*_CODE, "iframe", "object"), "not text"),
}  # fmt: skip
_UNWRAPPED = {"form", "fieldset", "button", "label", "blockquote"}
_JUDGED = {"footer", "header", "aside", "form", "button", "a"}  # also without attributes
_HEADS = ("caption", "th", "thead")
_FIELDS = ("input", "select", "textarea", "label", "button", "option", "legend")


def prune(part: Element, dropped: list[Dropped], whole: bool) -> None:
    """Take the boilerplate out of a part of a page, and unwrap what merely looks like it.

    Args:
        part: the part; changed in place.
        dropped: takes a row for each piece that is taken out.
        whole: whether the part is all of the page, so that its header and asides are boilerplate.
    """
    _name_panels(part)
    _Pruner(part, dropped, whole).visit(part)


def is_boxed_advice(aside: Element) -> bool:
    """Whether something that stands apart warns or advises readers of the article.

    Args:
        aside: of a page.
    """
    text = _apart(aside)
    boxed = not tokens(aside).isdisjoint(_CALL_OUTS) or _WARNS.match(text)
    return bool(boxed and ADVICE.search(text))


def _apart(element: Element) -> str:
    """The text of an element, with the words of one block apart from those of the next."""
    return " ".join(" ".join(map(str, element.itertext(None))).split())


def _name_panels(part: Element) -> None:
    """Put the name of each tab above its panel, where readers of plain text need it."""
    tabs = cast(list[Element], part.xpath(_TABS))
    panels = {e.get("id"): e for e in part.iter("div", "section") if tabs and e.get("id")}
    for tab in tabs:
        names = ("aria-controls", "data-bs-target", "data-target", "href")
        panel = panels.get(next((v for n in names if (v := tab.get(n))), "").lstrip("#"))
        above = tab.iterancestors()
        bar = next(
            (e for e in above if e.get("role") == "tablist" or "nav-tabs" in tokens(e)), None
        )
        if panel is None or bar is None or bar in panel.iterancestors():
            continue
        inside = [h for h in panel.iter(*HEADINGS) if text_of(h)]
        if not inside or text_of(inside[0]) != text_of(tab):
            level = min((HEADINGS.index(h.tag) for h in inside), default=5)
            name = etree.Element(HEADINGS[max(level - 1, 1)])
            name.text, name.tail, panel.text = text_of(tab), panel.text, None
            panel.insert(0, name)
        _empty(tab)


def _empty(element: Element) -> None:
    element.text = None
    del element[:]


class _Pruner:
    def __init__(self, part: Element, dropped: list[Dropped], whole: bool) -> None:
        self._dropped = dropped
        self._whole = whole
        self._text = text_of(part)
        self._length = len(self._text)
        self._opened = {  # ids of what a control of the page opens
            str(value).lstrip("#")
            for element in part.iter("a", "button", "div", "h2", "h3", "h4", "summary", "span")
            for name in ("aria-controls", "data-target", "data-bs-target", "href")
            if (value := element.get(name)) and (name != "href" or value.startswith("#"))
        }

    def visit(self, element: Element) -> None:
        for child in list(element):
            reason = self._reason(child) if isinstance(child.tag, str) else ""
            if reason:
                if child.tag not in _CODE and (words := opening(child)):
                    self._dropped.append(Dropped(child.tag, words, reason))
                if reason in _HIDES and child.tag in ("tr", "td", "th"):
                    # The other cells stay in their columns and rows.
                    for cell in child if child.tag == "tr" else (child,):
                        _empty(cell)
                else:  # what follows it stays, apart from what was before
                    child.tail = f" {child.tail or ''}"
                    cast(HtmlElement, child).drop_tree()
                continue
            if child.attrib or child.tag in _UNWRAPPED:
                self._rename(child)
            self.visit(child)

    def _rename(self, element: Element) -> None:
        """Call an element what it is on the page."""
        if _opens_a_section(element):
            element.tag = "h6"
        elif element.get("role") == "heading" and element.tag not in HEADINGS:
            level = element.get("aria-level") or "3"
            element.tag = f"h{level}" if level in "123456" else "h3"
        elif element.tag in ("button", "label"):
            element.tag = "span"
        elif element.tag == "blockquote":  # old pages indent a part of themselves with it
            if _holds(element, "h1", "h2", "h3", "table") or self._is_most(element):
                element.tag = "div"
        elif element.tag in ("form", "fieldset"):
            element.tag = "div"

    def _reason(self, element: Element) -> str:
        """Why an element is no part of the article; "" if it may be."""
        tag = str(element.tag)
        if tag in _TAGS:
            return _TAGS[tag]
        if not element.attrib and tag not in _JUDGED:
            return ""
        if tag == "footer" and not _within(element, "blockquote"):
            return "" if self._is_most(element) or _closes_an_article(element) else "footer"
        if tag == "header" and self._whole and not self._is_most(element):
            inside = _within(element, "article", "main", "section")
            return "" if inside else "header of the site"
        if tag == "aside" and self._is_beside(element):
            return "beside the article"
        if tag == "form":
            return "" if self._is_page(element) else "form"
        if tag == "button":
            return "" if _is_set_as_heading(element) or _is_control(element) else "button"
        if tag == "a" and _is_link_to_top(element):
            return "link to the top"
        names = tokens(element)
        if is_struck(element, names):
            return "struck out"
        role = (element.get("role") or "").lower()
        if role in _ROLES and not (role == "complementary" and not self._is_beside(element)):
            return "" if self._is_most(element) else f"role {role}"
        place = {(element.get("id") or "").lower()} - _PLACES
        found = (names | place) & _BOILERPLATE
        weak = bool(found) and found <= _WEAK and _has_sentences(element)
        if found and not weak and tag not in ("body", "html", "main", "article"):
            # Words for screen readers may be a table's caption or the head of a column.
            head = tag in _HEADS or _within(element, *_HEADS)
            unseen = found <= _UNSEEN_NAMES and head
            warns = found <= _BESIDE and _WARNS.match(text_of(element))
            if not (unseen or warns or self._is_most(element)):
                return f"furniture: {min(found)}"
        hidden = element.get("hidden") is not None or element.get("aria-hidden") == "true"
        if not (hidden or _HIDDEN.search(element.get("style") or "")):
            return ""
        text = text_of(element)
        if len(text) > _COPIED and self._text.count(text) > 1:
            return "hidden duplicate"
        return "" if self._is_opened(element, names) else "hidden on the page"

    def _is_most(self, element: Element) -> bool:
        """Whether an element is what the page is about, whatever its name."""
        return 2 * len(text_of(element)) > self._length

    def _is_page(self, form: Element) -> bool:
        """Whether a form holds the page, not only fields."""
        if _holds(form, "main", "article", "h1"):
            return True
        fields = sum(len(text_of(field)) for field in form.iter(*_FIELDS))
        if 2 * (len(text_of(form)) - fields) > self._length - fields:
            return True
        tables = (t for t in form.iter("table") if not _holds(t, *_FIELDS))
        return _has_sentences(form) or any(len(t.findall(".//tr")) > 1 for t in tables)

    def _is_beside(self, aside: Element) -> bool:
        """Whether an aside stands outside the article."""
        if tokens(aside) & _CALL_OUTS or aside.get("role") in ("note", "doc-tip", "alert"):
            return False
        if not self._whole or _within(aside, "article", "main"):
            return False
        text = _apart(aside)
        return not (_WARNS.match(text) or ADVICE.search(text))

    def _is_opened(self, element: Element, names: set[str]) -> bool:
        """Whether something on the page shows what is hidden at first."""
        if element.get("id") in self._opened or element.get("role") in ("tabpanel", "region"):
            return True
        before = element.getprevious()
        if before is not None and (
            before.tag in ("summary", "dt") or _holds(before, "button", *HEADINGS)
        ):
            return True
        return bool(_OPENS.search(" ".join(names)))


def _within(element: Element, *names: str) -> bool:
    return next(element.iterancestors(*names), None) is not None


def _holds(element: Element, *names: str) -> bool:
    return next(element.iter(*names), None) is not None


def _closes_an_article(footer: Element) -> bool:
    """Whether a footer inside the article ends it with advice."""
    texts = map(text_of, footer.iter("p", "li") if _within(footer, "article", "main") else ())
    return any(text.endswith(".") and ADVICE.search(text) for text in texts)


def _has_sentences(element: Element) -> bool:
    """Whether a paragraph or item in an element is a sentence that asks for nothing to be sent."""
    return any(
        text.endswith(".") and len(text.split()) > 5 and not _SIGN_UP.search(text)
        for text in map(text_of, element.iter("p", "li"))
    )


def _is_control(element: Element) -> bool:
    """Whether a click on an element opens and closes a part of the article."""
    toggles = element.get("data-toggle") or element.get("data-bs-toggle") or ""
    if element.get("aria-haspopup") or "dropdown" in toggles:
        return False
    opens = _OPENS.search(" ".join(tokens(element)))
    return element.get("aria-expanded") is not None or toggles == "collapse" or bool(opens)


def _is_set_as_heading(element: Element) -> bool:
    return _within(element, *HEADINGS, "summary") or _holds(element, *HEADINGS)


def _opens_a_section(element: Element) -> bool:
    """Whether an element is the heading of a panel, though it is not marked as a heading."""
    tag, role = element.tag, element.get("role")
    link = tag == "a" or (tag in ("div", "span") and role == "button")
    clicked = tag == "button" or (link and element.get("aria-expanded") is not None)
    opens = role == "tab" or (clicked and _is_control(element))
    return opens and bool(text_of(element)) and not _is_set_as_heading(element)


def _is_link_to_top(link: Element) -> bool:
    text = text_of(link)
    if len(text) > 40 or not _TOP.fullmatch(text):
        return False
    return not text.lower().startswith("skip") or "#" in (link.get("href") or "")
