"""PubMed records as XML trees: every field of an article and of a book record."""

from __future__ import annotations

import re

from lxml import etree

from elara.collect.africa import affiliation_countries
from elara.collect.dates import medline_date, partial_date
from elara.collect.languages import language_code
from elara.collect.licences import licence_of, redistributable, strictness
from elara.collect.notices import RETRACTED_IN
from elara.collect.parsed import Dropped
from elara.collect.raised import flat_runs
from elara.collect.xmlrecords import Element, text_of
from elara.records import Article, Section
from elara.text.placeholders import REASON, is_placeholder

_PMID = re.compile("[1-9][0-9]{0,7}")
_PLAIN_LANGUAGE = "plain-language-summary"


def article_of(element: Element, citation: Element, pmid: str, dropped: list[Dropped]) -> Article:
    """Read a `PubmedArticle`.

    Args:
        element: the record.
        citation: its `MedlineCitation`.
        pmid: its PubMed id.
        dropped: gets what is not kept.
    """
    body = citation.find("Article")
    if body is None:
        body = etree.Element("Article")
    ids = ids_of(element.find("PubmedData/ArticleIdList"))
    types = [text_of(t) for t in body.iterfind("PublicationTypeList/PublicationType")]
    article = _shared(citation, body, pmid, types, dropped)
    article.journal = _stated(body.find("Journal/Title"), dropped)
    article.volume = value_of(body.find("Journal/JournalIssue/Volume"))
    article.pages = value_of(body.find("Pagination/MedlinePgn"))
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


def book_of(document: Element, pmid: str, dropped: list[Dropped]) -> Article:
    """Read a `PubmedBookArticle`.

    Args:
        document: its `BookDocument`.
        pmid: its PubMed id.
        dropped: gets what is not kept.
    """
    title = document.find("ArticleTitle")
    types = [text_of(t) for t in document.iterfind("PublicationType")]
    types.append("Book" if title is None else "Book chapter")
    article = _shared(document, document, pmid, types, dropped)
    article.journal = _stated(document.find("Book/BookTitle"), dropped)
    article.title = article.title or article.journal
    article.published = date_of(document.find("ContributionDate")) or date_of(
        document.find("Book/PubDate")
    )
    article.authors = article.authors or author_names(document.find("Book/AuthorList"), dropped)
    article.doi = plain_doi(ids_of(document.find("ArticleIdList")).get("doi", ""))
    return article


def _shared(
    citation: Element, body: Element, pmid: str, types: list[str], dropped: list[Dropped]
) -> Article:
    """What articles and book records keep in the same place."""
    lists = body.findall("AuthorList")
    authors = next((a for a in lists if a.get("Type", "authors") == "authors"), None)
    article = Article(
        id=f"pubmed:{pmid}",
        source="pubmed",
        title=_stated(body.find("ArticleTitle"), dropped),
        abstract=_unless_placeholder("Abstract", abstract_of(body.find("Abstract")), dropped),
        language=language_code(text_of(body.find("Language"))),
        keywords=[
            k for e in citation.iterfind("KeywordList/Keyword") if (k := _stated(e, dropped))
        ],
        authors=author_names(authors, dropped),
        affiliation_countries=affiliation_countries(
            text_of(a) for a in ([] if authors is None else authors.iter("Affiliation"))
        ),
        publication_types=types,
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        pmid=pmid,
    )
    article.licence = max(map(licence_of, copyright_lines(citation)), key=strictness)
    own_title(article, _stated(body.find("VernacularTitle"), dropped))
    for other in citation.iterfind("OtherAbstract"):
        _add_abstract(article, other, dropped)
    article.redistributable = redistributable(article.licence)
    return article


def copyright_lines(citation: Element) -> list[str]:
    """What a record says of the rights in its abstract ("" for nothing), and in further ones.

    Args:
        citation: a `MedlineCitation` or `BookDocument`.
    """
    further = map(text_of, citation.iterfind("OtherAbstract/CopyrightInformation"))
    return [text_of(citation.find(".//Abstract/CopyrightInformation")), *filter(None, further)]


def value_of(element: Element | None) -> str:
    """The text of an element, raised and lowered runs whose tags are written out included.

    Args:
        element: any element, or None.
    """
    text = text_of(element)
    return flat_runs(text) if "<su" in text else text


def _stated(element: Element | None, dropped: list[Dropped]) -> str:
    """The text of an element, or "" where it says only that there is none."""
    name = "" if element is None else str(element.tag)
    return _unless_placeholder(name, value_of(element), dropped)


def _unless_placeholder(block: str, text: str, dropped: list[Dropped]) -> str:
    if text and is_placeholder(text):
        dropped.append(Dropped(block, text, REASON))
        return ""
    return text


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


def _add_abstract(article: Article, other: Element, dropped: list[Dropped]) -> None:
    """Keep an abstract in another language, or a second one in English."""
    text = abstract_of(other)
    if not text:
        return
    kind = other.get("Type", "")
    if reason := add_abstract(article, text, other.get("Language", "eng"), kind):
        dropped.append(Dropped("OtherAbstract", text[:80], reason))


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


def abstract_of(abstract: Element | None) -> str:
    """One line per part of an abstract, with its label.

    Args:
        abstract: an `Abstract` or `OtherAbstract`, or None.
    """
    if abstract is None:
        return ""
    lines = []
    for part in abstract.iterfind("AbstractText"):
        if text := value_of(part):
            label = " ".join((part.get("Label") or "").split()).rstrip(":")
            lines.append(f"{label.upper()}: {text}" if label else text)
    return "\n".join(lines)


def author_names(authors: Element | None, dropped: list[Dropped]) -> list[str]:
    """Names of persons and groups, without misspelt ones that a correction follows.

    Args:
        authors: an `AuthorList`, or None.
        dropped: gets names that say only that there is none.
    """
    names = []
    for author in () if authors is None else authors.iterfind("Author"):
        if author.get("ValidYN") == "N":
            continue
        name = text_of(author.find("CollectiveName"))
        if not name:
            fore = text_of(author.find("ForeName")) or text_of(author.find("Initials"))
            name = f"{fore} {text_of(author.find('LastName'))}".strip()
        if name := _unless_placeholder("Author", name, dropped):
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


def plain_pmid(text: str) -> str:
    """A PubMed id, or "" where the text is none: a number of at most 8 digits, 1 or above.

    Args:
        text: for example `31452104`.
    """
    return found[0] if (found := _PMID.fullmatch(text.strip())) else ""


def no_pmid(text: str) -> str:
    """The reason line for a record whose PubMed id is missing or none.

    Args:
        text: what stands in its place.
    """
    if not text.strip():
        return "no PMID: the record cannot be named; fetch it again"
    shown = text if len(text) <= 20 else f"{text[:20]}… ({len(text)} characters)"
    return (
        f"no PMID: {shown!r} is not a number of at most 8 digits that begins with 1 to 9; "
        f"fetch the record again or correct it"
    )


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
