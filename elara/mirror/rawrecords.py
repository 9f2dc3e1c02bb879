"""PubMed and JATS records as bytes with their ids marked, so that copies are made by joining."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from elara.collect.dates import medline_date, partial_date
from elara.collect.payload import PayloadError, open_chunks
from elara.collect.recognise import recognise
from elara.collect.xmlrecords import split_records
from elara.mirror.packing import packed, stored

# The id of the first copy: no real one is as large yet, and invented ones are larger.
_FIRST = 98_999_999

_PMID = re.compile(rb"<PMID\b[^>]*>\s*([1-9]\d*)\s*</PMID>")
_PUBMED_IDS = re.compile(
    rb'<ArticleId IdType="(pubmed)">\s*([1-9]\d*)\s*</ArticleId>'
    rb'|<ArticleId IdType="(pmc)">\s*PMC([1-9]\d*)'
    rb'|<ArticleId IdType="(doi)">[^<]*?()\s*</ArticleId>'
    rb'|<ELocationID\b[^>]*EIdType="(doi)"[^>]*>[^<]*?()\s*</ELocationID>'
)
_PUBMED_DATE = re.compile(
    rb"<PubDate>\s*(?:<Year>(\d{4})</Year>(?:\s*<Month>(\w+)</Month>)?(?:\s*<Day>(\d+)</Day>)?"
    rb"|<MedlineDate>([^<]*))"
)
_REVISION = re.compile(
    rb'<PMID Version="(\d+)".*?'
    rb"<DateRevised>\s*<Year>(\d+)</Year>\s*<Month>(\d+)</Month>\s*<Day>(\d+)",
    re.DOTALL,
)
_META = re.compile(rb"<(?:jats:)?article-meta\b[^>]*>")
_JATS_ID = re.compile(
    rb'<(?:jats:)?article-id\b[^>]*pub-id-type="(?:'
    rb'(pmid|pmcid|pmc)"[^>]*>\s*(?:PMC)?([1-9]\d*)'
    rb'|(doi|publisher-id)"[^>]*>[^<]*?()(?=\s*<))'
)
_JATS_DATE = re.compile(rb"<(?:jats:)?pub-date\b.*?</(?:jats:)?pub-date>", re.DOTALL)
_JATS_PART = re.compile(rb"<(?:jats:)?(year|month|day)\b[^>]*>\s*(\w+)")


class Numbering:
    """The ids of copies: as long as real ones, counted down from 98,999,999.

    Each copy has a block of numbers, and in it each id of the real records, be it a PMID or a
    PMCID, the same place: wherever an id occurs, its copies are the same.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}

    def learn(self, number: int) -> None:
        """Give an id of a real record its place; to be done with all before there are copies.

        Args:
            number: PMID, or PMCID without its prefix.
        """
        self._places.setdefault(number, len(self._places))

    def copied(self, number: int, copy: int) -> int:
        """The id of a copy; an id that no record is known by stays as it is.

        Args:
            number: PMID, or PMCID without its prefix.
            copy: 0 for the record as it is.
        """
        if not copy or number not in self._places:
            return number
        return _FIRST - (copy - 1) * len(self._places) - self._places[number]

    def check(self, copies: int) -> None:
        """Raise ValueError unless the ids of so many virtual records are all different."""
        below = max((n for n in self._places if n <= _FIRST), default=0)
        most = 1 + (_FIRST - below) // max(len(self._places), 1)
        if copies > most:
            raise ValueError(
                f"{copies} copies would need ids that real records have: ask for {most} at most"
            )


@dataclass(slots=True)
class _Mark:
    """Where an id is: its digits are replaced, or (for a DOI) something is put in after it."""

    start: int
    end: int
    number: int | None


class RawRecord:
    """One record and its copies.

    Args:
        number: PMID or, for JATS, PMCID without its prefix.
        date: of publication, as a whole number like 20210931; assigned where it is not stated.
        revision: of records with the same number the one with the highest is the newest.
        content: the record in UTF-8.
        marks: where its ids are, in order.
        numbering: learns them, and knows those of copies.
    """

    def __init__(
        self,
        number: int,
        date: int,
        revision: bytes,
        content: bytes,
        marks: list[_Mark],
        numbering: Numbering,
    ) -> None:
        self.number = number
        self.date = date
        self.revision = revision
        edges = [0, *(edge for m in marks for edge in (m.start, m.end)), len(content)]
        self.texts = [content[a:b] for a, b in list(pairwise(edges))[::2]]
        self._ids = [content[m.start : m.end] for m in marks]
        self._numbers = [m.number for m in marks]
        self._numbering = numbering
        for number in filter(None, self._numbers):
            numbering.learn(number)

    @cached_property
    def packed(self) -> list[bytes]:
        """The texts between the ids as deflate blocks."""
        return [packed(text) for text in self.texts]

    def ids(self, copy: int) -> list[bytes]:
        """What stands between the texts in a copy.

        Args:
            copy: 0 for the record as it is.
        """
        if not copy:
            return self._ids
        return [
            b".c%d" % copy if number is None else b"%d" % self._numbering.copied(number, copy)
            for number in self._numbers
        ]

    def plain(self, copy: int) -> list[bytes]:
        """The bytes of a copy, in pieces.

        Args:
            copy: 0 for the record as it is.
        """
        return _woven(self.texts, self.ids(copy))

    def blocks(self, copy: int) -> list[bytes]:
        """The same as deflate blocks.

        Args:
            copy: 0 for the record as it is.
        """
        return _woven(self.packed, [stored(i) for i in self.ids(copy)])


