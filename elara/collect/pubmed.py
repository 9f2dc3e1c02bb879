"""PubMed XML: articles, book records and deletion lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.licences import UNKNOWN, licence_of
from elara.collect.mathml import plain_signs
from elara.collect.notices import pubmed_targets
from elara.collect.parsed import Dropped, Parsed
from elara.collect.pubmedquick import OddRecordError, quick_article
from elara.collect.pubmedtree import (
    article_of,
    book_of,
    copyright_lines,
    date_of,
    no_pmid,
    plain_doi,
    plain_pmid,
)
from elara.collect.xmlrecords import (
    hiding,
    malformed,
    read_record,
    split_records,
    text_of,
)

__all__ = ["RECORDS", "parse", "plain_doi", "plain_pmid"]
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
            if pmid := plain_pmid(text_of(withdrawn)):
                yield Parsed(record=number, native_id=pmid, status="deletion")
            else:
                reason = no_pmid(text_of(withdrawn))
                yield Parsed(record=number, status="error", reason=f"DeleteCitation: {reason}")
        return
    book = element.tag == "PubmedBookArticle"
    citation = element.find("BookDocument" if book else "MedlineCitation")
    pmid_element = None if citation is None else citation.find("PMID")
    stated = text_of(pmid_element)
    pmid = plain_pmid(stated)
    if citation is None or pmid_element is None or not pmid:
        yield Parsed(record=number, status="error", reason=no_pmid(stated))
        return
    dropped: list[Dropped] = []
    if book:
        article = book_of(citation, pmid, dropped)
    else:
        article = article_of(element, citation, pmid, dropped)
    revised = citation.find("DateRevised")
    rights = copyright_lines(citation)
    parsed = Parsed(
        record=number,
        native_id=pmid,
        article=article,
        article_id=article.id,
        revision=pmid_element.get("Version", "1").zfill(4) + date_of(revised),
        licence_stated="; ".join(filter(None, rights)) if article.licence == UNKNOWN else "",
        retracts=pubmed_targets(citation),
        dropped=dropped,
    )
    if len(set(map(licence_of, rights))) > 1:
        parsed.remark(f"licence {article.licence}, the strictest that its abstracts state")
    yield parsed


def _copyright(record: bytes) -> str:
    """The line of copyright as it is written; "" for none."""
    start = record.find(_RIGHTS)
    end = record.find(b"</", start)
    return record[start + len(_RIGHTS) : end].decode("utf-8", "replace") if start >= 0 else ""


def _without_references(record: bytes) -> bytes:
    """Leave out the reference lists, which no field needs and which can be most of a record."""
    start = record.find(b"<ReferenceList")
    end = record.rfind(b"</ReferenceList>")
    if not 0 <= start < end or hiding(record, 0, len(record)) >= 0:
        return record  # nothing to leave out, or a tag that may be none
    return record[:start] + record[end + 16 :]
