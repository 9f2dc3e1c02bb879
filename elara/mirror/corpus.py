"""A set of records with their copies, and a search over it that needs no index."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from elara.mirror.packing import gzip_joined, stored
from elara.mirror.rawrecords import Numbering, RawRecord

Selection = npt.NDArray[np.int64]

_EARLIEST, _LATEST = 0, 99_999_999
_DATE = r'"?(\d{4}(?:/\d{1,2}){0,2})"?(?:\[[^\]]*\])?'
_RANGE = re.compile(
    rf'\(?{_DATE}\s*:\s*"?(\d{{4}}(?:/\d{{1,2}}){{0,2}})"?'
    r"\[(?:dp|pdat|edat|mhda|crdt|[dD]ate - \w+|[Pp]ublication [Dd]ate)\]\)?",
    re.IGNORECASE,
)
_LOOSE = re.compile(r"^(?:AND\b|\s)+|(?:\bAND|\s)+$|\s+(?=\s)")


class Corpus:
    """Records and their copies, numbered copy by copy.

    Args:
        records: in the order of their numbers.
        numbering: from `read_raw`.
        copies: how many virtual records stand for each; the first has the record's own ids.
        per_query: hits of a query that `hits` does not name; never more than a third of all.
        hits: part of a query (in lower case) to the number of its hits.

    Raises:
        ValueError: so many copies would need ids that real records have.
    """

    def __init__(
        self,
        records: list[RawRecord],
        numbering: Numbering,
        copies: int,
        per_query: int,
        hits: Mapping[str, int],
    ) -> None:
        numbering.check(copies)
        self.records = records
        self.size = len(records) * copies
        self._copies = copies
        self._per_query = min(per_query, -(-self.size // 3))
        self._hits = hits
        self._numbers = [numbering.copied(r.number, c) for c in range(copies) for r in records]
        self._positions = {number: at for at, number in enumerate(self._numbers)}
        self._dates = self._all_dates()
        # Some records suit many queries, so that the results of two queries overlap.
        self._reserve = np.sqrt(np.random.default_rng(0).random(self.size))
        self._ranked = lru_cache(maxsize=256)(self._rank)

    def _all_dates(self) -> npt.NDArray[np.int32]:
        """Copies keep the year, which their bytes state, but not the day."""
        own = np.array([r.date for r in self.records], dtype=np.int32)
        dates = np.tile(own, self._copies)
        random = np.random.default_rng(1)
        months = random.integers(1, 13, self.size) * 100 + random.integers(1, 29, self.size)
        dates[len(own) :] = (dates // 10_000 * 10_000 + months)[len(own) :]
        return dates

    def search(self, term: str, earliest: str = "", latest: str = "") -> Selection:
        """The records that a query finds, best first.

        There is no real search: the query's hash chooses them. A range of dates, given apart or
        inside the query, leaves those of the remaining query that lie in it.

        Args:
            term: the query.
            earliest: `2020`, `2020/01` or `2020/01/31`, or "" for no limit.
            latest: likewise; the whole year or month counts.

        Returns:
            Positions in the corpus; `numbers` and `document` take them.
        """
        low, high = _bound(earliest, _EARLIEST, "0"), _bound(latest, _LATEST, "9")
        while found := _RANGE.search(term):
            low = max(low, _bound(found[1], _EARLIEST, "0"))
            high = min(high, _bound(found[2], _LATEST, "9"))
            term = f"{term[: found.start()]} {term[found.end() :]}"
        ranked = self._ranked(_LOOSE.sub("", term))
        dates = self._dates[ranked]
        return ranked[(dates >= low) & (dates <= high)]

    def _rank(self, term: str) -> Selection:
        lower = term.lower()
        count = next((n for part, n in self._hits.items() if part in lower), self._per_query)
        seed = int.from_bytes(hashlib.sha256(lower.encode()).digest()[:8])
        drawn = np.random.default_rng(seed).random(self.size) * self._reserve
        return np.argsort(drawn, kind="stable")[:count]

    def by_date(self, selection: Selection) -> Selection:
        """The same records, newest first.

        Args:
            selection: of `search`.
        """
        return selection[np.argsort(-self._dates[selection], kind="stable")]

    def numbers(self, selection: Selection) -> list[int]:
        """Their PMIDs or PMCIDs.

        Args:
            selection: of `search`.
        """
        return [self._numbers[at] for at in selection.tolist()]

    def find(self, numbers: list[int]) -> Selection:
        """The records with these numbers; unknown numbers are left out.

        Args:
            numbers: PMIDs or PMCIDs.
        """
        found = [self._positions[number] for number in numbers if number in self._positions]
        return np.array(found, dtype=np.int64)

    def place(self, index: int) -> tuple[int, RawRecord]:
        """Which copy, and of which record.

        Args:
            index: one element of a selection.
        """
        copy, at = divmod(index, len(self.records))
        return copy, self.records[at]

    def document(self, head: bytes, selection: Selection, tail: bytes, gzip: bool) -> bytes:
        """One XML document of many records.

        Args:
            head: what comes before them.
            selection: which records.
            tail: what comes after them.
            gzip: whether to pack it.
        """
        places = [self.place(int(index)) for index in selection]
        pieces = [head]
        for copy, record in places:
            pieces += record.plain(copy)
            pieces.append(b"\n")
        pieces.append(tail)
        plain = b"".join(pieces)
        if not gzip:
            return plain
        blocks = [stored(head)]
        line = stored(b"\n")
        for copy, record in places:
            blocks += record.blocks(copy)
            blocks.append(line)
        return gzip_joined(plain, [*blocks, stored(tail)])


def _bound(text: str, otherwise: int, filler: str) -> int:
    """A date as a whole number; what it leaves out is filled up."""
    digits = "".join(part.zfill(2) for part in text.strip().replace("-", "/").split("/"))
    return int((digits + filler * 4)[:8]) if digits.isdigit() and len(digits) >= 4 else otherwise
