"""Count on disk which passages stand in several articles, and decide which go from a batch.

Counting needs the whole collection, removing needs one batch at a time. So each pass writes the
hashes of all sentences and paragraphs to files, one per range of hashes; each file is then small
enough to group in memory. A hash has 64 bits: among 20 million sentences two share one with a
probability of about 1 in 100,000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from elara.clean.parameters import check
from elara.clean.passages import find, in_structure, is_whole, may_go, span
from elara.clean.texts import Texts

_PARTS = 32
_PLACE = np.dtype([("line", bool), ("hash", np.uint64), ("article", np.int64)])
_AGAIN = pl.col("line") & ~pl.struct("line", "article", "hash").is_first_distinct()

# By rule: text to the numbers of its lines, or for `boilerplate` of its sentences.
Removals = dict[str, dict[int, set[int]]]


@dataclass
class Repeats:
    """What stands in several articles, or twice in one.

    Args:
        several: sentences in at least as many articles as asked for, and paragraphs of bodies in
            at least two: `line`, `hash`, and `first`, the first article that holds it.
        twice: hashes of the paragraphs that an article repeats.
        verdicts: whether a passage may go at all, by its hash; learned as they are met.
    """

    several: pl.DataFrame
    twice: set[int]
    verdicts: dict[int, bool] = field(default_factory=dict)

    def work_left(self) -> bool:
        """Whether a passage may still have to go."""
        hashes = {*self.several["hash"], *self.twice}
        return any(self.verdicts.get(value, True) for value in hashes)

    def to_remove(self, texts: Texts, offset: int) -> Removals:
        """Decide which passages of a batch go.

        Args:
            texts: the texts of the batch.
            offset: the number of articles in earlier batches.
        """
        found = find(texts, texts.values, texts.prose).with_columns(again=_AGAIN)
        found = found.join(self.several, on=["line", "hash"], how="left", maintain_order="left")
        elsewhere = pl.col("body") & (pl.col("first") != pl.col("article") + offset)
        rule = (
            pl.when(~pl.col("line"))
            .then(pl.when(pl.col("first").is_not_null()).then(pl.lit("boilerplate")))
            .when(elsewhere)
            .then(pl.lit("shared_paragraphs"))
            .when("again")
            .then(pl.lit("repeated_paragraphs"))
        )
        # Sentences first: taking them leaves the numbers of lines as they are.
        rules = ("boilerplate", "repeated_paragraphs", "shared_paragraphs")
        removals: Removals = {name: {} for name in rules}
        for row in found.with_columns(rule=rule).drop_nulls("rule").iter_rows(named=True):
            if self._may_go(texts, row):
                removals[row["rule"]].setdefault(row["text"], set()).add(row["number"])
        return removals

    def learn(self, texts: Texts, values: pa.LargeStringArray, changed: list[int]) -> None:
        """Judge the paragraphs of texts that have changed, which may now be like others.

        Args:
            texts: the texts of the batch.
            values: these texts as they stand now.
            changed: which of them. Most of their paragraphs stay, and to know it saves a pass.
        """
        found = find(texts, values, np.isin(np.arange(len(values)), changed)).filter("line")
        for value, passage in found.select("hash", "passage").iter_rows():
            self.verdicts[value] = may_go(passage)

    def _may_go(self, texts: Texts, place: dict[str, Any]) -> bool:
        value = place["hash"]
        if value not in self.verdicts:
            self.verdicts[value] = may_go(place["passage"])
        if not self.verdicts[value]:
            return False
        text: str = texts.values[place["text"]].as_py()
        start, end = span(text, place["line"], place["number"])
        return not in_structure(text, start, end) and (place["line"] or is_whole(text, start, end))


class Counter:
    """Counts, on disk, in how many articles each sentence and each long paragraph stands.

    Args:
        folder: an empty folder for its files.
        repeats: in how many articles a sentence has to be found, at least 2.

    Raises:
        ParameterError: `repeats` is below 2: every sentence would be boilerplate.
    """

    def __init__(self, folder: Path, repeats: int) -> None:
        check({"boilerplate_repeats": repeats})
        self._repeats = repeats
        self._twice: set[int] = set()
        folder.mkdir()
        self._files = [(folder / f"{part}").open("w+b") for part in range(_PARTS)]

    def add(self, found: pl.DataFrame, offset: int) -> None:
        """Count what was found in a batch.

        Args:
            found: what `find` says about the prose of the batch.
            offset: the number of articles in earlier batches.
        """
        self._twice |= {*found.filter(_AGAIN)["hash"]}
        counted = found.filter(~pl.col("line") | pl.col("body"))
        article = pl.col("article") + offset
        places = counted.select("line", "hash", article=article).unique()
        for (part,), rows in places.group_by(pl.col("hash") // 2**59):
            self._files[part].write(rows.to_numpy(structured=True).astype(_PLACE).tobytes())

    def repeats(self, verdicts: dict[int, bool]) -> Repeats:
        """What stands in several articles.

        Args:
            verdicts: of earlier passes.
        """
        several = []
        least = pl.when("line").then(2).otherwise(self._repeats)
        for file in self._files:
            file.seek(0)
            places = pl.DataFrame(np.frombuffer(file.read(), _PLACE))
            file.close()
            counts = places.group_by("line", "hash").agg(first=pl.col("article").min(), n=pl.len())
            several.append(counts.filter(pl.col("n") >= least).drop("n"))
        return Repeats(pl.concat(several), self._twice, verdicts)
