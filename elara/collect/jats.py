"""Read JATS full texts: PubMed Central, publishers, and `efetch db=pmc` answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from lxml import etree

from elara.collect.africa import countries
from elara.collect.blocks import Flow, joined
from elara.collect.fields import iso_date, language_code, partial_date, plain_doi, plain_pmid
from elara.collect.formulas import linear_formulas
from elara.collect.jatstext import HREF, JatsWalker
from elara.collect.licences import UNKNOWN, redistributable, strictest
from elara.collect.notices import jats_retracted, jats_targets
from elara.collect.parsed import Dropped, Parsed
from elara.collect.walker import Role, Walker
from elara.collect.xmlrecords import Element, malformed, read_record, split_records, text_of
from elara.records import Article, Section

RECORDS = ("article", "jats:article")

# Of JATS itself, and of its usual guests: treatments of species, and tables as OASIS has them.
_NAMESPACES = (
    "{https://jats.nlm.nih.gov}*",
    "{http://jats.nlm.nih.gov}*",
    "{http://www.plazi.org/taxpub}*",
    "{http://docs.oasis-open.org/ns/oasis-exchange/table}*",
    "{http://www.niso.org/standards/z39-96/ns/oasis-exchange/table}*",
)
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SECTIONS = {"sec", "taxon-treatment", "treatment-sec"}


def parse(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read JATS articles, one or many to a document.

    Args:
        chunks: pieces of one XML document, in order.

    Yields:
        One `Parsed` per article. Sub-articles (reviews, replies) are not read.

    Raises:
        PayloadError: the document breaks off; all whole records have been yielded then.

    Source: https://jats.nlm.nih.gov/archiving/tag-library/1.3/
    """
    for number, record in enumerate(split_records(chunks, RECORDS)):
        try:
            parsed = _parsed(record)
        except etree.XMLSyntaxError as error:
            parsed = Parsed(record=number, status="error", reason=malformed(error))
        except RecursionError:
            reason = "elements are nested too deeply to be an article: look at the file"
            parsed = Parsed(record=number, status="error", reason=reason)
        parsed.record = number
        yield parsed


def _parsed(record: bytes) -> Parsed:
    element = read_record(record)
    for named in element.iter(*_NAMESPACES):
        named.tag = etree.QName(named).localname
    linear_formulas(element)
    meta = element.find("front/article-meta")
    meta = etree.Element("article-meta") if meta is None else meta
    walker = JatsWalker()
    article = _article(walker, element, meta, record)
    parsed = Parsed(
        record=0,
        native_id=article.id.partition(":")[2],
        retracts=jats_targets(meta, element.get("article-type", "")),
    )
    if not (article.title or article.abstract or article.body):
        parsed.status, parsed.reason = "skipped", "JATS article without title, abstract and body"
        return parsed
    if not article.pmid:
        for stated in meta.iterfind("article-id[@pub-id-type='pmid']"):
            parsed.dropped.append(Dropped("article-id", text_of(stated)[:80], "not a PMID"))
    parsed.dropped += walker.left_out()
    parsed.article, parsed.article_id, parsed.revision = article, article.id, article.published
    if article.licence == UNKNOWN:
        parsed.licence_stated = " ".join(_statements(meta))
    return parsed


