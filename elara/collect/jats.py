"""Read JATS full texts: PubMed Central, publishers, and `efetch db=pmc` answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.africa import affiliation_countries
from elara.collect.fields import iso_date, language_code, partial_date, plain_doi, plain_pmid
from elara.collect.formulas import linear_formulas
from elara.collect.jatssections import (
    LANG,
    TitleWalker,
    abstracts,
    back_matter,
    full_title,
    sections,
)
from elara.collect.jatstext import HREF, JatsWalker
from elara.collect.licences import UNKNOWN, redistributable, strictest
from elara.collect.notices import jats_retracted, jats_targets
from elara.collect.parsed import Dropped, Parsed
from elara.collect.xmlrecords import (
    Element,
    malformed,
    read_record,
    split_records,
    text_of,
)
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
            element = read_record(record)
            for named in element.iter(*_NAMESPACES):
                named.tag = etree.QName(named).localname
            linear_formulas(element)
            walker = JatsWalker()
            article = _article(walker, element, record)
        except etree.XMLSyntaxError as error:
            yield Parsed(record=number, status="error", reason=malformed(error))
            continue
        except RecursionError:
            reason = "elements are nested too deeply to be an article: look at the file"
            yield Parsed(record=number, status="error", reason=reason)
            continue
        native = article.id.partition(":")[2]
        meta = _meta(element)
        retracts = jats_targets(meta, element.get("article-type", ""))
        if not (article.title or article.abstract or article.body):
            reason = "JATS article without title, abstract and body"
            yield Parsed(
                record=number,
                native_id=native,
                status="skipped",
                reason=reason,
                retracts=retracts,
            )
            continue
        no_pmids = [
            Dropped("article-id", text_of(stated)[:80], "not a PMID")
            for stated in meta.iterfind("article-id[@pub-id-type='pmid']")
            if not article.pmid
        ]
        yield Parsed(
            record=number,
            native_id=native,
            article=article,
            revision=article.published,
            licence_stated=" ".join(_statements(meta)) if article.licence == UNKNOWN else "",
            retracts=retracts,
            dropped=[*no_pmids, *walker.left_out()],
        )


def _article(walker: JatsWalker, element: Element, record: bytes) -> Article:
    meta = _meta(element)
    ids = {str(i.get("pub-id-type")): text_of(i) for i in meta.iterfind("article-id")}
    doi = plain_doi(ids.get("doi", ""))
    pmcid = _pmcid(ids)
    native = pmcid or doi or ids.get("publisher-id") or hashlib.sha256(record).hexdigest()[:12]
    source = "pmc" if pmcid else "jats"
    licence = strictest(_statements(meta))
    types, subjects = _categories(meta)
    kind = element.get("article-type", "")
    abstract, summaries = abstracts(walker, meta)
    title = TitleWalker()
    pages = [text_of(meta.find(name)) for name in ("fpage", "lpage")]
    article = Article(
        id=f"{source}:{native}",
        source=source,
        title=full_title(title, meta),
        abstract=abstract,
        body=[*summaries, *_body(walker, element)],
        language=language_code(element.get(LANG) or ""),
        published=_published(meta),
        journal=text_of(next(element.iterfind("front/journal-meta//journal-title"), None)),
        volume=text_of(meta.find("volume")),
        pages="-".join(dict.fromkeys(filter(None, pages))) or text_of(meta.find("elocation-id")),
        keywords=[k for k in map(title.line, meta.iterfind("kwd-group//kwd")) if k] + subjects,
        authors=_authors(meta),
        affiliation_countries=affiliation_countries(map(text_of, meta.iter("aff"))),
        publication_types=list(dict.fromkeys(t for t in [kind, *types] if t)),
        url=_url(pmcid, doi),
        doi=doi,
        pmid=plain_pmid(ids.get("pmid", "")),
        pmcid=pmcid,
        licence=licence,
        redistributable=redistributable(licence),
        retracted=jats_retracted(meta, kind),
    )
    walker.dropped += title.left_out()
    return article


def _meta(element: Element) -> Element:
    meta = element.find("front/article-meta")
    return etree.Element("article-meta") if meta is None else meta


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
        yield licence.get(HREF) or ""
        yield text_of(licence)
        for part in licence.iter():
            yield part.get(HREF) or ""
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
        if full:
            names.append(full)
    return names


def _body(walker: JatsWalker, article: Element) -> Iterator[Section]:
    """Sections of the main text, of figures and tables in a group of their own, of the back."""
    body = article.find("body")
    if body is not None:
        yield from sections(walker, body)
    floats = article.find("floats-group")
    if floats is not None:
        yield from sections(walker, floats, "Figures and tables")
    back = article.find("back")
    if back is not None:
        yield from back_matter(walker, back)
    for other in article.iterchildren("sub-article", "response"):
        walker.drop(other, "an article of its own (review, reply or comment)")
