"""Read MedlinePlus health topics: the XML that the National Library of Medicine publishes daily."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.blocks import leading
from elara.collect.fields import language_code, partial_date
from elara.collect.htmltext import html_text
from elara.collect.licences import PUBLIC_DOMAIN
from elara.collect.parsed import Dropped, Parsed
from elara.collect.xmlrecords import Element, malformed, read_record, split_records, text_of
from elara.records import Article, Section

_CREDIT = re.compile(r"(?:NIH|CDC|FDA|AHRQ|Dept|U\.?S\.?)\b[^.\n]{0,30}: [^.\n]{3,160}")
RECORDS = ("health-topic",)


def parse(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read MedlinePlus health topics.

    Args:
        chunks: pieces of one XML document, in order.

    Yields:
        One `Parsed` per topic and language.

    Raises:
        PayloadError: the document breaks off; all whole records have been yielded then.

    Source: https://medlineplus.gov/xml.html and, for public domain,
        https://medlineplus.gov/about/using/usingcontent/
    """
    for number, record in enumerate(split_records(chunks, RECORDS)):
        try:
            topic = read_record(record)
        except etree.XMLSyntaxError as error:
            yield Parsed(record=number, status="error", reason=malformed(error))
            continue
        native = topic.get("id", "")
        # The summary is HTML, escaped once more for XML.
        dropped: list[Dropped] = []
        summary = html_text(topic.findtext("full-summary") or "", dropped)
        summary = _without_credit(summary, dropped)
        if not summary:
            reason = "topic without a summary"
            yield Parsed(record=number, native_id=native, status="skipped", reason=reason)
            continue
        yield Parsed(
            record=number,
            native_id=native,
            article=_article(topic, native, summary),
            dropped=dropped,
        )


def _without_credit(summary: str, dropped: list[Dropped]) -> str:
    """The summary without its last line, where that only names the institute that wrote it."""
    text, _, last = summary.rpartition("\n\n")
    if not _CREDIT.fullmatch(last):
        return summary
    dropped.append(Dropped("p", leading(last.split()), "credit"))
    return text


def _article(topic: Element, native: str, summary: str) -> Article:
    month, _, rest = topic.get("date-created", "").partition("/")
    day, _, year = rest.partition("/")
    return Article(
        id=f"medlineplus:{native}",
        source="medlineplus",
        title=" ".join(topic.get("title", "").split()),
        abstract=" ".join(topic.get("meta-desc", "").split()),
        body=[Section("", summary)],
        language=language_code(topic.get("language", "")),
        published=partial_date(year, month, day),
        journal="MedlinePlus",
        keywords=[text_of(e) for name in ("also-called", "group") for e in topic.iterfind(name)],
        mesh=[text_of(e) for e in topic.iterfind("mesh-heading/descriptor")],
        publication_types=["Health topic"],
        url=topic.get("url", ""),
        licence=PUBLIC_DOMAIN,
        redistributable=True,
    )
