"""JATS full texts: PubMed Central, publishers, and `efetch db=pmc` answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.dates import partial_date
from elara.collect.languages import language_code
from elara.collect.licences import redistributable, strictest
from elara.collect.parsed import Parsed
from elara.collect.pubmed import plain_doi
from elara.collect.xmlrecords import (
    Element,
    keep_exponents,
    malformed,
    read_record,
    split_records,
    text_of,
)
from elara.records import Article, Section

RECORDS = ("article", "jats:article")

_HREF = "{http://www.w3.org/1999/xlink}href"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
# Never part of the running text: floats, link-outs, and the LaTeX twin of a MathML formula.
_LEFT_OUT = {
    "table-wrap", "fig", "fig-group", "table-wrap-foot", "supplementary-material", "media",
    "graphic", "inline-graphic", "tex-math", "fn", "fn-group", "permissions", "label", "object-id",
}  # fmt: skip
_BLOCKS = {"p", "list", "disp-quote", "boxed-text", "def-list", "statement", "disp-formula"}
# Relations by which an article says that it has itself been retracted.
_RETRACTED_BY = {"retraction-forward", "retracted-by", "retraction-in"}


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
            element = keep_exponents(_without_namespace(read_record(record)))
            article = _article(element, record)
        except etree.XMLSyntaxError as error:
            yield Parsed(record=number, status="error", reason=malformed(error))
            continue
        except RecursionError:
            reason = "elements are nested too deeply to be an article: look at the file"
            yield Parsed(record=number, status="error", reason=reason)
            continue
        native = article.id.partition(":")[2]
        if not (article.title or article.abstract or article.body):
            reason = "JATS article without title, abstract and body"
            yield Parsed(record=number, native_id=native, status="skipped", reason=reason)
            continue
        yield Parsed(
            record=number,
            native_id=native,
            article=article,
            article_id=article.id,
            revision=article.published,
        )


def _without_namespace(article: Element) -> Element:
    for element in article.iter("{https://jats.nlm.nih.gov}*", "{http://jats.nlm.nih.gov}*"):
        element.tag = etree.QName(element).localname
    return article


def _article(element: Element, record: bytes) -> Article:
    meta = element.find("front/article-meta")
    if meta is None:
        meta = etree.Element("article-meta")
    ids = {str(i.get("pub-id-type")): text_of(i) for i in meta.iterfind("article-id")}
    doi = plain_doi(ids.get("doi", ""))
    pmcid = _pmcid(ids)
    native = pmcid or doi or ids.get("publisher-id") or hashlib.sha256(record).hexdigest()[:12]
    source = "pmc" if pmcid else "jats"
    licence = strictest(_statements(meta))
    types, subjects = _categories(meta)
    kind = element.get("article-type", "")
    return Article(
        id=f"{source}:{native}",
        source=source,
        title=_inline(meta.find("title-group/article-title"), {"xref", "fn"}),
        abstract=_abstract(meta),
        body=_body(element.find("body")),
        language=language_code(element.get(_LANG) or ""),
        published=_published(meta),
        journal=text_of(next(element.iterfind("front/journal-meta//journal-title"), None)),
        keywords=[k for k in map(text_of, meta.iterfind("kwd-group//kwd")) if k] + subjects,
        authors=_authors(meta),
        publication_types=list(dict.fromkeys(t for t in [kind, *types] if t)),
        url=_url(pmcid, doi),
        doi=doi,
        pmid=ids.get("pmid", ""),
        pmcid=pmcid,
        licence=licence,
        redistributable=redistributable(licence),
        retracted=kind == "retracted-article"
        or any(
            r.get("related-article-type") in _RETRACTED_BY for r in meta.iterfind("related-article")
        ),
    )


def _categories(meta: Element) -> tuple[list[str], list[str]]:
    """Kinds of article, and subjects; the attribute tells which a group lists."""
    types: list[str] = []
    subjects: list[str] = []
    for group in meta.iterfind("article-categories/subj-group"):
        kind = group.get("subj-group-type", "heading")
        chosen = types if kind in ("heading", "display-channel", "article-type") else subjects
        chosen += [text for s in group.iter("subject") if (text := text_of(s))]
    return types, list(dict.fromkeys(subjects))


def _pmcid(ids: dict[str, str]) -> str:
    found = ids.get("pmcid") or ids.get("pmc") or ""
    digits = found.upper().removeprefix("PMC").split(".")[0]
    return f"PMC{digits}" if digits.isdigit() else ""


def _url(pmcid: str, doi: str) -> str:
    if pmcid:
        return f"https://pmc.ncbi.nlm.nih.gov/articles/{pmcid}/"
    return f"https://doi.org/{doi}" if doi else ""


def _statements(meta: Element) -> Iterator[str]:
    """Everything that the article (not one of its figures) says about its licence."""
    for licence in meta.iterfind("permissions/license"):
        yield licence.get(_HREF) or ""
        yield text_of(licence)
        for part in licence.iter():
            yield part.get(_HREF) or ""
    for tag in ("license_ref", "free_to_read"):
        for reference in meta.iterfind(f"permissions/{{*}}{tag}"):
            yield text_of(reference)
    for tag in ("permissions/copyright-statement", "copyright-statement"):
        yield text_of(meta.find(tag))


def _published(meta: Element) -> str:
    dates = [
        partial_date(d.findtext("year") or "", d.findtext("month") or "", d.findtext("day") or "")
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
        if full:
            names.append(full)
    return names


def _abstract(meta: Element) -> str:
    """The scientific abstract: not the teaser, author summary or graphical one."""
    for abstract in meta.iterfind("abstract"):
        if abstract.get("abstract-type", "abstract") not in ("abstract", "section", "structured"):
            continue
        lines = [text for p in abstract.iterfind("p") if (text := _inline(p, _LEFT_OUT))]
        for section in abstract.iterfind("sec"):
            label = text_of(section.find("title")).rstrip(":.")
            text = " ".join(_inline(p, _LEFT_OUT) for p in section.iter("p")).strip()
            if text:
                lines.append(f"{label.upper()}: {text}" if label else text)
        return "\n".join(lines)
    return ""


def _body(body: Element | None) -> list[Section]:
    return [] if body is None else list(_sections(body, ""))


def _sections(parent: Element, heading: str) -> Iterator[Section]:
    """The text of a section, then those of its subsections under `Parent: Child` headings."""
    blocks = [t for b in parent.iterchildren(*_BLOCKS) for t in _paragraphs(b) if t]
    if blocks:
        yield Section(heading, "\n\n".join(blocks))
    for child in parent.iterfind("sec"):
        title = text_of(child.find("title"))
        yield from _sections(child, ": ".join(part for part in (heading, title) if part))


def _paragraphs(block: Element) -> list[str]:
    if block.tag == "list":
        return ["\n".join(f"- {t}" for i in block.iterfind("list-item") if (t := _inline(i)))]
    if block.tag in ("disp-quote", "boxed-text", "statement"):
        return [_inline(p) for p in block.iter("p", "title")]
    return [_inline(block)]


def _inline(element: Element | None, left_out: set[str] = _LEFT_OUT) -> str:
    """Like `text_of`, without the elements named."""
    if element is None:
        return ""
    if not len(element):
        return text_of(element)
    pieces: list[str] = []
    _gather(element, left_out, pieces)
    return " ".join("".join(pieces).split())


def _gather(element: Element, left_out: set[str], pieces: list[str]) -> None:
    pieces.append(element.text or "")
    for child in element:
        if child.tag not in left_out:
            _gather(child, left_out, pieces)
        pieces.append(child.tail or "")
        if child.tag in ("p", "list-item", "list", "break"):
            pieces.append(" ")