def _article(walker: JatsWalker, element: Element, meta: Element, record: bytes) -> Article:
    ids = {str(i.get("pub-id-type")): text_of(i) for i in meta.iterfind("article-id")}
    doi = plain_doi(ids.get("doi", ""))
    digits = (ids.get("pmcid") or ids.get("pmc") or "").upper().removeprefix("PMC").split(".")[0]
    pmcid = f"PMC{digits}" if digits.isdigit() else ""
    url = f"https://pmc.ncbi.nlm.nih.gov/articles/{pmcid}/" if pmcid else ""
    native = pmcid or doi or ids.get("publisher-id") or hashlib.sha256(record).hexdigest()[:12]
    source = "pmc" if pmcid else "jats"
    licence = strictest(_statements(meta))
    types, subjects = _categories(meta)
    kind = element.get("article-type", "")
    abstract, summaries = _abstracts(walker, meta)
    title = _TitleWalker()
    pages = [text_of(meta.find(name)) for name in ("fpage", "lpage")]
    article = Article(
        id=f"{source}:{native}",
        source=source,
        title=_full_title(title, meta),
        abstract=abstract,
        body=[*summaries, *_body(walker, element)],
        language=language_code(element.get(_LANG) or ""),
        published=_published(meta),
        journal=text_of(next(element.iterfind("front/journal-meta//journal-title"), None)),
        volume=text_of(meta.find("volume")),
        pages="-".join(dict.fromkeys(filter(None, pages))) or text_of(meta.find("elocation-id")),
        keywords=[k for k in map(title.line, meta.iterfind("kwd-group//kwd")) if k] + subjects,
        authors=_authors(meta),
        affiliation_countries=countries(affiliations=map(text_of, meta.iter("aff"))),
        publication_types=list(dict.fromkeys(t for t in [kind, *types] if t)),
        url=url or (f"https://doi.org/{doi}" if doi else ""),
        doi=doi,
        pmid=plain_pmid(ids.get("pmid", "")),
        pmcid=pmcid,
        licence=licence,
        redistributable=redistributable(licence),
        retracted=jats_retracted(meta, kind),
    )
    walker.dropped += title.left_out()
    return article


def _categories(meta: Element) -> tuple[list[str], list[str]]:
    """Kinds of article, and subjects; the attribute tells which a group lists."""
    types: list[str] = []
    subjects: list[str] = []
    for group in meta.iterfind("article-categories/subj-group"):
        kind = group.get("subj-group-type", "heading")
        chosen = types if kind in ("heading", "display-channel", "article-type") else subjects
        chosen += [text for s in group.iter("subject") if (text := text_of(s))]
    return types, list(dict.fromkeys(subjects))


def _statements(meta: Element) -> Iterator[str]:
    """Everything that the article (not one of its figures) says about its licence."""
    for licence in meta.iterfind("permissions/license"):
        yield licence.get(HREF) or ""
        yield text_of(licence)
        yield from (part.get(HREF) or "" for part in licence.iter())
    for tag in ("license_ref", "free_to_read"):
        for reference in meta.iterfind(f"permissions/{{*}}{tag}"):
            yield text_of(reference)
    for tag in ("permissions/copyright-statement", "copyright-statement"):
        yield text_of(meta.find(tag))


def _published(meta: Element) -> str:
    dates = [
        partial_date(d.findtext("year") or "", d.findtext("month") or "", d.findtext("day") or "")
        or iso_date(d.get("iso-8601-date") or "")
        for d in meta.iterfind("pub-date")
    ]
    # The earliest year, as precise as any date of that year states it.
    return min((d for d in dates if d), key=lambda d: (d[:4], -len(d), d), default="")


def _authors(meta: Element) -> list[str]:
    names = []
    for contributor in meta.iterfind("contrib-group/contrib"):
        if contributor.get("contrib-type", "author") != "author":
            continue
        name = contributor.find(".//name")
        if name is not None:
            full = f"{text_of(name.find('given-names'))} {text_of(name.find('surname'))}".strip()
        else:
            full = text_of(contributor.find("collab")) or text_of(contributor.find("string-name"))
        names.append(full)
    return list(filter(None, names))


def _body(walker: JatsWalker, article: Element) -> Iterator[Section]:
    """Sections of the main text, of figures and tables in a group of their own, of the back."""
    for body in islice(article.iterchildren("body"), 1):
        yield from _sections(walker, body)
    for floats in islice(article.iterchildren("floats-group"), 1):
        yield from _sections(walker, floats, "Figures and tables")
    for back in islice(article.iterchildren("back"), 1):
        yield from _back_matter(walker, back)
    for other in article.iterchildren("sub-article", "response"):
        walker.drop(other, "an article of its own (review, reply or comment)")