def _woven(texts: list[bytes], ids: list[bytes]) -> list[bytes]:
    pieces = [b""] * (len(texts) + len(ids))
    pieces[::2] = texts
    pieces[1::2] = ids
    return pieces


def read_raw(folder: Path, numbering: Numbering) -> tuple[list[RawRecord], list[RawRecord]]:
    """Read the PubMed and JATS records of a folder, the newest of each number.

    Args:
        folder: where the raw files are, at any depth.
        numbering: learns the ids of the records.

    Returns:
        PubMed and JATS records, each in the order of their numbers.
    """
    pubmed: dict[int, RawRecord] = {}
    jats: dict[int, RawRecord] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        for content in _contents(path):
            is_pubmed = content.startswith(b"<Pubmed")
            record = (pubmed_record if is_pubmed else jats_record)(content, numbering)
            if record:
                found = pubmed if is_pubmed else jats
                known = found.setdefault(record.number, record)
                if record.revision > known.revision:
                    found[record.number] = record
    return [pubmed[n] for n in sorted(pubmed)], [jats[n] for n in sorted(jats)]


def _contents(path: Path) -> Iterator[bytes]:
    names = ("PubmedArticle", "PubmedBookArticle", "article", "jats:article")
    try:
        if recognise(next(open_chunks(path), b"")[:65_536])[0] in ("pubmed", "jats"):
            yield from split_records(open_chunks(path), names)
    except PayloadError:
        return  # a file that breaks off gives its whole records


def pubmed_record(content: bytes, numbering: Numbering) -> RawRecord | None:
    """Mark the ids in a PubMed record.

    Args:
        content: a `PubmedArticle` or `PubmedBookArticle` element.
        numbering: learns its ids.

    Returns:
        The record, or None where it has no PMID.
    """
    own = _PMID.search(content)
    if not own:
        return None
    number = int(own[1])
    # The ids of the literature that it cites stay as they are.
    end = content.find(b"<ReferenceList")
    marks = [_Mark(own.start(1), own.end(1), number)]
    for found in _PUBMED_IDS.finditer(content, own.end(), end if end >= 0 else len(content)):
        kind = found.lastindex or 0
        digits = found[kind]
        marks.append(_Mark(found.start(kind), found.end(kind), int(digits) if digits else None))
    dated = _PUBMED_DATE.search(content)
    text = ""
    if dated and dated[1]:
        text = partial_date(*((part or b"").decode() for part in dated.groups()[:3]))
    elif dated:
        text = medline_date(dated[4].decode("utf-8", "replace"))
    revised = _REVISION.search(content)
    revision = b"" if not revised else b"".join(part.zfill(4) for part in revised.groups())
    return RawRecord(number, _date(text, number), revision, content, marks, numbering)


def jats_record(content: bytes, numbering: Numbering) -> RawRecord | None:
    """Mark the ids in a JATS article; one without a PMCID is given one, as PMC does.

    Args:
        content: an `article` element.
        numbering: learns its ids.

    Returns:
        The record, or None where it has no metadata.
    """
    meta = _META.search(content)
    end = content.find(b"article-meta>", meta.end()) if meta else -1
    if not meta or end < 0:
        return None
    found = {m[1] or m[3]: m for m in reversed(list(_JATS_ID.finditer(content, meta.end(), end)))}
    own = found.get(b"pmcid") or found.get(b"pmc")
    if own is None:
        name = next((m[0] for k in (b"doi", b"pmid", b"publisher-id") if (m := found.get(k))), b"")
        digest = hashlib.sha256(name or content).digest()
        assigned = 20_000_000 + int.from_bytes(digest[:6]) % 9_000_000
        line = b'\n<article-id pub-id-type="pmcid">PMC%d</article-id>' % assigned
        return jats_record(content[: meta.end()] + line + content[meta.end() :], numbering)
    marks = [
        _Mark(m.start(2), m.end(2), int(m[2])) if m[2] else _Mark(m.end(), m.end(), None)
        for m in sorted(found.values(), key=lambda m: m.start())
    ]
    text = ""
    if dated := _JATS_DATE.search(content, meta.end()):
        parts = {k.decode(): v.decode("utf-8", "replace") for k, v in _JATS_PART.findall(dated[0])}
        text = partial_date(parts.get("year", ""), parts.get("month", ""), parts.get("day", ""))
    return RawRecord(int(own[2]), _date(text, int(own[2])), b"", content, marks, numbering)


def _date(text: str, number: int) -> int:
    """The stated date, with what it does not state chosen by the number."""
    year, month, day = [*text.split("-"), "", ""][:3]
    return (
        int(year or 1990 + number % 35) * 10_000
        + int(month or 1 + number // 7 % 12) * 100
        + int(day or 1 + number // 91 % 28)
    )
