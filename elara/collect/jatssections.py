"""Read the parts of a JATS article: titles, abstracts, sections, back matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from elara.collect.blocks import Flow, joined
from elara.collect.jatstext import NAMED, JatsWalker, label_of
from elara.collect.walker import Role, Walker
from elara.collect.xmlrecords import Element
from elara.records import Section

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SECTIONS = {"sec", "taxon-treatment", "treatment-sec"}


class TitleWalker(JatsWalker):
    """Reads titles, in which every link and note is left out."""

    roles: ClassVar[Mapping[Any, Role]] = {**JatsWalker.roles, "xref": Walker.note}


def full_title(walker: JatsWalker, meta: Element) -> str:
    """The title of an article with its subtitle.

    Args:
        walker: reads it, and gets a row for each other title: short ones and translations.
        meta: `article-meta`.
    """
    group = meta.find("title-group")
    parts = []
    for title in [] if group is None else group:
        if title.tag in ("article-title", "subtitle"):
            parts.append(walker.line(title))
        elif title.tag != "fn-group":
            walker.drop(title, "another title")
        else:
            walker.drop(title, NAMED["fn-group"])
    return joined([part for part in parts if part], ": ")


def sections(walker: JatsWalker, parent: Element, heading: str = "") -> Iterator[Section]:
    """The text of a section, then those of its subsections under `Parent: Child` headings.

    Args:
        walker: reads the blocks, and keeps account of what is left out.
        parent: `body`, `sec`, `app` or `floats-group`, its formulas made lines of text.
        heading: of the parent.

    Yields:
        Sections that have text, in reading order.
    """
    flow = Flow(walker.break_in_line)
    inner: list[Element] = []
    for child in parent:
        if child.tag in _SECTIONS:
            inner.append(child)
        elif child.tag != "title":
            walker.child(child, flow)
            if child.tail:
                flow.run.append(child.tail)
    flow.end()
    empty = not flow.blocks
    if flow.blocks:
        yield Section(heading, "\n\n".join(block.text for block in flow.blocks))
    for child in inner:
        title = walker.line(child.find("title"))
        below = ": ".join(part for part in (heading, title) if part)
        for section in sections(walker, child, below):
            empty = False
            yield section
    if empty:
        for name in parent.iterchildren("title"):
            walker.drop(name, "nothing below it")


# Parts of the back matter that say who did, paid and owns what, by type and by title.
_ADMINISTRATIVE = re.compile(
    r"(?:(?:supplement(?:ary|al)|supporting|additional|major)[- ](?:materials?|information|data"
    r"|datasets?|files?)|supplements?|(?:data|code|data and code)[- ](?:availability|sharing)"
    r"|(?:data )?availability(?: of .*| statement)?|datasets?|funding(?:[- ](?:information"
    r"|statement))?|financial (?:support|disclosures?)|(?:coi|disclosure)[- ]statement|disclosures?"
    r"|(?:conflicts?[- ]of|competing|declarations? of(?: competing| conflicting)?)[- ]interests?"
    r"|declarations?|author(?:s|s['’]|['’]s)?[- ]contributions?|contributor(?:s|ship)?"
    r"|acknowledge?ments?|ethics?(?: approval| statement)?(?: and consent.*)?|consent (?:for|to) .*"
    r"|provenance and peer review|publisher['’]s note)\W*",
    re.IGNORECASE,
)
_ABBREVIATIONS = re.compile(r"(?:list of )?abbr(?:eviations?)?(?: used)?\W*", re.IGNORECASE)
_BACK = {
    "ack": "acknowledgements", "ref-list": "references", "fn-group": "notes", "bio": "biography",
    "fn": "notes",
}  # fmt: skip


def _types(notes: Element) -> str:
    """What kind of notes a group holds, where all are of one."""
    kinds = {note.get("fn-type") or "" for note in notes.iterfind("fn")}
    return kinds.pop() if len(kinds) == 1 else ""


def back_matter(walker: JatsWalker, back: Element) -> Iterator[Section]:
    """The text that stands behind the main part: appendices, abbreviations, notes with text.

    Args:
        walker: reads the blocks, and gets a row for each part that is left out, such as references
            and statements about funding.
        back: the element of that name.

    Yields:
        Sections that have text, in reading order.
    """
    for part in back:
        if part.tag in ("title", "label"):
            walker.drop(part, "name of a group")
            continue
        title = walker.line(part.find("title"))
        kind = part.get("sec-type") or part.get("notes-type") or part.get("content-type") or ""
        reason = _BACK.get(part.tag, "")
        if not reason and (_ADMINISTRATIVE.fullmatch(title) or _ADMINISTRATIVE.fullmatch(kind)):
            reason = "administrative"
        if part.tag == "fn-group" and _ABBREVIATIONS.fullmatch(title or _types(part)):
            notes = "\n".join(filter(None, map(walker.line, part.iterfind("fn"))))
            yield Section(title or "Abbreviations", notes)
        elif reason:
            walker.drop(part, reason)
        elif part.tag in ("app-group", "back"):
            yield from back_matter(walker, part)
        else:
            usual = {"app": "Appendix", "glossary": "Abbreviations"}.get(part.tag, "")
            title = ": ".join(filter(None, [label_of(part) if part.tag == "app" else "", title]))
            yield from sections(walker, part, title or usual)


# Other abstracts that only point to the article.
_TEASERS = {
    "toc", "teaser", "graphical", "precis", "synopsis", "editor", "web-summary", "short", "video",
    "stereochemical", "objective", "tweet", "object", "key-image",
}  # fmt: skip
_ABSTRACTS = ("abstract", "section", "structured")


def abstracts(walker: JatsWalker, meta: Element) -> tuple[str, list[Section]]:
    """The scientific abstract of an article, and the others that have text of their own.

    Args:
        walker: reads the blocks, and gets a row for each abstract that is left out: teasers,
            pictures, translations.
        meta: `article-meta`.

    Returns:
        The abstract, one line per part; and summaries for readers, each as a section.
    """
    scientific = ""
    others: list[Section] = []
    for abstract in meta.iterfind("abstract"):
        kind = abstract.get("abstract-type", "abstract")
        if kind in _TEASERS:
            walker.drop(abstract, f"abstract of type {kind}")
        elif kind in _ABSTRACTS and not scientific:
            for name in abstract.iterchildren("title", "label"):
                walker.drop(name, "name of a group")
            scientific = "\n".join(_parts(walker, abstract))
        else:
            title = walker.line(abstract.find("title")) or kind.replace("-", " ").capitalize()
            if kind in _ABSTRACTS and abstract.get(LANG):
                walker.drop(abstract, f"abstract in another language ({abstract.get(LANG)})")
            elif lines := _parts(walker, abstract):
                others.append(Section(title, "\n\n".join(lines)))
    for abstract in meta.iterfind("trans-abstract"):
        language = abstract.get(LANG) or "unknown"
        walker.drop(abstract, f"abstract in another language ({language})")
    return scientific, others


def _parts(walker: JatsWalker, abstract: Element) -> list[str]:
    """A line per paragraph and labelled part; items of lists have lines of their own."""
    lines: list[str] = []
    flow = Flow(walker.break_in_line)
    for child in abstract:
        if child.tag == "sec":
            label = walker.line(child.find("title")).rstrip(":.")
            inner = _parts(walker, child)
            lists = any("\n" in line or line[:2] == "- " for line in inner)
            text = "\n".join(inner) if lists else " ".join(inner)
            if text:
                lines.append(f"{label.upper()}: {text}" if label else text)
        elif child.tag != "title":
            flow.blocks = []
            walker.child(child, flow)
            flow.end()
            lines += [block.text for block in flow.blocks]
    return lines