class _TitleWalker(JatsWalker):
    """Reads titles, in which every link and note is left out."""

    roles: ClassVar[Mapping[Any, Role]] = {**JatsWalker.roles, "xref": Walker.note}


def _full_title(walker: JatsWalker, meta: Element) -> str:
    """The title of an article with its subtitle; other titles are left out."""
    group = meta.find("title-group")
    parts = []
    for title in [] if group is None else group:
        if title.tag in ("article-title", "subtitle"):
            parts.append(walker.line(title))
        else:
            walker.drop(title, "notes" if title.tag == "fn-group" else "another title")
    return joined(list(filter(None, parts)), ": ")


def _sections(walker: JatsWalker, parent: Element, heading: str = "") -> Iterator[Section]:
    """The text of a section, then those of its subsections under `Parent: Child` headings."""
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
        below = ": ".join(filter(None, (heading, walker.line(child.find("title")))))
        for section in _sections(walker, child, below):
            empty = False
            yield section
    for name in parent.iterchildren("title") if empty else ():
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


def _back_matter(walker: JatsWalker, back: Element) -> Iterator[Section]:
    """The text behind the main part: appendices, abbreviations, notes with text."""
    for part in back:
        if part.tag in ("title", "label"):
            walker.drop(part, "name of a group")
            continue
        title = walker.line(part.find("title"))
        kind = part.get("sec-type") or part.get("notes-type") or part.get("content-type") or ""
        reason = _BACK.get(part.tag, "")
        if not reason and (_ADMINISTRATIVE.fullmatch(title) or _ADMINISTRATIVE.fullmatch(kind)):
            reason = "administrative"
        kinds = {note.get("fn-type") or "" for note in part.iterfind("fn")}
        of_one_kind = kinds.pop() if len(kinds) == 1 else ""
        if part.tag == "fn-group" and _ABBREVIATIONS.fullmatch(title or of_one_kind):
            notes = "\n".join(filter(None, map(walker.line, part.iterfind("fn"))))
            yield Section(title or "Abbreviations", notes)
        elif reason:
            walker.drop(part, reason)
        elif part.tag in ("app-group", "back"):
            yield from _back_matter(walker, part)
        else:
            usual = {"app": "Appendix", "glossary": "Abbreviations"}.get(part.tag, "")
            label = text_of(part.find("label")) if part.tag == "app" else ""
            title = ": ".join(filter(None, [label, title]))
            yield from _sections(walker, part, title or usual)


# Other abstracts that only point to the article.
_TEASERS = {
    "toc", "teaser", "graphical", "precis", "synopsis", "editor", "web-summary", "short", "video",
    "stereochemical", "objective", "tweet", "object", "key-image",
}  # fmt: skip
_ABSTRACTS = ("abstract", "section", "structured")


def _abstracts(walker: JatsWalker, meta: Element) -> tuple[str, list[Section]]:
    """The scientific abstract, one line per part, and summaries for readers as sections."""
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
            if kind in _ABSTRACTS and abstract.get(_LANG):
                walker.drop(abstract, f"abstract in another language ({abstract.get(_LANG)})")
            elif lines := _parts(walker, abstract):
                others.append(Section(title, "\n\n".join(lines)))
    for abstract in meta.iterfind("trans-abstract"):
        language = abstract.get(_LANG) or "unknown"
        walker.drop(abstract, f"abstract in another language ({language})")
    return scientific, others


def _parts(walker: JatsWalker, abstract: Element) -> list[str]:
    """A line per paragraph and labelled part; items of lists have lines of their own."""
    lines: list[str] = []
    for child in abstract:
        if child.tag == "sec":
            label = walker.line(child.find("title")).rstrip(":.")
            inner = _parts(walker, child)
            lists = any("\n" in line or line[:2] == "- " for line in inner)
            text = "\n".join(inner) if lists else " ".join(inner)
            if text:
                lines.append(f"{label.upper()}: {text}" if label else text)
        elif child.tag != "title":
            lines += [block.text for block in walker.own_blocks(child)]
    return lines
