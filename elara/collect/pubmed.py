"""PubMed XML: articles, book records and deletion lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.dates import medline_date, partial_date
from elara.collect.languages import language_code
from elara.collect.licences import licence_of, redistributable
from elara.collect.parsed import Parsed
from elara.collect.xmlrecords import (
    Element,
    keep_exponents,
    malformed,
    read_record,
    split_records,
    text_of,
)
from elara.records import Article

RECORDS = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation")


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
        if b"<sup" in record:
            keep_exponents(element)
        if element.tag == "DeleteCitation":
            for withdrawn in element.iterfind("PMID"):
                yield Parsed(record=number, native_id=text_of(withdrawn), status="deletion")
            continue
        book = element.tag == "PubmedBookArticle"
        citation = element.find("BookDocument" if book else "MedlineCitation")
        pmid_element = None if citation is None else citation.find("PMID")
        if citation is None or pmid_element is None or not text_of(pmid_element):
            reason = "no PMID: the record cannot be named; fetch it again"
            yield Parsed(record=number, status="error", reason=reason)
            continue
        pmid = text_of(pmid_element)
        article = _book(citation, pmid) if book else _article(element, citation, pmid)
        revised = citation.find("DateRevised")
        yield Parsed(
            record=number,
            native_id=pmid,
            article=article,
            article_id=article.id,
            revision=pmid_element.get("Version", "1").zfill(4) + _date(revised),
        )


def _without_references(record: bytes) -> bytes:
    """Leave out the reference lists, which no field needs and which can be most of a record."""
    start = record.find(b"<ReferenceList")
    end = record.rfind(b"</ReferenceList>")
    return record[:start] + record[end + 16 :] if 0 <= start < end else record


def _article(element: Element, citation: Element, pmid: str) -> Article:
    body = citation.find("Article")
    if body is None:
        body = etree.Element("Article")
    ids = _ids(element.find("PubmedData/ArticleIdList"))
    types = [text_of(t) for t in body.iterfind("PublicationTypeList/PublicationType")]
    article = _shared(citation, body, pmid, types)
    article.journal = text_of(body.find("Journal/Title"))
    article.published = _date(body.find("Journal/JournalIssue/PubDate")) or _date(
        body.find("ArticleDate")
    )
    article.mesh = [text_of(d) for d in citation.iterfind("MeshHeadingList/*/DescriptorName")]
    article.doi = plain_doi(ids.get("doi", "") or _location_doi(body))
    article.pmcid = ids.get("pmc", "").upper()
    article.retracted = (
        "Retracted Publication" in types
        or citation.find("CommentsCorrectionsList/*[@RefType='RetractionIn']") is not None
    )
    return article


def _book(document: Element, pmid: str) -> Article:
    title = document.find("ArticleTitle")
    types = [text_of(t) for t in document.iterfind("PublicationType")]
    types.append("Book" if title is None else "Book chapter")
    article = _shared(document, document, pmid, types)
    article.title = article.title or text_of(document.find("Book/BookTitle"))
    article.journal = text_of(document.find("Book/BookTitle"))
    article.published = _date(document.find("ContributionDate")) or _date(
        document.find("Book/PubDate")
    )
    article.authors = article.authors or _authors(document.find("Book/AuthorList"))
    article.doi = plain_doi(_ids(document.find("ArticleIdList")).get("doi", ""))
    return article


def _shared(citation: Element, body: Element, pmid: str, types: list[str]) -> Article:
    """What articles and book records keep in the same place."""
    licence = licence_of(text_of(body.find("Abstract/CopyrightInformation")))
    lists = body.findall("AuthorList")
    authors = next((a for a in lists if a.get("Type", "authors") == "authors"), None)
    return Article(
        id=f"pubmed:{pmid}",
        source="pubmed",
        title=text_of(body.find("ArticleTitle")) or text_of(body.find("VernacularTitle")),
        abstract=_abstract(body.find("Abstract")),
        language=language_code(text_of(body.find("Language"))),
        keywords=[k for k in map(text_of, citation.iterfind("KeywordList/Keyword")) if k],
        authors=_authors(authors),
        publication_types=types,
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        pmid=pmid,
        licence=licence,
        redistributable=redistributable(licence),
    )


def _abstract(abstract: Element | None) -> str:
    if abstract is None:
        return ""
    lines = []
    for part in abstract.iterfind("AbstractText"):
        if text := text_of(part):
            label = " ".join((part.get("Label") or "").split()).rstrip(":")
            lines.append(f"{label.upper()}: {text}" if label else text)
    return "\n".join(lines)


def _authors(authors: Element | None) -> list[str]:
    names = []
    for author in () if authors is None else authors.iterfind("Author"):
        if author.get("ValidYN") == "N":  # a misspelt name, followed by its correction
            continue
        if collective := text_of(author.find("CollectiveName")):
            names.append(collective)
            continue
        fore = text_of(author.find("ForeName")) or text_of(author.find("Initials"))
        if name := f"{fore} {text_of(author.find('LastName'))}".strip():
            names.append(name)
    return names


def _ids(id_list: Element | None) -> dict[str, str]:
    if id_list is None:
        return {}
    return {str(i.get("IdType")): text_of(i) for i in id_list.iterfind("ArticleId")}


def _location_doi(body: Element) -> str:
    for location in body.iterfind("ELocationID"):
        if location.get("EIdType") == "doi" and location.get("ValidYN") != "N":
            return text_of(location)
    return ""


def plain_doi(text: str) -> str:
    """A DOI in lower case without resolver prefix, or "" where the text holds none.

    Args:
        text: for example `https://doi.org/10.1000/ABC`.

    Source: DOIs compare case-insensitively, https://www.doi.org/doi-handbook/HTML/case-sensitivity.html
    """
    start = text.find("10.")
    return text[start:].strip().lower() if start >= 0 else ""


def _date(date: Element | None) -> str:
    if date is None:
        return ""
    if year := date.findtext("Year"):
        return partial_date(year, date.findtext("Month") or "", date.findtext("Day") or "")
    return medline_date(date.findtext("MedlineDate") or "")
