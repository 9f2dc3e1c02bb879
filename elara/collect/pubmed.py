"""Read PubMed XML: articles, book records and deletion lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.africa import countries
from elara.collect.fields import (
    NO_PMID,
    language_code,
    medline_date,
    partial_date,
    plain_doi,
    plain_pmid,
)
from elara.collect.formulas import flat_runs, linear_formulas, mark_runs
from elara.collect.licences import UNKNOWN, licence_of, redistributable, strictness
from elara.collect.notices import RETRACTED_IN, pubmed_targets
from elara.collect.parsed import Dropped, Parsed
from elara.collect.xmlrecords import Element, malformed, read_record, split_records, text_of
from elara.records import Article, Section
from elara.text.placeholders import REASON, is_placeholder

RECORDS = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation")
_PLAIN_LANGUAGE = "plain-language-summary"


def parse(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read PubMed XML from E-utilities, "Save as XML", the baseline or the daily updates.

    Args:
        chunks: pieces of one XML document, in order.

    Yields:
        One `Parsed` per article or book record, and one per PMID of a deletion list.

    Raises:
        PayloadError: the document breaks off; all whole records have been yielded then.

    Source: https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html
    """
    for number, record in enumerate(split_records(chunks, RECORDS)):
        try:
            element = read_record(_without_references(record))
        except etree.XMLSyntaxError as error:
            yield Parsed(record=number, status="error", reason=malformed(error))
            continue
        mark_runs(linear_formulas(element))
        if element.tag != "DeleteCitation":
            yield _parsed(element, number)
            continue
        for stated in map(text_of, element.iterchildren("PMID")):
            if pmid := plain_pmid(stated):
                yield Parsed(record=number, native_id=pmid, status="deletion")
            else:
                reason = f"DeleteCitation: {NO_PMID}"
                yield Parsed(record=number, status="error", reason=reason)


def _without_references(record: bytes) -> bytes:
    """Leave out the reference lists, which no field needs and which can be most of a record."""
    start, end = record.find(b"<ReferenceList"), record.rfind(b"</ReferenceList>")
    if not 0 <= start < end or re.search(rb"<[!?]", record):
        return record  # nothing to leave out, or a tag that may be none
    return record[:start] + record[end + 16 :]


def _parsed(record: Element, number: int) -> Parsed:
    book = record.tag == "PubmedBookArticle"
    whole = _parts(record)
    citation = whole.get("BookDocument" if book else "MedlineCitation")
    cited = _parts(citation)
    stated = text_of(cited.get("PMID"))
    pmid = plain_pmid(stated)
    if citation is None or not pmid:
        return Parsed(record=number, status="error", reason=NO_PMID)
    dropped: list[Dropped] = []
    body = cited if book else _parts(cited.get("Article"))
    article = _article(citation, body, pmid, dropped)
    if book:
        _add_book(article, citation, body, dropped)
    else:
        _add_journal(article, citation, body, _parts(whole.get("PubmedData")), dropped)
    abstracts = [body.get("Abstract"), *citation.iterchildren("OtherAbstract")]
    rights = [_text(_parts(abstract).get("CopyrightInformation")) for abstract in abstracts]
    licences = {licence_of(text) for text in rights if text} or {UNKNOWN}
    article.licence = max(licences, key=strictness)
    article.redistributable = redistributable(article.licence)
    parsed = Parsed(
        record=number,
        native_id=pmid,
        article=article,
        revision=cited["PMID"].get("Version", "1").zfill(4) + _date(cited.get("DateRevised")),
        licence_stated="; ".join(filter(None, rights)) if article.licence == UNKNOWN else "",
        retracts=pubmed_targets(citation),
        dropped=dropped,
    )
    if len(licences) > 1:
        parsed.remark(f"licence {article.licence}, the strictest that its abstracts state")
    return parsed


def _parts(element: Element | None) -> dict[str, Element]:
    """The first child of each name: one look for all, as each search for one takes as long."""
    return {} if element is None else {part.tag: part for part in reversed(element)}


def _inner(citation: Element, listed: str, name: str) -> Iterator[Element]:
    """The elements of a name in the lists of another one."""
    return (e for elements in citation.iterchildren(listed) for e in elements.iter(name))


def _article(
    citation: Element, body: dict[str, Element], pmid: str, dropped: list[Dropped]
) -> Article:
    """What articles and book records keep in the same place."""
    first = body.get("AuthorList")
    lists = [] if first is None else [first, *first.itersiblings("AuthorList")]
    authors = next((a for a in lists if a.get("Type", "authors") == "authors"), None)
    affiliations = [] if authors is None else authors.iter("Affiliation")
    article = Article(
        id=f"pubmed:{pmid}",
        source="pubmed",
        title=_stated(body.get("ArticleTitle"), dropped),
        abstract=_unless_placeholder("Abstract", _abstract(body.get("Abstract")), dropped),
        language=language_code(text_of(body.get("Language"))),
        keywords=[
            k for e in _inner(citation, "KeywordList", "Keyword") if (k := _stated(e, dropped))
        ],
        authors=_authors(authors, dropped),
        affiliation_countries=countries(affiliations=map(text_of, affiliations)),
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        pmid=pmid,
    )
    own_title(article, _stated(body.get("VernacularTitle"), dropped))
    for other in citation.iterchildren("OtherAbstract"):
        text, language = _abstract(other), other.get("Language", "eng")
        if text and (reason := add_abstract(article, text, language, other.get("Type", ""))):
            dropped.append(Dropped("OtherAbstract", text[:80], reason))
    return article


