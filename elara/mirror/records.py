"""Read PubMed and JATS records, copy them under ids of their own, and search them."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

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


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record of a folder.

    Args:
        number: PMID or, for JATS, PMCID without its prefix.
        content: the record in UTF-8.
        ids: finds the record's ids in it, and what ends with a DOI.
        start: where its ids begin.
        end: where they end; the ids behind it are those of other records, which it cites.
    """

    number: int
    content: bytes
    ids: re.Pattern[bytes]
    start: int
    end: int

    def copied(self, copy: int, places: Mapping[int, int]) -> bytes:
        """The record under the ids of a copy; copy 0 is the record itself."""
        if not copy:
            return self.content

        def changed(found: re.Match[bytes]) -> bytes:
            if not found[1]:
                return found[0] + b".c%d" % copy
            before = found[0][: found.start(1) - found.start()]
            return before + b"%d" % copied_id(int(found[1]), copy, places)

        own = self.ids.sub(changed, self.content[self.start : self.end])
        return self.content[: self.start] + own + self.content[self.end :]


def copied_id(number: int, copy: int, places: Mapping[int, int]) -> int:
    """The id of a copy, counted down from 98,999,999 and as long as a real one.

    Wherever an id occurs, be it a PMID or a PMCID, its copies are the same.

    Args:
        number: the id of the record itself, which is that of copy 0.
        copy: counted from 1.
        places: each id of the real records to a place of its own.
    """
    return _FIRST - (copy - 1) * len(places) - places[number] if copy else number


class Corpus:
    """Records and their copies, numbered copy by copy, and searched without an index.

    Args:
        records: in the order of their numbers.
        places: see `copied_id`.
        copies: how many virtual records stand for each; the first has the record's own ids.
        per_query: hits of a query that `hits` does not name; never more than a third of all.
        hits: part of a query (in lower case) to the number of its hits.
    """

    def __init__(
        self,
        records: list[RawRecord],
        places: Mapping[int, int],
        copies: int,
        per_query: int,
        hits: Mapping[str, int],
    ) -> None:
        self.records = records
        self.size = len(records) * copies
        self.numbers = [copied_id(r.number, c, places) for c in range(copies) for r in records]
        self._places = places
        self._per_query = min(per_query, -(-self.size // 3))
        self._hits = hits
        self._positions = {number: at for at, number in enumerate(self.numbers)}
        # The days of entry, which no record states: so few that some records share one.
        random = np.random.default_rng(1)
        days = random.integers(1, 13, self.size) * 100 + random.integers(1, 5, self.size)
        self._entered = random.integers(1990, 2026, self.size) * 10_000 + days
        # Some records suit many queries, so that the results of two queries overlap.
        self._reserve = np.sqrt(np.random.default_rng(0).random(self.size))
        self._ranked = lru_cache(maxsize=256)(self._rank)

    def search(self, term: str, earliest: str = "", latest: str = "") -> list[int]:
        """The records that a query finds, best first: its hash chooses them.

        Args:
            term: the query.
            earliest: first day of entry, as `2020/01/31`, or "" for no limit.
            latest: last day of entry, likewise.

        Returns:
            Positions in the corpus, for `numbers` and `content`.
        """
        ranked = self._ranked(term.lower())
        days = self._entered[ranked]
        low, high = (int(day.replace("/", "") or 0) for day in (earliest, latest or "99999999"))
        found: list[int] = ranked[(days >= low) & (days <= high)].tolist()
        return found

    def _rank(self, term: str) -> np.ndarray:
        count = next((n for part, n in self._hits.items() if part in term), self._per_query)
        seed = int.from_bytes(hashlib.sha256(term.encode()).digest()[:8])
        drawn = np.random.default_rng(seed).random(self.size) * self._reserve
        return np.argsort(drawn, kind="stable")[:count]

    def find(self, ids: str) -> list[int]:
        """The positions of PMIDs or PMCIDs, separated by commas; unknown ones are left out."""
        numbers = (part.strip().upper().removeprefix("PMC") for part in ids.split(","))
        known = (int(n) for n in numbers if n.isascii() and n.isdigit())
        return [self._positions[n] for n in known if n in self._positions]

    def content(self, at: int) -> bytes:
        """The bytes of the record at a position."""
        copy, place = divmod(at, len(self.records))
        return self.records[place].copied(copy, self._places)


def recognised(folder: Path, *formats: str) -> Iterator[Path]:
    """The files of a folder, at any depth, whose content has one of some formats."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with contextlib.suppress(PayloadError):
            if recognise(next(open_chunks(path), b"")[:65_536])[0] in formats:
                yield path


def read_raw(folder: Path) -> tuple[list[RawRecord], list[RawRecord], dict[int, int]]:
    """Read the PubMed and JATS records of a folder, the first of each number.

    Args:
        folder: where the raw files are, at any depth.

    Returns:
        PubMed and JATS records, each in the order of their numbers, and the places of all ids.
    """
    pubmed: dict[int, RawRecord] = {}
    jats: dict[int, RawRecord] = {}
    places: dict[int, int] = {}
    for path in recognised(folder, "pubmed", "jats"):
        with contextlib.suppress(PayloadError):  # a file that breaks off gives its whole records
            for content in split_records(open_chunks(path), _NAMES):
                is_pubmed = content.startswith(b"<Pubmed")
                if record := (_pubmed_record if is_pubmed else _jats_record)(content):
                    (pubmed if is_pubmed else jats).setdefault(record.number, record)
                    for found in record.ids.finditer(record.content, record.start, record.end):
                        if found[1]:
                            places.setdefault(int(found[1]), len(places))
    return [pubmed[n] for n in sorted(pubmed)], [jats[n] for n in sorted(jats)], places


def _pubmed_record(content: bytes) -> RawRecord | None:
    """A PubMed record, or None without a PMID; the ids of what it cites stay as they are."""
    own = _PMID.search(content)
    end = content.find(b"<ReferenceList")
    end = end if end >= 0 else len(content)
    return RawRecord(int(own[1]), content, _PUBMED_IDS, own.start(), end) if own else None


def _jats_record(content: bytes) -> RawRecord | None:
    """A JATS article, or None where its metadata state no PMCID."""
    meta = _META.search(content)
    end = content.find(b"article-meta>", meta.end()) if meta else -1
    if not meta or end < 0 or not (own := _PMCID.search(content, meta.end(), end)):
        return None
    return RawRecord(int(own[1]), content, _JATS_IDS, meta.end(), end)
