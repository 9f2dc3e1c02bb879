"""PubMed records as XML trees: every field of an article and of a book record."""

from __future__ import annotations

from lxml import etree

from elara.collect.africa import affiliation_countries
from elara.collect.dates import medline_date, partial_date
from elara.collect.languages import language_code
from elara.collect.licences import licence_of, redistributable
from elara.collect.notices import RETRACTED_IN
from elara.collect.xmlrecords import Element, text_of
from elara.records import Article


def article_of(element: Element, citation: Element, pmid: str) -> Article:
    """Read a `PubmedArticle`.

    Args:
        element: the record.
        citation: its `MedlineCitation`.
        pmid: its PubMed id.
    """
    body = citation.find("Article")
    if body is None:
        body = etree.Element("Article")
    ids = ids_of(element.find("PubmedData/ArticleIdList"))
    types = [text_of(t) for t in body.iterfind("PublicationTypeList/PublicationType")]
    article = _shared(citation, body, pmid, types)
    article.journal = text_of(body.find("Journal/Title"))
    article.volume = text_of(body.find("Journal/JournalIssue/Volume"))
    article.pages = text_of(body.find("Pagination/MedlinePgn"))
    article.published = date_of(body.find("Journal/JournalIssue/PubDate")) or date_of(
        body.find("ArticleDate")
    )
    article.mesh = [text_of(d) for d in citation.iterfind("MeshHeadingList/*/DescriptorName")]
    article.doi = plain_doi(ids.get("doi", "") or _location_doi(body))
    article.pmcid = ids.get("pmc", "").upper()
    relations = citation.iterfind("CommentsCorrectionsList/CommentsCorrections")
    article.retracted = "Retracted Publication" in types or any(
        relation.get("RefType") in RETRACTED_IN for relation in relations
    )
    return article


def book_of(document: Element, pmid: str) -> Article:
    """Read a `PubmedBookArticle`.

    Args:
        document: its `BookDocument`.
        pmid: its PubMed id.
    """
    title = document.find("ArticleTitle")
    types = [text_of(t) for t in document.iterfind("PublicationType")]
    types.append("Book" if title is None else "Book chapter")
    article = _shared(document, document, pmid, types)
    article.title = article.title or text_of(document.find("Book/BookTitle"))
    article.journal = text_of(document.find("Book/BookTitle"))
    article.published = date_of(document.find("ContributionDate")) or date_of(
        document.find("Book/PubDate")
    )
    article.authors = article.authors or author_names(document.find("Book/AuthorList"))
    article.doi = plain_doi(ids_of(document.find("ArticleIdList")).get("doi", ""))
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
        abstract=abstract_of(body.find("Abstract")),
        language=language_code(text_of(body.find("Language"))),
        keywords=[k for k in map(text_of, citation.iterfind("KeywordList/Keyword")) if k],
        authors=author_names(authors),
        affiliation_countries=affiliation_countries(
            text_of(a) for a in ([] if authors is None else authors.iter("Affiliation"))
        ),
        publication_types=types,
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        pmid=pmid,
        licence=licence,
        redistributable=redistributable(licence),
    )


def abstract_of(abstract: Element | None) -> str:
    """One line per part of an abstract, with its label.

    Args:
        abstract: an `Abstract`, or None.
    """
    if abstract is None:
        return ""
    lines = []
    for part in abstract.iterfind("AbstractText"):
        if text := text_of(part):
            label = " ".join((part.get("Label") or "").split()).rstrip(":")
            lines.append(f"{label.upper()}: {text}" if label else text)
    return "\n".join(lines)


def author_names(authors: Element | None) -> list[str]:
    """Names of persons and groups, without misspelt ones that a correction follows.

    Args:
        authors: an `AuthorList`, or None.
    """
    names = []
    for author in () if authors is None else authors.iterfind("Author"):
        if author.get("ValidYN") == "N":
            continue
        if collective := text_of(author.find("CollectiveName")):
            names.append(collective)
            continue
        fore = text_of(author.find("ForeName")) or text_of(author.find("Initials"))
        if name := f"{fore} {text_of(author.find('LastName'))}".strip():
            names.append(name)
    return names


def ids_of(id_list: Element | None) -> dict[str, str]:
    """Kind of identifier (`doi`, `pmc`) to its value.

    Args:
        id_list: an `ArticleIdList`, or None.
    """
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


def date_of(date: Element | None) -> str:
    """A date as precise as it is stated.

    Args:
        date: an element with `Year`, `Month` and `Day` or with a `MedlineDate`, or None.
    """
    if date is None:
        return ""
    if year := date.findtext("Year"):
        # A season may be two months (Jan-Feb): of a range the beginning counts.
        month = date.findtext("Month") or date.findtext("Season") or ""
        return partial_date(year, month, date.findtext("Day") or "")
    return medline_date(date.findtext("MedlineDate") or "")
