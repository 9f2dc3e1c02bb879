"""PubMed XML: articles, book records and deletion lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.licences import UNKNOWN
from elara.collect.mathml import plain_signs
from elara.collect.notices import pubmed_targets
from elara.collect.parsed import Parsed
from elara.collect.pubmedquick import OddRecordError, quick_article
from elara.collect.pubmedtree import article_of, book_of, date_of, plain_doi
from elara.collect.xmlrecords import (
    malformed,
    read_record,
    split_records,
    text_of,
)

__all__ = ["RECORDS", "parse", "plain_doi"]
_RIGHTS = b"<CopyrightInformation>"
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
            article, revision = quick_article(record)
        except (OddRecordError, UnicodeDecodeError, etree.XMLSyntaxError):
            yield from _read(number, record)
            continue
        yield Parsed(
            record=number,
            native_id=article.pmid,
            article=article,
            article_id=article.id,
            revision=revision,
            licence_stated=_copyright(record) if article.licence == UNKNOWN else "",
        )


def _read(number: int, record: bytes) -> Iterator[Parsed]:
    """Read any record as a tree."""
    try:
        element = read_record(_without_references(record))
    except etree.XMLSyntaxError as error:
        yield Parsed(record=number, status="error", reason=malformed(error))
        return
    plain_signs(element, record)
    if element.tag == "DeleteCitation":
        for withdrawn in element.iterfind("PMID"):
            yield Parsed(record=number, native_id=text_of(withdrawn), status="deletion")
        return
    book = element.tag == "PubmedBookArticle"
    citation = element.find("BookDocument" if book else "MedlineCitation")
    pmid_element = None if citation is None else citation.find("PMID")
    if citation is None or pmid_element is None or not text_of(pmid_element):
        reason = "no PMID: the record cannot be named; fetch it again"
        yield Parsed(record=number, status="error", reason=reason)
        return
    pmid = text_of(pmid_element)
    article = book_of(citation, pmid) if book else article_of(element, citation, pmid)
    revised = citation.find("DateRevised")
    yield Parsed(
        record=number,
        native_id=pmid,
        article=article,
        article_id=article.id,
        revision=pmid_element.get("Version", "1").zfill(4) + date_of(revised),
        licence_stated=_copyright(record) if article.licence == UNKNOWN else "",
        retracts=pubmed_targets(citation),
    )


def _copyright(record: bytes) -> str:
    """The line of copyright as it is written; "" for none."""
    start = record.find(_RIGHTS)
    end = record.find(b"</", start)
    return record[start + len(_RIGHTS) : end].decode("utf-8", "replace") if start >= 0 else ""


def _without_references(record: bytes) -> bytes:
    """Leave out the reference lists, which no field needs and which can be most of a record."""
    start = record.find(b"<ReferenceList")
    end = record.rfind(b"</ReferenceList>")
    return record[:start] + record[end + 16 :] if 0 <= start < end else record
