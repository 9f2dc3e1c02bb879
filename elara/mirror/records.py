"""Read PubMed and JATS records as bytes, and make copies of them under ids of their own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elara.collect.payload import PayloadError, open_chunks
from elara.collect.recognise import recognise
from elara.collect.xmlrecords import split_records

_FIRST = 98_999_999  # the id of the first copy: no real one is as large yet
_NAMES = ("PubmedArticle", "PubmedBookArticle", "article", "jats:article")
_PMID = re.compile(rb"<PMID\b[^>]*>\s*([1-9]\d*)\s*</PMID>")
_META = re.compile(rb"<(?:jats:)?article-meta\b[^>]*>")
_PMCID = re.compile(rb'<(?:jats:)?article-id\b[^>]*pub-id-type="pmc(?:id)?"[^>]*>\s*(?:PMC)?(\d+)')
# The digits of an id, or else what ends with a DOI or an id of the publisher.
_PUBMED_IDS = re.compile(
    rb'<(?:PMID\b[^>]*>|ArticleId IdType="pubmed">|ArticleId IdType="pmc">\s*PMC)\s*([1-9]\d*)'
    rb'|<(?:ArticleId IdType="doi"|ELocationID\b[^>]*EIdType="doi"[^>]*)>[^<]*?(?=\s*</)'
)
_JATS_IDS = re.compile(
    rb'<(?:jats:)?article-id\b[^>]*pub-id-type="(?:pmid|pmcid|pmc)"[^>]*>\s*(?:PMC)?([1-9]\d*)'
    rb'|<(?:jats:)?article-id\b[^>]*pub-id-type="(?:doi|publisher-id)"[^>]*>[^<]*?(?=\s*<)'
)


class Numbering:
    """The ids of copies, counted down from 98,999,999 and as long as real ones.

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
        """The id of a copy.

        Args:
            number: PMID, or PMCID without its prefix.
            copy: 0 for the record as it is.
        """
        if not copy:
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


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record of a folder.

    Args:
        number: PMID or, for JATS, PMCID without its prefix.
        parts: the record in UTF-8, cut where its ids are: texts, numbers, and None after a DOI.
        numbering: knows the ids of copies.
    """

    number: int
    parts: list[bytes | int | None]
    numbering: Numbering

    def copied(self, copy: int) -> bytes:
        """The bytes of a copy.

        Args:
            copy: 0 for the record as it is.
        """
        after_doi = b".c%d" % copy if copy else b""
        pieces = []
        for part in self.parts:
            if isinstance(part, int):
                pieces.append(b"%d" % self.numbering.copied(part, copy))
            else:
                pieces.append(after_doi if part is None else part)
        return b"".join(pieces)


def _cut(content: bytes, ids: re.Pattern[bytes], start: int, end: int) -> list[bytes | int | None]:
    parts: list[bytes | int | None] = []
    at = 0
    for found in ids.finditer(content, start, end):
        stop = found.start(1) if found[1] else found.end()
        parts += [content[at:stop], int(found[1]) if found[1] else None]
        at = found.end()
    return [*parts, content[at:]]


def read_raw(folder: Path, numbering: Numbering) -> tuple[list[RawRecord], list[RawRecord]]:
    """Read the PubMed and JATS records of a folder, the first of each number.

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
                for part in record.parts:
                    if isinstance(part, int):
                        numbering.learn(part)
                (pubmed if is_pubmed else jats).setdefault(record.number, record)
    return [pubmed[n] for n in sorted(pubmed)], [jats[n] for n in sorted(jats)]


def _contents(path: Path) -> Iterator[bytes]:
    try:
        if recognise(next(open_chunks(path), b"")[:65_536])[0] in ("pubmed", "jats"):
            yield from split_records(open_chunks(path), _NAMES)
    except PayloadError:
        return  # a file that breaks off gives its whole records


def pubmed_record(content: bytes, numbering: Numbering) -> RawRecord | None:
    """Find the ids of a PubMed record.

    Args:
        content: a `PubmedArticle` or `PubmedBookArticle` element.
        numbering: knows the ids of copies.

    Returns:
        The record, or None where it has no PMID.
    """
    own = _PMID.search(content)
    if not own:
        return None
    # The ids of the literature that it cites stay as they are.
    end = content.find(b"<ReferenceList")
    parts = _cut(content, _PUBMED_IDS, own.start(), end if end >= 0 else len(content))
    return RawRecord(int(own[1]), parts, numbering)


def jats_record(content: bytes, numbering: Numbering) -> RawRecord | None:
    """Find the ids of a JATS article; one without a PMCID is given one, as PMC does.

    Args:
        content: an `article` element.
        numbering: knows the ids of copies.

    Returns:
        The record, or None where it has no metadata.
    """
    meta = _META.search(content)
    end = content.find(b"article-meta>", meta.end()) if meta else -1
    if not meta or end < 0:
        return None
    own = _PMCID.search(content, meta.end(), end)
    if own is None:
        name = _JATS_IDS.search(content, meta.end(), end)
        digest = hashlib.sha256(name[0] if name else content).digest()
        assigned = 20_000_000 + int.from_bytes(digest[:6]) % 9_000_000
        line = b'\n<article-id pub-id-type="pmcid">PMC%d</article-id>' % assigned
        return jats_record(content[: meta.end()] + line + content[meta.end() :], numbering)
    return RawRecord(int(own[1]), _cut(content, _JATS_IDS, meta.end(), end), numbering)