def _add_journal(
    article: Article,
    citation: Element,
    body: dict[str, Element],
    data: dict[str, Element],
    dropped: list[Dropped],
) -> None:
    journal = _parts(body.get("Journal"))
    issue = _parts(journal.get("JournalIssue"))
    ids = _ids(data.get("ArticleIdList"))
    article.journal = _stated(journal.get("Title"), dropped)
    article.volume = _text(issue.get("Volume"))
    article.pages = _text(_parts(body.get("Pagination")).get("MedlinePgn"))
    article.published = _date(issue.get("PubDate")) or _date(body.get("ArticleDate"))
    article.mesh = list(map(_text, _inner(citation, "MeshHeadingList", "DescriptorName")))
    article.doi = plain_doi(ids.get("doi") or _location_doi(body.get("ELocationID")))
    article.pmcid = ids.get("pmc", "").upper()
    article.publication_types = list(map(_text, body.get("PublicationTypeList", ())))
    related = _inner(citation, "CommentsCorrectionsList", "CommentsCorrections")
    article.retracted = "Retracted Publication" in article.publication_types or any(
        relation.get("RefType") in RETRACTED_IN for relation in related
    )


def _add_book(
    article: Article, document: Element, body: dict[str, Element], dropped: list[Dropped]
) -> None:
    book = _parts(body.get("Book"))
    article.journal = _stated(book.get("BookTitle"), dropped)
    article.title = article.title or article.journal
    article.published = _date(body.get("ContributionDate")) or _date(book.get("PubDate"))
    article.authors = article.authors or _authors(book.get("AuthorList"), dropped)
    article.publication_types = [
        *map(_text, document.iterchildren("PublicationType")),
        "Book chapter" if "ArticleTitle" in body else "Book",
    ]
    article.doi = plain_doi(_ids(body.get("ArticleIdList")).get("doi", ""))


def _text(element: Element | None) -> str:
    """The text of an element, with raised and lowered runs on its line."""
    return flat_runs(text_of(element))


def _stated(element: Element | None, dropped: list[Dropped]) -> str:
    """The text of an element, or "" where it says only that there is none."""
    return "" if element is None else _unless_placeholder(element.tag, _text(element), dropped)


def _unless_placeholder(block: str, text: str, dropped: list[Dropped]) -> str:
    if text and is_placeholder(text):
        dropped.append(Dropped(block, text, REASON))
        return ""
    return text


def _abstract(abstract: Element | None) -> str:
    """One line per part of an abstract, with its label."""
    lines = []
    for part in () if abstract is None else abstract.iterchildren("AbstractText"):
        if text := _text(part):
            label = " ".join(part.get("Label", "").split()).rstrip(":")
            lines.append(f"{label.upper()}: {text}" if label else text)
    return "\n".join(lines)


def _authors(authors: Element | None, dropped: list[Dropped]) -> list[str]:
    """Names of persons and groups, without misspelt ones that a correction follows."""
    names = []
    for author in () if authors is None else authors.iterchildren("Author"):
        if author.get("ValidYN") == "N":
            continue
        parts = _parts(author)
        name = _text(parts.get("CollectiveName"))
        if not name:
            fore = _text(parts.get("ForeName")) or _text(parts.get("Initials"))
            name = f"{fore} {_text(parts.get('LastName'))}".strip()
        if name := _unless_placeholder("Author", name, dropped):
            names.append(name)
    return names


def _ids(listed: Element | None) -> dict[str, str]:
    """Kind of identifier (`doi`, `pmc`) to its value."""
    return {} if listed is None else {str(i.get("IdType")): text_of(i) for i in listed}


def _location_doi(first: Element | None) -> str:
    locations = [] if first is None else [first, *first.itersiblings("ELocationID")]
    stated = (i for i in locations if i.get("EIdType") == "doi" and i.get("ValidYN") != "N")
    return text_of(next(stated, None))


def _date(date: Element | None) -> str:
    """A date with `Year`, `Month` and `Day` or with a `MedlineDate`, as precise as it is stated."""
    parts = {} if date is None else {part.tag: part.text or "" for part in reversed(date)}
    if year := parts.get("Year"):
        # A season may be two months (Jan-Feb): of a range the beginning counts.
        month = parts.get("Month") or parts.get("Season", "")
        return partial_date(year, month, parts.get("Day", ""))
    return medline_date(parts.get("MedlineDate", ""))


def own_title(article: Article, title: str) -> None:
    """Keep the title that an article has in its own language beside the English one.

    Args:
        article: with the English title, if any.
        title: the one in the article's language, or "".
    """
    if not article.title:
        article.title = title
    elif title and title != article.title:
        article.body.append(Section(f"Title ({article.language})", title, "translation"))


def add_abstract(article: Article, text: str, language: str, kind: str) -> str:
    """Keep one more abstract of an article.

    English ones are text of the article; one that the article has no other for is its abstract.

    Args:
        article: with its abstract, if any.
        text: the abstract.
        language: as the source names it.
        kind: the source's type of abstract, for example `plain-language-summary`.

    Returns:
        Why it is not kept, or "".
    """
    if is_placeholder(text):
        return REASON
    heading = "Plain language summary" if kind == _PLAIN_LANGUAGE else "Abstract"
    code = language_code(language)
    if code != "en":
        tag = code if code != "und" else language or code
        article.body.append(Section(f"{heading} ({tag})", text, "translation"))
    elif text == article.abstract:
        return "the same as the abstract"
    elif not article.abstract and kind != _PLAIN_LANGUAGE:
        article.abstract = text
    else:
        heading = heading if kind == _PLAIN_LANGUAGE else "Other abstract"
        article.body.append(Section(heading, text))
    return ""
