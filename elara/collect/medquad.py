"""MedQuAD: questions and answers from NIH web pages, in its three XML layouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lxml import etree

from elara.collect.htmltext import plain_blocks
from elara.collect.licences import redistributable
from elara.collect.parsed import Parsed
from elara.collect.xmlrecords import Element, malformed, read_record, split_records, text_of
from elara.records import Article, Section

RECORDS = ("Document", "doc", "DiseaseFile")
LICENCE = "CC-BY-4.0"


def parse(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read MedQuAD documents: each becomes one article of alternating questions and answers.

    Args:
        chunks: pieces of one XML document, in order.

    Yields:
        One `Parsed` per document. Pairs whose answer is empty at the source are left out and
        counted in the reason.

    Raises:
        PayloadError: the document breaks off.

    Source: Ben Abacha and Demner-Fushman 2019, https://doi.org/10.1186/s12859-019-3119-4;
        layouts in https://github.com/abachaa/MedQuAD
    """
    for number, record in enumerate(split_records(chunks, RECORDS)):
        try:
            element = read_record(record)
        except etree.XMLSyntaxError as error:
            yield Parsed(record=number, status="error", reason=malformed(error))
            continue
        yield _parsed(element, number)


def _parsed(document: Element, number: int) -> Parsed:
    values = document.attrib
    native = next((str(values[k]) for k in ("id", "docid", "fid") if k in values), "")
    source = str(values.get("source") or values.get("corpus") or "")
    native = f"{source}-{native}" if source else native
    body: list[Section] = []
    empty = 0
    for pair in document.iter("QAPair", "pair"):
        question, answer = _child(pair, "question"), _child(pair, "answer")
        if not (question and answer):
            empty += 1
            continue
        body += [Section("", question, "question"), Section(source, answer, "answer")]
    left_out = f"{empty} pairs without an answer left out" if empty else ""
    if not body:
        reason = left_out or "no question and answer pairs"
        return Parsed(record=number, native_id=native, status="skipped", reason=reason)
    focus = _child(document, "focus", "doctitle-focus")
    article = Article(
        id=f"medquad:{native}",
        source="medquad",
        title=focus or body[0].text,
        body=body,
        language="en",
        journal=source,
        keywords=[t for t in map(text_of, document.iter("Synonym", "synonym")) if t],
        publication_types=["Question and answers"],
        url=str(values.get("url", "")),
        licence=LICENCE,
        redistributable=redistributable(LICENCE),
    )
    return Parsed(record=number, native_id=native, article=article, reason=left_out)


def _child(parent: Element, *names: str) -> str:
    for child in parent:
        if str(child.tag).lower() in names:
            return plain_blocks(child) if len(child) else text_of(child)
    return ""
