"""Hold a set of records with their copies, and search it without an index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from elara.mirror.records import Numbering, RawRecord

Selection = npt.NDArray[np.int64]

_EARLIEST, _LATEST = 0, 99_999_999


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
        self._per_query = min(per_query, -(-self.size // 3))
        self._hits = hits
        self._numbers = [numbering.copied(r.number, c) for c in range(copies) for r in records]
        self._positions = {number: at for at, number in enumerate(self._numbers)}
        # The days of entry, which no record states: so few that some records share one.
        random = np.random.default_rng(1)
        days = random.integers(1, 13, self.size) * 100 + random.integers(1, 5, self.size)
        self._entered = random.integers(1990, 2026, self.size) * 10_000 + days
        # Some records suit many queries, so that the results of two queries overlap.
        self._reserve = np.sqrt(np.random.default_rng(0).random(self.size))
        self._ranked = lru_cache(maxsize=256)(self._rank)

    def search(self, term: str, earliest: str = "", latest: str = "") -> Selection:
        """The records that a query finds, best first.

        There is no real search: the query's hash chooses them.

        Args:
            term: the query.
            earliest: first day of entry, as `2020/01/31`, or "" for no limit.
            latest: last day of entry, likewise.

        Returns:
            Positions in the corpus; `numbers` and `document` take them.
        """
        ranked = self._ranked(term)
        days = self._entered[ranked]
        low = int(earliest.replace("/", "") or _EARLIEST)
        high = int(latest.replace("/", "") or _LATEST)
        return ranked[(days >= low) & (days <= high)]

    def _rank(self, term: str) -> Selection:
        lower = term.lower()
        count = next((n for part, n in self._hits.items() if part in lower), self._per_query)
        seed = int.from_bytes(hashlib.sha256(lower.encode()).digest()[:8])
        drawn = np.random.default_rng(seed).random(self.size) * self._reserve
        return np.argsort(drawn, kind="stable")[:count]

    def numbers(self, selection: Iterable[int]) -> list[int]:
        """Their PMIDs or PMCIDs.

        Args:
            selection: positions in the corpus.
        """
        return [self._numbers[at] for at in selection]

    def find(self, numbers: list[int]) -> Selection:
        """The records with these numbers; unknown numbers are left out.

        Args:
            numbers: PMIDs or PMCIDs.
        """
        found = [self._positions[number] for number in numbers if number in self._positions]
        return np.array(found, dtype=np.int64)

    def content(self, index: int) -> bytes:
        """The bytes of one record.

        Args:
            index: one element of a selection.
        """
        copy, at = divmod(index, len(self.records))
        return self.records[at].copied(copy)

    def document(self, head: bytes, selection: Selection, tail: bytes) -> bytes:
        """One XML document of many records.

        Args:
            head: what comes before them.
            selection: which records.
            tail: what comes after them.
        """
        return head + b"".join(self.content(i) + b"\n" for i in selection.tolist()) + tail
